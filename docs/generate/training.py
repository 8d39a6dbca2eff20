"""The page of training: every field of the config, every objective with its fields, every recipe with what it sets."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from clipdata.training import recipes, settings
from clipdata.training.config import TrainConfig
from clipdata.training.objectives import OBJECTIVES
from clipdata.training.recipe_names import known_recipes
from docs.generate.markdown import code, description, first_line, plain, table
from pipelines.cli.field_help import arguments_of, shown

PATH = "reference/training.md"
NAV = {"Training": PATH}


def pages(missing: list[str]) -> Mapping[str, str]:
    """The one page."""
    return {PATH: _config(missing) + _objectives(missing) + _recipes(missing)}


def fields_of(kind: type, what: str, missing: list[str]) -> str:
    """A table of a dataclass's fields: name, type, default, meaning, also of those that it inherits."""
    kinds = settings.field_types(kind)
    meanings: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        meanings |= arguments_of(one) if dataclasses.is_dataclass(one) else {}
    rows = []
    for field in dataclasses.fields(kind):
        if field.name.startswith("_") or kinds[field.name] is type(None):  # of a parent, and switched off
            continue
        if not meanings.get(field.name):
            missing.append(f"{what}: field {field.name} has no description")
        kind_told = "the name of one" if field.name == "objective" else settings.describe(kinds[field.name])
        rows.append((code(field.name), plain(kind_told), _default(field), plain(meanings.get(field.name, ""))))
    return table(("field", "type", "default", "is"), rows)


def _default(field: Any) -> str:
    if field.default_factory is not dataclasses.MISSING:
        made = field.default_factory()
        name = getattr(made, "kind", "")
        return f"`{name or shown(made)}`" if not dataclasses.is_dataclass(made) or name else " "
    return "must be given" if field.default is dataclasses.MISSING else f"`{shown(field.default)}`"


def _config(missing: list[str]) -> str:
    return f"""# Training

Three things say how a model is trained: the config, whose `objective` says what the training is about, and the
recipe that the config begins with. On the command line any field is set by `--set NAME=VALUE`; in a JSON file and in
`cd.TrainConfig(…)` they have the same names. What a run was trained with stands in its `config.json`.

## Fields of the config

{fields_of(TrainConfig, "TrainConfig", missing)}
"""


def _objectives(missing: list[str]) -> str:
    text = "## Objectives\n\nTheir fields stand beside the config's: `--set objective=siglip --set text=caption`.\n"
    for name, objective in OBJECTIVES.items():
        if not first_line(objective):
            missing.append(f"objective {name}: no docstring")
        text += f"\n### {name} {{ #objective-{name} }}\n\n`cd.objectives.{objective.__name__}`\n\n"
        text += f"{description(objective)}\n"
        if dataclasses.fields(objective):
            text += fields_of(objective, f"objective {name}", missing)
    return text


def _recipes(missing: list[str]) -> str:
    text = """
## Recipes

A recipe is a function that returns a config: `--recipe NAME`, or `cd.recipes.NAME(field=value)`. `auto` chooses
among them by the table and the model.
"""
    for name, recipe in known_recipes().items():
        if not first_line(recipe):
            missing.append(f"recipe {name}: no docstring")
        text += f"\n### {name} {{ #recipe-{name} }}\n\n{description(recipe)}\n"
        if name != "auto":
            text += f"It sets {_changes(getattr(recipes, name)())}.\n"
    return text


def _changes(config: TrainConfig) -> str:
    """The fields in which a config differs from the defaults."""
    plain_config = TrainConfig()
    changed = [
        (field.name, getattr(config, field.name))
        for field in dataclasses.fields(config)
        if getattr(config, field.name) != getattr(plain_config, field.name) and field.name != "recipe"
    ]
    told = [f"`{name}={value.kind if name == 'objective' else shown(value)}`" for name, value in changed]
    return ", ".join(told) or "nothing beside the defaults"
