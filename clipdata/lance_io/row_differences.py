"""Row differences: which rows two versions do not have in common, and which values of those that both have.

Rows are told apart by hashes of their keys, and values by hashes of their own; a few of each are read to be shown.
What the files of both tell is not compared at all; see `row_hashes`. It must not know what the versions are of.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clipdata.errors import UsageError
from clipdata.lance_io.row_hashes import Compared, Pair, Side, paired
from clipdata.lance_io.table import Table
from clipdata.plurals import counted
from clipdata.storage import redact

_HELD_BYTES = 256 << 20  # hashes of columns that are compared at once
_MOST_LETTERS = 80


@dataclass(frozen=True)
class ValueDifference:
    """A value of a row that is on both sides.

    Args:
        key: of the row.
        column: that holds the value.
        before: on the first side; texts and lists are cut.
        after: on the second.
    """

    key: Any
    column: str
    before: Any
    after: Any


class RowDifferences:
    """What is found, row by row.

    Args:
        examples: most of each kind.
        meant: which live rows of the two sides are asked about, bool [N] each; all where it is None. A row of both is
            where it is on either.
    """

    def __init__(self, examples: int, meant: tuple[np.ndarray, np.ndarray] | None = None) -> None:
        self._examples, self._meant = examples, meant
        self.num_added = self.num_removed = 0
        self.values: dict[str, int] = {}
        self.added: list[Any] = []
        self.removed: list[Any] = []
        self.changed: list[ValueDifference] = []
        self._of_column: dict[str, int] = {}

    def rows_in(self, before: Side, after: Side, columns: Sequence[Compared]) -> int:
        """Compare all rows; returns how many of those on both sides changed."""
        self.values = dict.fromkeys((column.name for column in columns), 0)
        pairs = paired(before, after, columns)
        changed = sum(self._in_pair(before, after, pair) for pair in pairs if pair.columns)
        return changed + self._among_loose(before, after, columns)

    def _in_pair(self, before: Side, after: Side, pair: Pair) -> int:
        """Compare the values of two fragments with the same rows."""
        is_changed: np.ndarray | None = None
        for column in pair.columns:
            (place_N, one_N), (_, two_N) = _hashed(before, pair.before, column), _hashed(after, pair.after, column)
            assert len(one_N) == len(two_N), "the rows are the same"

            def offsets_of(rows: np.ndarray, place_N: np.ndarray = place_N) -> list[np.ndarray]:
                return [
                    piece.start + (rows if piece.places is None else _ranks(side, piece, place_N[rows]))
                    for side, piece in ((before, pair.before), (after, pair.after))
                ]

            rows = np.flatnonzero(one_N != two_N)
            rows = rows[self._is_meant(*offsets_of(rows))]
            is_changed = np.zeros(len(one_N), np.bool_) if is_changed is None else is_changed
            is_changed[rows] = True
            self.values[column.name] += len(rows)
            if len(rows) and (few := self._left(column)):
                self._tell(before, after, column, *offsets_of(rows[:few]))
        return int(is_changed.sum()) if is_changed is not None else 0

    def _is_meant(self, before: np.ndarray | None, after: np.ndarray | None) -> np.ndarray | slice:
        """Which rows are asked about, by their positions among the live rows of a side, or of both."""
        if self._meant is None:
            return slice(None)
        sides = [mask[at] for mask, at in zip(self._meant, (before, after), strict=True) if at is not None]
        found: np.ndarray = np.logical_or.reduce(sides)
        return found

    def _among_loose(self, before: Side, after: Side, columns: Sequence[Compared]) -> int:
        """Match the rows that files do not tell by their keys, and compare them."""
        if not before.num_loose and not after.num_loose:
            return 0
        (key_A, row_A), (key_B, row_B) = before.loose_hashes(columns), after.loose_hashes(columns)
        order_A, order_B = _ordered(before, key_A), _ordered(after, key_B)
        mate_B = _mates(key_A, order_A, key_B, order_B)
        del key_A, key_B, order_A, order_B
        is_both_B = mate_B >= 0
        only_A = np.ones(before.num_loose, np.bool_)
        only_A[mate_B[is_both_B]] = False
        new, gone = np.flatnonzero(~is_both_B), np.flatnonzero(only_A)
        if self._meant is not None:
            new = new[self._is_meant(None, after.offsets(new))]
            gone = gone[self._is_meant(before.offsets(gone), None)]
        self.num_added, self.num_removed = len(new), len(gone)
        self.added, self.removed = _keys(after, new[: self._examples]), _keys(before, gone[: self._examples])
        del only_A, new, gone
        if not columns:
            return 0
        changed_B = np.flatnonzero(is_both_B)
        changed_B = changed_B[row_A[mate_B[changed_B]] != row_B[changed_B]]
        if self._meant is not None:
            mates = before.offsets(mate_B[changed_B])
            changed_B = changed_B[self._is_meant(mates, after.offsets(changed_B))]
        self._by_column(before, after, columns, mate_B[changed_B], changed_B)
        return len(changed_B)

    def _by_column(
        self, before: Side, after: Side, columns: Sequence[Compared], rows_A: np.ndarray, rows_B: np.ndarray
    ) -> None:
        """Count which values of the changed rows differ."""
        if not len(rows_B):
            return
        order = np.argsort(rows_A, kind="stable")
        for group in _groups(columns, len(rows_B)):
            hashes_A, hashes_B = before.hashes_at(rows_A[order], group), after.hashes_at(rows_B, group)
            for column, one_M, two_M in zip(group, hashes_A, hashes_B, strict=True):
                differs = np.flatnonzero(one_M != two_M[order])
                self.values[column.name] += len(differs)
                if len(differs) and (few := self._left(column)):
                    mine = order[differs[:few]]
                    self._tell(before, after, column, before.offsets(rows_A[mine]), after.offsets(rows_B[mine]))

    def _left(self, column: Compared) -> int:
        return self._examples - self._of_column.get(column.name, 0)

    def _tell(self, before: Side, after: Side, column: Compared, one: np.ndarray, two: np.ndarray) -> None:
        """Read a few values that differ, at positions among the live rows of the two versions."""
        self._of_column[column.name] = self._of_column.get(column.name, 0) + len(one)
        shown = column.reads[0]
        found = [side.table.take(at, [side.key, shown]) for side, at in ((before, one), (after, two))]
        keys = found[0].column(0).to_pylist()
        values = [rows.column(1).to_pylist() for rows in found]
        for key, old, new in zip(keys, *values, strict=True):
            self.changed.append(ValueDifference(key, column.name, _told(old), _told(new)))


def _hashed(side: Side, piece: Any, column: Compared) -> tuple[np.ndarray, np.ndarray]:
    """Places and hashes of a column's values in a piece."""
    parts = [(place_N, column.hashes(batch)) for place_N, batch in side.scan(piece, column.reads)]
    if not parts:
        return np.empty(0, np.int64), np.empty(0, np.uint64)
    places, hashes = zip(*parts, strict=True)
    return np.concatenate(places), np.concatenate(hashes)


def _ranks(side: Side, piece: Any, places: np.ndarray) -> np.ndarray:
    """Which of the live rows of a fragment some places are."""
    return np.searchsorted(side.live_places(piece.fragment), places)


def _mates(key_A: np.ndarray, order_A: np.ndarray, key_B: np.ndarray, order_B: np.ndarray) -> np.ndarray:
    """Which of some rows each of others is, by their hashes; int64 [B], -1 for none.

    Both are gone through in the order of their hashes: to look each up in any order would miss the cache each time.
    """
    mate_B = np.full(len(key_B), -1, np.int64)
    if len(key_A) and len(key_B):
        sorted_A, sorted_B = key_A[order_A], key_B[order_B]
        at_B = np.minimum(np.searchsorted(sorted_A, sorted_B), len(key_A) - 1)
        is_both_B = sorted_A[at_B] == sorted_B
        mate_B[order_B[is_both_B]] = order_A[at_B[is_both_B]]
    return mate_B


def _ordered(side: Side, key_N: np.ndarray) -> np.ndarray:
    """The order of the hashes of keys, no two of which are equal.

    Raises:
        UsageError: two rows have one key.
    """
    order = np.argsort(key_N)
    again = np.flatnonzero(key_N[order[1:]] == key_N[order[:-1]])
    if len(again):
        keys = _keys(side, order[again[:1]])
        raise UsageError(
            f"diff: {len(again) + 1:,} rows of {words_of(side.table)} have a {side.key!r} that another row has too, "
            f"such as {keys[0]!r}; rows can be told apart by a column of different values only",
            hint="--on (on=) another column",
        )
    return order


def _keys(side: Side, positions: np.ndarray) -> list[Any]:
    """Keys of a few loose rows."""
    if not len(positions):
        return []
    return [_told(key) for key in side.table.take(side.offsets(positions), [side.key]).column(0).to_pylist()]


def _groups(columns: Sequence[Compared], num_rows: int) -> Iterator[Sequence[Compared]]:
    """Columns, as many at a time as their hashes may take."""
    size = max(_HELD_BYTES // (16 * num_rows), 1)
    for start in range(0, len(columns), size):
        yield columns[start : start + size]


def _told(value: Any) -> Any:
    """A value for an example: numbers as they are, everything else as a short text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes):
        return counted(len(value), "byte")
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= _MOST_LETTERS else f"{text[: _MOST_LETTERS - 1]}…"


def words_of(table: Table) -> str:
    """A version of a table, for people."""
    return f"{redact(table.uri)}@{table.version}"
