"""Zero-shot classification over a constant list of classes: names, prompts, scores, and the way to an accuracy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import open_clip
import pyarrow as pa
import pytest

import clipdata as cd
from clipdata import images
from clipdata.errors import LineageMismatchError, NotFoundError, UsageError
from clipdata.steps.class_prompts import ClassPlaces, class_names, class_prompts, prompt_templates
from tests.contests import COLOURS, contest_table
from tests.pictures import encoded
from tests.tiny_models import tiny_encoder

CLASSES = ["red square", "green_square", "blue square"]
TEMPLATES = ["a photo of {}, in colour", "the {name}"]


@pytest.fixture(scope="module")
def encoder():
    return tiny_encoder()


def column(table: cd.Table, name: str) -> list:
    read = cd.open_table(table.uri).to_table(["path", name])
    return [value for _, value in sorted(zip(read["path"].to_pylist(), read[name].to_pylist(), strict=True))]


def test_names_come_from_a_list_a_file_or_as_they_are_typed(tmp_path: Path) -> None:
    lines, listed = tmp_path / "classes.txt", tmp_path / "classes.json"
    lines.write_text("\ufeffapple_pie\n\n  crème brûlée \r\n猫\n", encoding="utf-8")
    listed.write_text(json.dumps(["fish, raw", "cat"]))

    assert class_names(str(lines), asker="x") == ("apple_pie", "crème brûlée", "猫")
    assert class_names(lines, asker="x") == ("apple_pie", "crème brûlée", "猫")
    assert class_names(listed, asker="x") == ("fish, raw", "cat")
    assert class_names("cat, dog", asker="x") == ("cat", "dog")
    assert class_names('["fish, raw", "cat"]', asker="x") == ("fish, raw", "cat")
    assert class_names([7, "cat"], asker="x") == (7, "cat")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "names none"),
        (["a_b", "a b"], "twice"),
        ("cat,cat", "twice"),
        ([True], "expected a list of names"),
        (b"cat", "expected a list of names"),
        ({"cat": 1}, "expected a list of names"),
    ],
)
def test_what_is_no_list_of_names_is_refused(given, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        class_names(given, asker="ClassScores")


def test_a_file_that_is_not_there_or_holds_no_text_is_said(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(NotFoundError, match=r"no such file(.|\n)*one name a line"):
        class_names("clases.txt", asker="ClassScores")
    with pytest.raises(UsageError, match="cannot be read as UTF-8"):
        class_names(tmp_path / "binary", asker="ClassScores")


def test_a_text_is_one_template_and_several_are_a_list_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "templates.txt"
    file.write_text("a photo of {}, a kind of food\nthe {}\n")

    assert prompt_templates("a photo of {}, a kind of food", asker="x") == ("a photo of {}, a kind of food",)
    assert prompt_templates('["a {}, red", "{label}"]', asker="x") == ("a {}, red", "{label}")
    assert prompt_templates(str(file), asker="x") == ("a photo of {}, a kind of food", "the {}")
    assert prompt_templates("[{}]", asker="x") == ("[{}]",)
    assert class_prompts(["apple_pie"], ["{{a}} {x}: {x}."]) == ["{a} apple pie: apple pie."]


@pytest.mark.parametrize("given", ["a photo", "a {", "{a} {b}", "{a.b}", "{:>9}", "{!r}", "{0}", [], [3], None, b"{}"])
def test_what_is_no_template_is_refused_with_an_example(given) -> None:
    with pytest.raises(UsageError, match=r"a photo of \{\}"):
        prompt_templates(given, asker="ClassScores")


def test_a_label_is_found_by_its_name_and_else_but_for_underscores_and_capitals() -> None:
    places = ClassPlaces(("apple_pie", "Polish", "polish", 7))

    assert [places.of(label) for label in ("apple_pie", "apple pie", "Apple Pie")] == [0, 0, 0]
    assert [places.of(label) for label in ("Polish", "polish", "POLISH")] == [1, 2, None]
    assert [places.of(label) for label in (7, "7", "pie")] == [3, 3, None]


def test_scores_are_the_softmax_over_open_clips_zero_shot_classifier(tmp_path: Path, encoder) -> None:
    table = contest_table(tmp_path, 3)
    templates = [template.replace("name", "") for template in TEMPLATES]
    spoken = [name.replace("_", " ") for name in CLASSES]
    weights_DC = open_clip.build_zero_shot_classifier(encoder.model, encoder.tokenize, spoken, templates)

    cd.map_column(table, cd.steps.ClassScores(encoder, CLASSES, TEMPLATES), "scores")

    for picture, found in zip(column(table, "image"), column(table, "scores"), strict=True):
        image_BCHW = encoder.prepare(images.decode(picture)).unsqueeze(0)
        expected = (encoder.logit_scale * encoder.encode_images(image_BCHW) @ weights_DC).softmax(dim=1)[0]
        np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def test_prompts_are_encoded_once_and_their_list_is_part_of_the_lineage(
    tmp_path: Path, encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, asked, encode_texts = contest_table(tmp_path, 6), [], encoder.encode_texts
    monkeypatch.setattr(encoder, "encode_texts", lambda texts: asked.extend(texts) or encode_texts(texts))

    cd.map_column(table, cd.steps.ClassScores(encoder, CLASSES, TEMPLATES), "scores", batch_rows=2)

    assert asked == class_prompts(CLASSES, TEMPLATES)
    assert table.lineage("scores").parameters["classes"] == CLASSES
    with pytest.raises(LineageMismatchError, match="templates"):
        cd.map_column(table, cd.steps.ClassScores(encoder, CLASSES), "scores")


def test_a_row_without_a_picture_has_a_reason_and_no_scores(encoder) -> None:
    step = cd.steps.ClassScores(encoder, CLASSES)
    batch = pa.record_batch({"image": pa.array([None, encoded(0), b"no picture"], pa.large_binary())})

    found, reasons = step.compute(batch, step.prepare(batch))

    assert [value is None for value in found.to_pylist()] == [True, False, True]
    assert sum(found.to_pylist()[1]) == pytest.approx(1)
    assert [reason is None for reason in reasons] == [False, True, False]


def test_classes_are_compared_before_and_after_as_answers_to_one_question(tmp_path: Path, encoder) -> None:
    table, classes = contest_table(tmp_path, 30), [f"a {name} square" for name in COLOURS]
    right_class = cd.step(returns="string")(lambda caption_choices, label_ind: caption_choices[label_ind].upper())
    cd.map_column(table, right_class, "class_name")
    cd.map_column(table, cd.steps.LabelIndex("class_name", classes=classes), "class_ind")
    for name, model in (("before", encoder), ("after", tiny_encoder(seed=1))):
        cd.map_column(table, cd.steps.ClassScores(model, classes, "{}"), f"scores_{name}")
        cd.map_column(table, cd.steps.Pick(f"scores_{name}", "class_ind"), name)

    answers = cd.compare(table, "before", "after").accuracy

    assert answers is not None
    assert answers.chance == pytest.approx(1 / len(classes))
    right = [np.argmax(scores) == place for scores, place in
             zip(column(table, "scores_after"), column(table, "class_ind"), strict=True)]  # fmt: skip
    assert answers.change.after == pytest.approx(np.mean(right))
