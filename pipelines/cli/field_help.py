"""Help that is made from what it describes, so that it cannot go stale: fields of a config, steps, figures of a gate.

It reads signatures, types and docstrings; each function imports what it describes.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
from collections.abc import Mapping
from typing import Any

_WIDTH = 78
_ENTRY = re.compile(r"^    (\w+(?:, \w+)*): (.*)$")


def arguments_of(documented: object) -> dict[str, str]:
    """What the `Args:` of a docstring say, by name; several names before one colon share what it says."""
    lines = (inspect.getdoc(documented) or "").splitlines()
    told: dict[str, str] = {}
    names: list[str] = []
    inside = False
    for line in lines:
        if not line.startswith(" "):
            inside = line == "Args:" or (inside and not line.strip())
            names = []
        elif inside and (entry := _ENTRY.match(line)):
            names = entry.group(1).split(", ")
            told |= dict.fromkeys(names, entry.group(2).strip())
        elif inside and line.startswith("     "):
            told |= {name: f"{told[name]} {line.strip()}" for name in names}
    return told


def config_help() -> str:
    """Every field of the training config, with what the recipes make of it."""
    from clipdata.training import recipes, settings
    from clipdata.training.config import TrainConfig
    from clipdata.training.recipe_names import known_recipes

    meanings, kinds = arguments_of(TrainConfig), settings.field_types(TrainConfig)
    recipe = recipes.caption_contest()
    blocks = ["Recipes:"]
    for name, made in known_recipes().items():
        blocks.append(_entry(name.replace("_", "-"), (inspect.getdoc(made) or "").splitlines()[0]))
    blocks += ["", "Fields of the training config, for --set:"]
    for field in dataclasses.fields(TrainConfig):
        if field.name == "objective":
            blocks.append(_entry("objective  (the name of one; default choice)", meanings["objective"]))
            continue
        told = f"{settings.describe(kinds[field.name])}; default {shown(field.default)}"
        own = getattr(recipe, field.name)
        if own != field.default:
            told += f", in the recipe caption_contest {shown(own)}"
        blocks.append(_entry(f"{field.name}  ({told})", meanings.get(field.name, "")))
    return "\n".join([*blocks, *_objectives_help()])


def _objectives_help() -> list[str]:
    """Every objective with its fields."""
    from clipdata.training import settings
    from clipdata.training.objectives import OBJECTIVES

    blocks = ["", "Objectives, each with fields of its own for --set:"]
    for name, objective in OBJECTIVES.items():
        blocks.append(_entry(f"objective={name}", (inspect.getdoc(objective) or "").splitlines()[0]))
        meanings, kinds = arguments_of(objective), settings.field_types(objective)
        for field in dataclasses.fields(objective):
            if field.name not in meanings:
                continue
            told = f"{settings.describe(kinds[field.name])}; default {shown(field.default)}"
            blocks.append(_entry(f"  {field.name}  ({told})", meanings[field.name], indent=8))
    return blocks


def steps_help() -> str:
    """Every step by name, with its parameters."""
    import clipdata as cd
    from pipelines.cli.named_steps import GIVEN, STEPS

    blocks = ["Steps, and their parameters for -p:"]
    for name, (class_name, takes_model) in STEPS.items():
        step = getattr(cd.steps, class_name)
        summary = (inspect.getdoc(step) or "").splitlines()[0]
        blocks.append(_entry(f"{name}{'  (takes --model)' if takes_model else ''}", summary))
        meanings = arguments_of(step)
        for parameter in inspect.signature(step).parameters.values():
            if parameter.name in GIVEN:
                continue
            needed = parameter.default is inspect.Parameter.empty
            default = "must be given" if needed else f"default {shown(parameter.default)}"
            blocks.append(_entry(f"  -p {parameter.name}=…  ({default})", meanings.get(parameter.name, ""), indent=8))
    own = "a function of your own, marked with @clipdata.step; see the README"
    return "\n".join([*blocks, _entry("FILE.py:function", own)])


def figures_help() -> str:
    """Every figure of a comparison that a gate can bound."""
    from clipdata.comparison.gates import FIGURES

    title = "Figures for --fail-if, each with < <= > >= == or != and a number; exit code 7 where one is met:"
    return "\n".join([*textwrap.wrap(title, _WIDTH), *_pairs(FIGURES)])


def _pairs(told: Mapping[str, str]) -> list[str]:
    widest = max(map(len, told))
    return [
        textwrap.fill(f"{name:<{widest}}  {text}", _WIDTH, initial_indent="  ", subsequent_indent=" " * (widest + 4))
        for name, text in told.items()
    ]


def _entry(title: str, meaning: str, *, indent: int = 6) -> str:
    lead = " " * (indent - 4)
    lines = textwrap.fill(title, _WIDTH, initial_indent=lead, subsequent_indent=" " * indent)
    return f"{lines}\n{textwrap.fill(meaning, _WIDTH, initial_indent=' ' * indent, subsequent_indent=' ' * indent)}"


def shown(value: Any) -> str:
    """A value as it is typed after `--set` or `-p`."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else f"{value}"
