"""What recipes are measured by: an objective and one of its figures. It knows objectives and tables, and no runs."""

from __future__ import annotations

from collections.abc import Mapping

from clipdata.errors import ClipdataError, UsageError
from clipdata.lance_io.table import Table
from clipdata.training.figures import Units
from clipdata.training.objectives import Objective, objective_for, objective_of


def measured_objective(
    trained: Mapping[str, Objective], table: Table, asked: Objective | str | None, told: list[str]
) -> Objective:
    """What recipes are measured by: what they all trained for, or the one of theirs that the table's columns ask for.

    Args:
        trained: recipe → what it trained for.
        asked: by the caller.
        told: takes what was decided that nobody asked for.

    Raises:
        UsageError: they trained for different things, and nothing says which is measured.
    """
    if asked is not None:
        return objective_of(asked).resolved(table)
    resolved = {name: one.resolved(table) for name, one in trained.items()}
    distinct = list(dict.fromkeys(resolved.values()))
    if len(distinct) == 1:
        return distinct[0]
    by_kind = {name: one.kind for name, one in resolved.items()}
    try:
        fitting = objective_for(table).resolved(table)
    except ClipdataError:
        fitting = None
    listed = ", ".join(f"{name} for {kind}" for name, kind in by_kind.items())
    if fitting in distinct and fitting is not None:
        told.append(f"recipes trained for different things ({listed}); all are measured by {fitting.kind}")
        return fitting
    same = " with other columns" if len(set(by_kind.values())) == 1 else ""
    raise UsageError(
        f"compare: recipes trained for different things{same}: {listed}; expected one that all are measured by",
        hint='--objective NAME, or objective=clipdata.objectives.Choice("caption_choices", label="label_ind")',
    )


def chosen_figure(units: Mapping[str, Units], figure: str | None, objective: Objective, verb: str) -> str:
    """The figure that is asked for, or the objective's first.

    Raises:
        UsageError: the objective has no such figure.
    """
    if figure is not None and figure not in units:
        raise UsageError(f"{verb}: objective {objective.kind} has no figure {figure!r}; it has {', '.join(units)}")
    return figure or next(iter(units))
