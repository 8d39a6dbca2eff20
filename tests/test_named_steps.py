"""Steps by name: parameters as a person types them become what the step's own signature names."""

from __future__ import annotations

from typing import Any

import pytest

from clipdata.errors import UsageError
from pipelines.cli.named_steps import build_step
from pipelines.cli.options import parse_pairs


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
