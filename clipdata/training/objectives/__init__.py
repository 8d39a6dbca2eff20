"""What a training run can be about, one file each.

They are values without torch, so that a config can be read, checked and written anywhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from clipdata.errors import ConfigError, SchemaError
from clipdata.training import settings
from clipdata.training.objectives.choice import Choice
from clipdata.training.objectives.class_prompts import ClassPrompts
from clipdata.training.objectives.contrastive import Contrastive
from clipdata.training.objectives.distillation import Distillation
from clipdata.training.objectives.fitting import objective_for
from clipdata.training.objectives.multi_positive import MultiPositive
from clipdata.training.objectives.protocol import Objective
from clipdata.training.objectives.siglip import SigLip
from clipdata.training.objectives.soft_target import SoftTarget

if TYPE_CHECKING:
    from clipdata.lance_io.table import Table

__all__ = [
    "OBJECTIVES",
    "Choice",
    "ClassPrompts",
    "Contrastive",
    "Distillation",
    "MultiPositive",
    "Objective",
    "SigLip",
    "SoftTarget",
    "objective_for",
    "objective_of",
    "objective_with",
    "own_fields",
]

OBJECTIVES: Mapping[str, type[Objective]] = {
    one.kind: one for one in (Choice, MultiPositive, Contrastive, SigLip, SoftTarget, Distillation, ClassPrompts)
}


def objective_of(given: Any) -> Objective:
    """An objective from one, from its name, or from JSON values: its kind and its fields.

    Raises:
        ConfigError: there is no such objective, or lists every field that is wrong.
    """
    if isinstance(given, Objective):
        return given
    values = {"kind": given} if isinstance(given, str) else given
    if not isinstance(values, Mapping) or not isinstance(values.get("kind"), str):
        found = f"objective is {given!r:.80}; expected the name of one, or its kind and fields"
        raise ConfigError([found], what="training config", hint=_KNOWN)
    unknown = settings.unknown_names([values["kind"]], OBJECTIVES)
    if unknown:
        found = unknown[0].replace("there is no field", "there is no objective")
        raise ConfigError([found], what="training config", hint=_KNOWN)
    kind = OBJECTIVES[values["kind"]]
    fields = {name: value for name, value in values.items() if name != "kind"}
    unknown = settings.unknown_names(fields, (one.name for one in dataclasses.fields(kind)))
    if unknown:
        raise ConfigError(unknown, what=f"objective {values['kind']}")
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})


def own_fields(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of some settings that are fields of an objective."""
    names = {one.name for kind in OBJECTIVES.values() for one in dataclasses.fields(kind)}
    return {name: value for name, value in settings.items() if name in names}


def objective_with(table: Table, settings: Mapping[str, Any]) -> Objective:
    """The objective that settings name, or that a table's columns ask for, with fields from the settings.

    Args:
        table: whose columns are looked at where no objective is named.
        settings: of `TrainConfig.parse_settings`, or JSON values; `objective` and fields of it.

    Raises:
        ConfigError: a setting is no field of it.
        UsageError: none is named, and no column tells.
    """
    fields = {name: value for name, value in settings.items() if name != "objective"}
    if "objective" in settings:
        return objective_of({**objective_of(settings["objective"]).to_json(), **fields})
    if not fields:
        return objective_for(table)
    kinds = [one for one in OBJECTIVES.values() if fields.keys() <= {field.name for field in dataclasses.fields(one)}]
    meant = [objective_of({"kind": one.kind, **fields}) for one in kinds]
    return next((one for one in meant if _reads(one, table)), None) or objective_of(
        {**objective_for(table).to_json(), **fields}
    )


def _reads(objective: Objective, table: Table) -> bool:
    """Whether a table has the columns of an objective."""
    try:
        objective.check(table)
    except SchemaError:
        return False
    return True


_KNOWN = f"objectives: {', '.join(OBJECTIVES)}"
