"""Funnel: how many rows each filter of a list keeps, alone and after the ones before it.

It reads the columns that the conditions name, batch by batch, and holds no row. It knows no particular filter.
"""

from __future__ import annotations

from collections.abc import Sequence

from clipdata.arguments import check_condition
from clipdata.errors import SchemaError, UsageError
from clipdata.filters.naming import floats_named
from clipdata.filters.records import Filter, Funnel, Kept, all_of
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.storage import redact


def funnel(table: AnyTable, filters: Sequence[Filter | str], *, where: str | None = None) -> Funnel:
    """Count what a list of filters keeps.

    Args:
        table: counted at the version it is pinned to, a location at its newest.
        filters: in the order in which they are applied; a text is an SQL condition.
        where: SQL condition of the rows to look at, all by default.

    Raises:
        UsageError: there is no filter, or one is none.
        SchemaError: a condition is not valid for this table; says which.
    """
    listed = _filters(filters)
    check_condition(where)
    held = as_table(table)
    looked_at = [where] if where is not None else []
    stages: list[Kept] = []
    before = num_rows = held.count_rows(where)
    for place, one in enumerate(listed):
        alone = _count(held, [*looked_at, one], one)
        unjudged = _count(held, [*looked_at, f"({one.condition}) IS NULL"], one)
        kept_nan, other_nan = _nans(held, looked_at, one)
        after = alone if not place else _count(held, [*looked_at, *listed[: place + 1]], one) if before else 0
        stages.append(Kept(one, alone, after, unjudged + other_nan, kept_nan))
        before = after
    return Funnel(redact(held.uri), held.version, num_rows, tuple(stages), where)


def _filters(filters: Sequence[Filter | str]) -> list[Filter]:
    given = [filters] if isinstance(filters, Filter | str) else list(filters)
    wrong = [entry for entry in given if not isinstance(entry, Filter | str)]
    if wrong or not given:
        found = f"{wrong[0]!r:.80} is no filter" if wrong else "no filter was given"
        raise UsageError(f"funnel: {found}", hint='funnel(table, ["clip_score >= 0.28"])')
    return [entry if isinstance(entry, Filter) else Filter(entry.strip(), entry) for entry in given]


def _nans(table: Table, looked_at: Sequence[str], one: Filter) -> tuple[int, int]:
    """Rows that a filter keeps, and that it does not, though a figure that it names is NaN."""
    figures = floats_named(table, one.condition)
    if not figures:
        return 0, 0
    is_nan = " OR ".join(f"isnan({figure.sql})" for figure in figures)
    kept, other = (
        _count(table, [*looked_at, f"({one.condition}) = {judged}", is_nan], one) for judged in ("true", "false")
    )
    return kept, other


def _count(table: Table, conditions: Sequence[Filter | str], judged: Filter) -> int:
    try:
        return table.count_rows(all_of(conditions))
    except SchemaError as error:
        raise SchemaError(f"filter {judged.name!r}: {error.message}", hint=error.hint) from error
