"""The steps: what they compute, equal to the model asked directly, and what they say of rows they cannot."""

from __future__ import annotations

from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest

import clipdata as cd
from clipdata import images
from clipdata.errors import LineageMismatchError, SchemaError, UsageError
from clipdata.lance_io import rows
from clipdata.schema import image_schema
from clipdata.steps.choice_scores import softmax_by_row
from tests.pictures import encoded
from tests.tiny_models import tiny_encoder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory):
    return tiny_encoder(tmp_path_factory.mktemp("tiny"))


def contest(folder: Path, choices: list, labels: list, *, pictures: list[int] | None = None) -> cd.Table:
    """A table with one row a question; `pictures` says which picture a row shows."""
    extra = [pa.field("caption_choices", pa.list_(pa.string())), pa.field("label", pa.string())]
    table = rows.create_table(folder / "contest.lance", image_schema(extra))
    shown = pictures or list(range(len(choices)))
    data = [encoded(number) for number in shown]
    fresh = {"path": [f"{n:03d}" for n in range(len(choices))], "image": data, "bytes": [len(d) for d in data]}
    rows.upsert(table, pa.table({**fresh, "caption_choices": choices, "label": labels}))
    return cd.open_table(table.uri)


def column(table: cd.Table, name: str) -> list:
    read = cd.open_table(table.uri).to_table(["path", name])
    return [value for _, value in sorted(zip(read["path"].to_pylist(), read[name].to_pylist(), strict=True))]


def test_choice_scores_are_the_models_own_softmax_over_each_rows_captions(tmp_path: Path, encoder) -> None:
    choices = [["a red circle", "a blue square"], ["one", "two", "three"], ["alone"]]
    table = contest(tmp_path, choices, ["A", "B", "A"])
    cd.map_column(table, cd.steps.ChoiceScores(encoder), "scores")
    for row, captions in enumerate(choices):
        image_BCHW = encoder.prepare(images.decode(encoded(row))).unsqueeze(0)
        logits = encoder.logit_scale * encoder.encode_images(image_BCHW) @ encoder.encode_texts(captions).T
        expected = logits.softmax(dim=1)[0].numpy()
        np.testing.assert_allclose(column(table, "scores")[row], expected, atol=1e-5)


def test_cosines_come_out_on_request_and_another_scale_is_another_column(tmp_path: Path, encoder) -> None:
    table = contest(tmp_path, [["a", "b"]], ["A"])
    cd.map_column(table, cd.steps.ChoiceScores(encoder, probabilities=False), "cosines")
    cd.map_column(table, cd.steps.ChoiceScores(encoder, scale=100.0), "scores")
    cosines = np.array(column(table, "cosines")[0])
    expected = softmax_by_row(100 * cosines, np.array([2]))
    np.testing.assert_allclose(column(table, "scores")[0], expected, atol=1e-4)
    with pytest.raises(LineageMismatchError, match="scale"):
        cd.map_column(table, cd.steps.ChoiceScores(encoder, scale=50.0), "scores")


def test_each_distinct_image_and_text_is_encoded_once(tmp_path: Path, encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    table = contest(tmp_path, [["a", "b"], ["b", "c"], ["a", "c"], ["a", "b"]], ["A"] * 4, pictures=[0, 0, 0, 1])
    asked: dict[str, int] = {"images": 0, "texts": 0}
    encode_images, encode_texts = encoder.encode_images, encoder.encode_texts

    def counted_images(image_BCHW):
        asked["images"] += len(image_BCHW)
        return encode_images(image_BCHW)

    def counted_texts(texts):
        asked["texts"] += len(texts)
        return encode_texts(texts)

    monkeypatch.setattr(encoder, "encode_images", counted_images)
    monkeypatch.setattr(encoder, "encode_texts", counted_texts)
    done = cd.map_column(table, cd.steps.ChoiceScores(encoder), "scores", batch_rows=2)
    assert done.computed == 4
    assert asked == {"images": 2, "texts": 3}


def test_rows_without_choices_and_broken_images_are_refused_with_reasons(tmp_path: Path, encoder) -> None:
    table = contest(tmp_path, [["a", "b"], [], ["a", None], ["a", "b"]], ["A"] * 4)
    broken = pa.table({"path": ["003"], "image": [b"no picture"], "etag": ["other"], "caption_choices": [["a", "b"]]})
    rows.upsert(table, broken, changed="etag")
    done = cd.map_column(table, cd.steps.ChoiceScores(encoder), "scores")
    assert done.failed["no choices"] == 1
    assert done.failed["a choice is null"] == 1
    assert done.num_failed == 3
    assert [value is not None for value in column(table, "scores")] == [True, False, False, False]


def test_captions_longer_than_the_context_are_counted_and_reported(tmp_path: Path, encoder) -> None:
    table = contest(tmp_path, [["word " * 200, "short"]], ["A"])
    done = cd.map_column(table, cd.steps.ChoiceScores(encoder), "scores")
    assert "1 of 2" in done.notes["texts cut"]
    assert "longer than" in str(done)


def test_scores_from_the_trunk_column_equal_those_from_the_pictures(tmp_path: Path, encoder) -> None:
    table = contest(tmp_path, [["a", "b"], ["c", "d"]], ["A", "A"])
    cd.map_column(table, cd.steps.ImageTrunk(encoder), "image_trunk")
    cd.map_column(table, cd.steps.ChoiceScores(encoder), "from_pictures")
    cd.map_column(table, cd.steps.ChoiceScores(encoder, trunk="image_trunk"), "from_trunk")
    np.testing.assert_allclose(column(table, "from_trunk"), column(table, "from_pictures"), atol=1e-6)


def test_a_trunk_column_of_other_weights_is_refused(tmp_path: Path, encoder) -> None:
    other = tiny_encoder(tmp_path / "other", seed=5)
    table = contest(tmp_path, [["a", "b"]], ["A"])
    cd.map_column(table, cd.steps.ImageTrunk(other), "image_trunk")
    with pytest.raises(LineageMismatchError, match=encoder.trunk_identity):
        cd.map_column(table, cd.steps.ChoiceScores(encoder, trunk="image_trunk"), "scores")


@pytest.mark.parametrize("kind", [cd.steps.ChoiceScores, cd.steps.PairScore])
def test_a_trunk_column_of_which_nobody_knows_the_model_is_refused(tmp_path: Path, encoder, kind) -> None:
    returns = pa.list_(pa.float32(), encoder.trunk_dim)
    features = pa.array([[1.0] * encoder.trunk_dim], returns)
    lance.write_dataset(pa.table({"caption": ["a"], "choices": [["a", "b"]], "trunk": features}), tmp_path / "t.lance")
    table = cd.open_table(tmp_path / "t.lance")
    cd.map_column(table, cd.step(returns=returns)(lambda caption: [0.0] * encoder.trunk_dim), "made")
    second = "choices" if kind is cd.steps.ChoiceScores else "caption"

    with pytest.raises(LineageMismatchError, match=r"nobody knows which model(.|\n)*ImageTrunk"):
        cd.map_column(table, kind(encoder, second, trunk="trunk"), "scores")
    with pytest.raises(LineageMismatchError, match=r"made by lambda\(caption\)"):
        cd.map_column(table, kind(encoder, second, trunk="made"), "scores")


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), 0, -1.0, 1e39, True, "100"])
def test_a_scale_that_is_no_positive_number_is_refused(encoder, scale) -> None:
    with pytest.raises(UsageError, match="expected a positive number"):
        cd.steps.ChoiceScores(encoder, scale=scale)


def test_other_weights_on_one_column_are_refused_naming_both_and_overwriting_keeps_both_readable(
    tmp_path: Path, encoder
) -> None:
    other = tiny_encoder(tmp_path / "other", seed=5)
    table = contest(tmp_path, [["a", "b"]], ["A"])
    first = cd.map_column(table, cd.steps.ChoiceScores(encoder), "scores")
    before = column(table, "scores")
    with pytest.raises(LineageMismatchError) as refused:
        cd.map_column(table, cd.steps.ChoiceScores(other), "scores")
    assert encoder.identity in str(refused.value)
    assert other.identity in str(refused.value)
    cd.map_column(table, cd.steps.ChoiceScores(other), "scores", overwrite=True)
    assert column(table, "scores") != before
    assert cd.open_table(table.uri, version=first.version).to_table(["scores"])["scores"].to_pylist() == before


def test_pair_score_is_the_cosine(tmp_path: Path, encoder) -> None:
    table = contest(tmp_path, [["a"], ["b"]], ["a red circle", "a blue square"])
    cd.map_column(table, cd.steps.PairScore(encoder, text="label"), "clip_score")
    image_BCHW = encoder.prepare(images.decode(encoded(1))).unsqueeze(0)
    expected = float((encoder.encode_images(image_BCHW) * encoder.encode_texts(["a blue square"])).sum())
    assert column(table, "clip_score")[1] == pytest.approx(expected, abs=1e-6)


def test_embeddings_are_unit_vectors_of_the_models_size(tmp_path: Path, encoder) -> None:
    table = contest(tmp_path, [["a"], ["b"]], ["one", "two"])
    cd.map_column(table, cd.steps.ImageEmbedding(encoder), "image_embedding")
    cd.map_column(table, cd.steps.TextEmbedding(encoder, "label"), "text_embedding")
    for name in ("image_embedding", "text_embedding"):
        vectors = np.array(column(table, name))
        assert vectors.shape == (2, encoder.embed_dim)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_label_index_reads_letters_numbers_and_texts(tmp_path: Path) -> None:
    table = contest(tmp_path, [["x", "y"]] * 4, ["A", "b", "1", "y"])
    cd.map_column(table, cd.steps.LabelIndex("label", choices="caption_choices"), "label_ind")
    assert column(table, "label_ind") == [0, 1, 1, 1]


def test_labels_outside_the_choices_are_refused_with_a_reason(tmp_path: Path) -> None:
    table = contest(tmp_path, [["x", "y"]] * 3, ["A", "E", "none of these"])
    done = cd.map_column(table, cd.steps.LabelIndex("label", choices="caption_choices"), "label_ind")
    assert done.failed == {"label outside the choices": 1, "label not understood": 1}
    assert column(table, "label_ind") == [0, None, None]


def test_label_index_of_a_class_list(tmp_path: Path) -> None:
    table = contest(tmp_path, [["x"]] * 3, ["dog", "cat", "cow"])
    done = cd.map_column(table, cd.steps.LabelIndex("label", classes=["cat", "dog"]), "class")
    assert column(table, "class") == [1, 0, None]
    assert done.num_failed == 1
    with pytest.raises(UsageError, match="distinct"):
        cd.steps.LabelIndex(classes=["cat", "cat"])


def test_labels_that_no_index_can_hold_are_refused_one_by_one() -> None:
    step = cd.steps.LabelIndex("label")
    for labels in ([2**40, 1], ["99999999999", "B"], pa.array([2**63, 1], pa.uint64())):
        found, reasons = step.compute(pa.record_batch({"label": labels}), None)
        assert found.to_pylist() == [None, 1]
        assert str(reasons[0]).startswith("label too large: ")


def test_a_letter_whose_capital_is_two_letters_is_no_label_and_fails_alone() -> None:
    found, reasons = cd.steps.LabelIndex("label").compute(
        pa.record_batch({"label": ["A", "ß", "ﬁ", "é", "b", "9" * 5000]}), None
    )

    assert found.to_pylist() == [0, None, None, None, 1, None]
    assert reasons[1:4] == [f"label not understood: {label!r}" for label in "ßﬁé"]
    assert str(reasons[5]).startswith("label too large: 999")


def test_classes_may_be_numbers_and_are_a_list() -> None:
    found, _ = cd.steps.LabelIndex("label", classes=[7, 5]).compute(pa.record_batch({"label": [5, 7, 1]}), None)
    assert found.to_pylist() == [1, 0, None]
    for classes in ([1.5], {"cat": 1}, 3):
        with pytest.raises(UsageError, match="expected a list of names"):
            cd.steps.LabelIndex(classes=classes)
    with pytest.raises(UsageError, match="distinct"):
        cd.steps.LabelIndex(classes=["1", 1])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda encoder: cd.steps.ChoiceScores("starter"), r"encoder is 'starter'(.|\n)*load_encoder\('starter'\)"),
        (lambda encoder: cd.steps.PairScore(None), "expected a loaded one"),
        (lambda encoder: cd.steps.ImageEmbedding(7), "expected a loaded one"),
        (lambda encoder: cd.steps.ImageTrunk(None), "expected a loaded one"),
        (lambda encoder: cd.steps.TextEmbedding(type(encoder)), "expected a loaded one"),
        (lambda encoder: cd.steps.ChoiceScores(encoder, ["a", "b"]), r"choices is \['a', 'b'\].*name of a column"),
        (lambda encoder: cd.steps.ChoiceScores(encoder, trunk=""), "trunk is ''.*name of a column"),
        (lambda encoder: cd.steps.PairScore(encoder, text=3), "text is 3.*name of a column"),
        (lambda encoder: cd.steps.ImageEmbedding(encoder, image=b"image"), "name of a column"),
        (lambda encoder: cd.steps.LabelIndex(["label"]), "name of a column"),
        (lambda encoder: cd.steps.Pick("scores", 0), "name of a column"),
        (lambda encoder: cd.steps.Prompt([]), "expected a text, or a list"),
        (lambda encoder: cd.steps.Prompt(5), "expected a text, or a list"),
        (lambda encoder: cd.steps.Prompt("{}"), "not the name of a column"),
        (lambda encoder: cd.steps.Prompt("{label.x}"), "not the name of a column"),
    ],
)
def test_what_a_step_cannot_be_made_of_is_said_when_it_is_made(encoder, make, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make(encoder)


def test_prompts_read_what_their_formats_name_and_give_a_reason_where_one_does_not_fit() -> None:
    wide = cd.steps.Prompt("{my label!r:>{width}}")
    assert wide.reads == ("my label", "width")
    batch = pa.record_batch({"my label": ["a", "b"], "width": [5, 3]})
    assert wide.compute(batch, None)[0].to_pylist() == ["  'a'", "'b'"]

    number = cd.steps.Prompt(["{label:d}", "a {label}"])
    found, reasons = number.compute(pa.record_batch({"label": ["x"]}), None)
    assert found.to_pylist() == [None]
    assert str(reasons[0]).startswith("the template does not fit: ")


def test_pick_takes_the_element_at_the_index(tmp_path: Path, encoder) -> None:
    table = contest(tmp_path, [["a", "b"], ["c", "d"]], ["B", "A"])
    cd.map_column(table, cd.steps.ChoiceScores(encoder), "scores")
    cd.map_column(table, cd.steps.LabelIndex("label"), "label_ind")
    cd.map_column(table, cd.steps.Pick("scores", "label_ind"), "label_prob")
    scores = column(table, "scores")
    assert column(table, "label_prob") == [scores[0][1], scores[1][0]]
    with pytest.raises(SchemaError, match="expected lists"):
        cd.map_column(table, cd.steps.Pick("label", "label_ind"), "nothing")


def test_prompts_fill_columns_into_templates(tmp_path: Path) -> None:
    table = contest(tmp_path, [["x"], ["y"]], ["apple pie", "soup"])
    cd.map_column(table, cd.steps.Prompt("a photo of {label}"), "prompt")
    cd.map_column(table, cd.steps.Prompt(["a photo of {label}", "{label}, from above"]), "prompts")
    assert column(table, "prompt") == ["a photo of apple pie", "a photo of soup"]
    assert column(table, "prompts")[1] == ["a photo of soup", "soup, from above"]
    with pytest.raises(UsageError, match="names no column"):
        cd.steps.Prompt("a photo")


def test_softmax_by_row_survives_large_logits() -> None:
    found = softmax_by_row(np.array([1000.0, 999.0, -5000.0]), np.array([2, 1]))
    np.testing.assert_allclose(found, [1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1)), 1.0], rtol=1e-6)
