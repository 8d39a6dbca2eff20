"""Help that is made from what it describes."""

from __future__ import annotations

import dataclasses
import inspect

import clipdata as cd
from clipdata.comparison.gates import FIGURES, figures
from pipelines.cli.field_help import arguments_of, config_help, steps_help
from pipelines.cli.named_steps import GIVEN, STEPS
from tests.comparisons import contest


def test_every_field_of_the_config_is_listed_with_its_type_default_and_meaning() -> None:
    told = arguments_of(cd.TrainConfig)
    text = config_help()

    for field in dataclasses.fields(cd.TrainConfig):
        assert told[field.name], field.name
        assert f"\n  {field.name}  (" in text
    assert "epochs  (a whole number; default 5)\n      times every row is seen." in text
    assert "lr  (a number; default 0.0001, in the recipe caption_contest 0.001)" in text


def test_every_step_is_listed_with_every_parameter_and_its_meaning() -> None:
    text = steps_help()

    for name, (class_name, _) in STEPS.items():
        step = getattr(cd.steps, class_name)
        assert f"\n  {name}" in text
        for parameter in inspect.signature(step).parameters:
            assert arguments_of(step)[parameter], (name, parameter)
            assert parameter in GIVEN or f"-p {parameter}=…" in text
    assert "-p values=…  (must be given)" in text


def test_every_figure_that_a_gate_takes_is_told(save) -> None:
    comparison = cd.compare(contest(save), "before", "after")

    assert list(FIGURES) == list(figures(comparison))
