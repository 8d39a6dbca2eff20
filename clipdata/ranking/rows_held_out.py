"""Which rows recipes are chosen by: held out of all trainings, and never silently the rows of the test.

It knows tables and conditions, and nothing of trainings.
"""

from __future__ import annotations

from dataclasses import dataclass

from clipdata.errors import UsageError
from clipdata.lance_io.table import Table
from clipdata.schema import is_of
from clipdata.storage import redact
from clipdata.training.rows_read import SPLIT, TEST, VALIDATION, called, has_split

_A_FIFTH = "33"  # of all first two hexadecimal digits
_DIGEST = "sha256"


@dataclass(frozen=True)
class Sides:
    """Rows to train on and rows to choose by.

    Args:
        where: SQL condition of the rows that every recipe trains on; None for all.
        held_out: SQL condition of the rows that all of them are measured on.
        told: what was decided that nobody asked for, in words.
    """

    where: str | None
    held_out: str
    told: tuple[str, ...] = ()


def sides_of(table: Table, where: str | None, held_out: str | None) -> Sides:
    """Rows to train on and rows to choose by, by the table's split where nothing is said.

    Without rows of a validation, a fifth of the rows to train on is split off, picture by picture.

    Raises:
        UsageError: a row would be on both sides; or nothing tells rows apart that could be split off.
    """
    told = []
    if where is None and (by_split := _trained_by_split(table, held_out)) is not None:
        where = by_split
        told.append(f"training on rows where {where}")
    if held_out is None:
        held_out = _validation(table, where)
        if held_out is None:
            where, held_out = _split_off(table, where)
            told.append("the table names no rows of a validation, so a fifth of the rows to train on is split off")
        told.append(f"choosing by rows where {held_out}")
    both = f"({held_out})" + (f" AND ({where})" if where is not None else "")
    if shared := table.count_rows(both):
        raise UsageError(
            f"train: {shared:,} rows are both held out ({held_out}) and trained on ({where or 'all rows'})",
            hint="--where \"split = 'train'\" --held-out \"split = 'validation'\"",
        )
    return Sides(where, held_out, tuple(told))


def chosen_by_test(table: Table, held_out: str) -> str | None:
    """What to say of a choice by rows that the table's split keeps for the test; None where there are none."""
    if not has_split(table):
        return None
    num_test = table.count_rows(f"({held_out}) AND {called(TEST)}")
    if not num_test:
        return None
    return (
        f"{num_test:,} of the rows are of the split test: a recipe chosen by them is lucky on them, and they cannot "
        "tell any more how good it is; choose by other rows, and measure the chosen one on these once"
    )


def validation_of(table: Table) -> str | None:
    """Condition of the rows that the table's split calls a validation; None where there are none."""
    return _validation(table, None)


def _trained_by_split(table: Table, held_out: str | None) -> str | None:
    """Rows that a split does not hold out, or that are not held out by a condition."""
    left = []
    if has_split(table):
        is_plain = bool(table.count_rows(f"{SPLIT} = 'train'"))
        others = f"coalesce(NOT {called((*VALIDATION, *TEST))}, true)"
        left += [f"{SPLIT} = 'train'" if is_plain else others]
    if held_out is not None and (not left or table.count_rows(f"({held_out}) AND ({left[0]})")):
        left.append(f"NOT coalesce(({held_out}), false)")
    return " AND ".join(left) or None


def _validation(table: Table, where: str | None) -> str | None:
    if not has_split(table):
        return None
    named = called(VALIDATION) + (f" AND NOT ({where})" if where is not None else "")
    return named if table.count_rows(named) else None


def _split_off(table: Table, where: str | None) -> tuple[str, str]:
    """Conditions of four fifths and a fifth of rows, by a digest of their picture or else of their key.

    Raises:
        UsageError: the table has neither.
    """
    schema = table.schema
    known = [name for name in (_DIGEST, table.key) if name in schema.names and is_of("text", schema.field(name).type)]
    if not known or (len(known) == 1 and table.count_nulls(str(known[0]))):
        raise UsageError(
            f"{redact(table.uri)} has no rows of a validation, and no column {_DIGEST!r} or key by which some could be "
            "split off",
            hint="name rows: --where \"split = 'train'\" --held-out \"split = 'validation'\"; or make a split: "
            "clipdata map TABLE leak-proof-split split",
        )
    told_by = ", ".join(f"`{name}`" for name in known)
    held_out = f"md5(coalesce({told_by})) < '{_A_FIFTH}'"
    return (
        f"NOT ({held_out})" if where is None else f"({where}) AND NOT ({held_out})",
        held_out if where is None else f"({where}) AND {held_out}",
    )
