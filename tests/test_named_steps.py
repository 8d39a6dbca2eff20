"""Steps by name: parameters as a person types them become what the step's own signature names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clipdata.errors import UsageError
from pipelines.cli.named_steps import build_step
from pipelines.cli.options import parse_pairs
from tests.contests import contest_table
from tests.tiny_models import tiny_encoder


def built(name: str, *pairs: str, model: str | None = None) -> Any:
    return build_step(name, parse_pairs(pairs), model=model, device=None, say=lambda _: None)


def test_a_list_is_written_with_commas_and_none_is_none() -> None:
    step = built("label-index", "label=class", "classes=cat, dog", "choices=none")

    assert step.parameters == {"classes": ["cat", "dog"]}
    assert step.reads == ("class",)


def test_a_text_keeps_its_commas() -> None:
    assert built("prompt", "template=a photo of {label}, in colour").parameters == {
        "template": "a photo of {label}, in colour"
    }


def test_classes_are_a_file_or_names_with_commas_between(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("apple_pie\nfish, raw\n")

    assert built("label-index", f"classes={tmp_path / 'classes.txt'}").parameters == {
        "classes": ["apple_pie", "fish, raw"]
    }


def test_a_template_keeps_its_commas_and_several_are_a_json_list(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path).name
    one = built("class-scores", "classes=cat,dog", "templates=a photo of {}, a pet", model=folder)
    two = built("class-scores", "classes=cat,dog", 'templates=["a {}, red", "{}"]', model=folder)

    assert one.parameters["templates"] == ["a photo of {}, a pet"]
    assert two.parameters["templates"] == ["a {}, red", "{}"]


def test_a_step_that_reads_the_whole_table_is_given_the_one_that_is_mapped(tmp_path: Path) -> None:
    table = contest_table(tmp_path, 8)

    step = build_step("drawn-choices", {"text": "split", "num_choices": "3"}, model=None, device=None,
                      say=lambda _: None, table=table)  # fmt: skip

    assert step.parameters == {"num_choices": 3, "seed": 0, "picture": ["sha256"]}
    assert step.notes() == {"captions to draw from": 2}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("label-index", "labels=a"), "'labels' is unknown; known: label, classes, choices"),
        (("pick", "values=scores"), "'index' is missing: -p index="),
        (("choice-scores", "scale=ten"), "scale is 'ten'; expected a number or none"),
        (("choice-scores", "probabilities=perhaps"), "probabilities is 'perhaps'; expected true or false"),
        (("pick", "values=a", "values=b"), "'values' is given twice, as 'a' and 'b'"),
        (("pick", "values"), "expected key=value"),
        (("own.py:f", "a=1"), "takes no -p"),
        (("label-indx",), "did you mean label-index"),
    ],
)
def test_what_does_not_fit_is_said_with_what_was_expected(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        built(*words, model="starter" if words[0] == "choice-scores" else None)


def test_a_model_for_a_step_that_takes_none_is_refused() -> None:
    with pytest.raises(UsageError, match="takes no model"):
        built("label-index", model="starter")
    with pytest.raises(UsageError, match="takes no --model"):
        built("own.py:f", model="starter")
