"""Rows meant: which rows of two versions a condition is about, where one may lack a column that it names.

It knows conditions and tables, and nothing of what differs between them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clipdata.column_names import columns_named, is_readable
from clipdata.errors import SchemaError
from clipdata.lance_io.misread import quoted_if_needed
from clipdata.lance_io.row_differences import words_of
from clipdata.lance_io.table import Table
from clipdata.schema import columns_listed


@dataclass(frozen=True)
class Lacking:
    """A side without columns of the condition, so that none of its rows meets it.

    Args:
        side: location and version, `contest.lance@3`.
        columns: that it does not have.
        instead: columns that both sides have, with one type.
    """

    side: str
    columns: tuple[str, ...]
    instead: tuple[str, ...]

    def __str__(self) -> str:
        some = ("column " if len(self.columns) == 1 else "columns ") + ", ".join(self.columns)
        return (
            f"{self.side} has no {some}, so none of its rows meets the condition; a condition on columns of both asks "
            f"rows of both: {columns_listed(self.instead, quoted_if_needed)}"
        )


@dataclass(frozen=True)
class Meant:
    """The rows of two sides that meet a condition.

    Args:
        masks: which live rows of each side, bool [N] each.
        lacking: sides that cannot be asked.
    """

    masks: tuple[np.ndarray, np.ndarray]
    lacking: tuple[Lacking, ...]


def rows_meant(before: Table, after: Table, where: str) -> Meant:
    """Ask both sides a condition; of one that lacks a column which the other has, no row meets it.

    Raises:
        SchemaError: a side does not understand it for another reason; it says which, where the other one does.
        UsageError: it is no condition.
    """
    masks, lacking = [], []
    for side, other in ((before, after), (after, before)):
        mask = np.zeros(side.num_rows, np.bool_)
        try:
            mask[side.offsets(where)] = True
        except SchemaError as error:
            names = columns_named(where, [name for name in other.schema.names if name not in side.schema.names])
            if not names:
                raise _of_one_side(error, side, other, where) from error
            lacking.append(Lacking(words_of(side), tuple(names), _of_both(side, other)))
        masks.append(mask)
    return Meant((masks[0], masks[1]), tuple(lacking))


def _of_one_side(error: SchemaError, side: Table, other: Table, where: str) -> SchemaError:
    """The error, and which version it is of where the other one understands the condition."""
    try:
        other.count_rows(where)
    except SchemaError:
        return error
    found = f"{words_of(side)} does not take the condition, and {words_of(other)} does: {error.message}"
    columns = columns_listed(_of_both(side, other), quoted_if_needed)
    return SchemaError(found, hint=f"a condition on columns of both, alike on both: {columns}")


def _of_both(side: Table, other: Table) -> tuple[str, ...]:
    types = {field.name: field.type for field in other.schema}
    return tuple(one.name for one in side.schema if is_readable(one.name) and types.get(one.name) == one.type)
