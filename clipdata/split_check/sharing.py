"""Sharing: which values of a column lie on several sides, and which rows have one.

Of every value 64 bits, its row and its side are held: 20 bytes a value. It knows tables.

Shapes: N rows, P values of rows, V distinct values, S sides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from clipdata.lance_io.table import Table
from clipdata.split_check.evidence import CAPTIONS, kind_of
from clipdata.steps.ties import tied_by

BATCH_ROWS = 65_536
SideOf = Callable[[int, int], np.ndarray]
"""Sides of the rows from one place to another: int64, -1 for a row that has none."""


@dataclass(frozen=True)
class Sharing:
    """A column's values and the sides they lie on.

    Args:
        row_P: int64, place of each value's row among those read.
        of_value_P: int64, which value it is.
        side_P: int64, the row's side.
        rows_VS: int64, rows with each value on each side.
    """

    row_P: np.ndarray
    of_value_P: np.ndarray
    side_P: np.ndarray
    rows_VS: np.ndarray

    @classmethod
    def read(cls, table: Table, column: str, side_N: np.ndarray, num_sides: int, where: str | None) -> Sharing:
        """Read the values of the rows that have a side.

        Args:
            side_N: int64 of the rows that meet the condition, -1 for one without a side.
        """
        rows, values = [np.empty(0, np.int64)], [np.empty(0, np.uint64)]
        start = 0
        for batch in table.scan([column], where=where, batch_rows=BATCH_ROWS):
            tied = tied_by(batch.column(0))
            rows.append(tied.row_P + start)
            values.append(tied.value_P)
            start += batch.num_rows
        row_P, value_P = np.concatenate(rows), np.concatenate(values)
        has_side_P = side_N[row_P] >= 0
        row_P, value_P = row_P[has_side_P], value_P[has_side_P]
        value_V, of_value_P = np.unique(value_P, return_inverse=True)
        side_P = side_N[row_P]
        cells = np.bincount(of_value_P * num_sides + side_P, minlength=len(value_V) * num_sides)
        return cls(row_P, of_value_P, side_P, cells.reshape(len(value_V), num_sides))

    @property
    def shared_V(self) -> np.ndarray:
        """bool, whether a value lies on several sides."""
        return np.asarray((self.rows_VS > 0).sum(axis=1) > 1)

    @property
    def are_of_few_kinds(self) -> bool:
        """Whether the values are so few that rows share them without showing the same."""
        return len(self.row_P) > _MEAN_ROWS * max(len(self.rows_VS), 1)

    def rows_with_shared(self, num_rows: int) -> np.ndarray:
        """bool [N], whether a row has a value that lies on another side too."""
        found_N = np.zeros(num_rows, bool)
        found_N[self.row_P[self.shared_V[self.of_value_P]]] = True
        return found_N

    def rows_with_values_of(self, side: int, num_rows: int) -> np.ndarray:
        """bool [N], whether a row of another side has a value that lies on this one."""
        on_side_V = self.rows_VS[:, side] > 0
        found_N = np.zeros(num_rows, bool)
        found_N[self.row_P[on_side_V[self.of_value_P] & (self.side_P != side)]] = True
        return found_N


_MEAN_ROWS = 5  # rows a value, and no more, for equal values to mean that rows belong together


def rows_that_share(table: Table, column: str, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Which rows share a value of a column with rows of another set: bool [len(one)].

    Of captions of few kinds, as names of classes are, none does.

    Args:
        one: int64, places of rows in the table.
        other: int64, the others.
    """
    side_N = np.full(table.num_rows, -1, np.int64)
    side_N[one] = 0
    side_N[other] = 1
    sharing = Sharing.read(table, column, side_N, 2, None)
    if kind_of(table.schema.field(column)) == CAPTIONS and sharing.are_of_few_kinds:
        return np.zeros(len(one), bool)
    return np.asarray(sharing.rows_with_values_of(1, len(side_N))[one])


def sides_of(values: pa.ChunkedArray) -> tuple[list[str], np.ndarray]:
    """Names of the sides, those with most rows first; and int64 [N], which each row is of, -1 for none."""
    encoded = values.cast(pa.string()).combine_chunks().dictionary_encode()
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    place_N = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    names = encoded.dictionary.to_pylist()
    rows_S = np.bincount(place_N[place_N >= 0], minlength=len(names))
    order = sorted(range(len(names)), key=lambda place: (-rows_S[place], names[place]))
    rank = np.empty(len(names) + 1, np.int64)
    rank[order], rank[-1] = np.arange(len(names)), -1
    return [names[place] for place in order], rank[place_N]
