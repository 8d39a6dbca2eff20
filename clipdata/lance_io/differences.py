"""Differences: what rows, columns and values two versions of a table, or two tables, do not have in common.

    files   → rows and columns that cannot differ are never read
    keys    → rows added and removed, by hashes of the keys of all rows that the files do not tell
    values  → rows changed, by one hash a row; then column by column, of the changed rows alone

Nothing is sorted but hashes: 24 bytes of memory for each row of both sides that the files do not tell, and a batch. So
two versions between which a column was added are compared without reading a value, however many rows they have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from clipdata.errors import SchemaError, UsageError
from clipdata.lance_io.columns import identity_of
from clipdata.lance_io.row_hashes import Compared, Pair, Side, compared_columns, paired
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.lineage import Lineage
from clipdata.printable import printable
from clipdata.schema import is_text
from clipdata.storage import Storage, redact

EXAMPLES = 3
_ROW_ID = "_rowid"
_HELD_BYTES = 256 << 20  # hashes of columns that are compared at once
_MOST_LETTERS = 80


@dataclass(frozen=True)
class ColumnDifference:
    """A column that only one side has, or that is not the same one on both.

    Args:
        name: of it.
        what: happened to it, from the first side to the second.
        before: what made it on the first side, in words; None where nothing is known, or it is not there.
        after: the same of the second.
        types: Arrow types on both sides, where it is on both and they differ.
    """

    name: str
    what: Literal["added", "removed", "made anew", "type changed"]
    before: str | None
    after: str | None
    types: tuple[str, str] | None = None

    def __str__(self) -> str:
        if self.types:
            return f"{self.name}: {self.what} from {self.types[0]} to {self.types[1]}"
        told = {"added": self.after, "removed": self.before}.get(self.what) or ""
        if self.what == "made anew":
            told = f"{self.after or 'by no step'}" + (f"; before: {self.before}" if self.before != self.after else "")
        return f"{self.name}: {self.what}" + (f" ({told})" if told else "")


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


@dataclass(frozen=True)
class Diff:
    """What two versions of a table, or two tables, do not have in common.

    Args:
        before: location and version of the first, `contest.lance@3`.
        after: of the second.
        key: column that tells rows apart.
        rows_before: in the first.
        rows_after: in the second.
        rows_added: rows whose key only the second has.
        rows_removed: rows whose key only the first has.
        rows_changed: rows of both with another value in a column that was compared.
        columns: that differ.
        values: column → rows of both whose value differs; columns without a difference are left out.
        not_compared: column → why its values were not.
        added: keys of a few rows.
        removed: keys of a few rows.
        changed: a few values.
        rows_hashed: rows of both sides that the files did not tell.
    """

    before: str
    after: str
    key: str
    rows_before: int
    rows_after: int
    rows_added: int
    rows_removed: int
    rows_changed: int
    columns: tuple[ColumnDifference, ...]
    values: dict[str, int]
    not_compared: dict[str, str]
    added: tuple[Any, ...]
    removed: tuple[Any, ...]
    changed: tuple[ValueDifference, ...]
    rows_hashed: int

    @property
    def any(self) -> bool:
        """Whether anything differs."""
        return bool(self.rows_added or self.rows_removed or self.rows_changed or self.columns)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {**asdict(self), "any": self.any}

    def __str__(self) -> str:
        lines = [f"{self.before} → {self.after}, by {self.key}: {self.rows_before:,} → {self.rows_after:,} rows"]
        counts = (("added", self.rows_added, self.added), ("removed", self.rows_removed, self.removed))
        for word, count, keys in counts:
            lines += [f"  rows {word}: {count:,} (such as {', '.join(map(str, keys))})"] if count else []
        lines += [f"  rows changed: {self.rows_changed:,}"] if self.rows_changed else []
        lines += [f"  column {column}" for column in self.columns]
        lines += [f"  values of {name}: {count:,} differ" for name, count in self.values.items()]
        lines += [f"    {one.key}: {one.column} {one.before!r} → {one.after!r}" for one in self.changed]
        lines += [f"  values of {name} were not compared: {why}" for name, why in self.not_compared.items()]
        return "\n".join(map(printable, lines if len(lines) > 1 else [f"{lines[0]}; they are the same"]))


def diff(
    table: AnyTable,
    before: int | str | None = None,
    after: int | str | None = None,
    *,
    other: AnyTable | None = None,
    on: str | None = None,
    columns: Sequence[str] | None = None,
    examples: int = EXAMPLES,
    storage: Storage | None = None,
) -> Diff:
    """Compare two versions of a table, or two tables, row by row by their key.

    Args:
        table: or its location.
        before: version or tag of it; the one before the newest by default, or beside `other` the newest.
        after: version or tag to compare that one with, of the same table or of `other`; the newest by default.
        other: another table.
        on: column that tells rows apart; the tables' key by default, and of two versions of a table without one,
            Lance's own row ids.
        columns: whose values are compared; all that both have by default, and none where it is empty.
        examples: most keys and values that are listed of each kind.
        storage: how to reach the locations.

    Raises:
        NotFoundError: there is no such version.
        UsageError: nothing tells the rows apart, or two rows have one key.
        SchemaError: a side lacks a column that was named.
    """
    first, second = _sides(as_table(table, storage=storage), before, after, other, storage)
    key = _key(first, second, on)
    names = _compared_names(first, second, key, columns)
    one, two = Side(first, key), Side(second, key)
    found = _Found(examples)
    changed = found.rows_in(one, two, names.compared)
    return Diff(
        before=_words(first),
        after=_words(second),
        key=key,
        rows_before=first.num_rows,
        rows_after=second.num_rows,
        rows_added=found.num_added,
        rows_removed=found.num_removed,
        rows_changed=changed,
        columns=column_differences(first, second),
        values={name: count for name, count in found.values.items() if count},
        not_compared=names.left_out,
        added=tuple(found.added),
        removed=tuple(found.removed),
        changed=tuple(found.changed),
        rows_hashed=one.num_loose + two.num_loose,
    )


def column_differences(before: Table, after: Table) -> tuple[ColumnDifference, ...]:
    """Columns that only one of two versions has, or that are not the same one in both, in their order."""
    found = []
    for name in dict.fromkeys([*before.schema.names, *after.schema.names]):
        made = _made_by(before.schema, name), _made_by(after.schema, name)
        is_in = [name in side.schema.names for side in (before, after)]
        if not all(is_in):
            found.append(ColumnDifference(name, "added" if is_in[1] else "removed", *made))
            continue
        types = str(before.schema.field(name).type), str(after.schema.field(name).type)
        if types[0] != types[1]:
            found.append(ColumnDifference(name, "type changed", *made, types))
        elif _is_another(before, after, name):
            found.append(ColumnDifference(name, "made anew", *made))
    return tuple(found)


def _is_another(before: Table, after: Table, name: str) -> bool:
    """Whether a column of both is not the same one: of two versions of a table made anew, of two tables otherwise."""
    if before.uri == after.uri:
        return identity_of(before.dataset, name) != identity_of(after.dataset, name)
    lineages = [Lineage.of(side.schema.field(name)) for side in (before, after)]
    fingerprints = [lineage.fingerprint if lineage else None for lineage in lineages]
    return fingerprints[0] != fingerprints[1]


def _made_by(schema: pa.Schema, name: str) -> str | None:
    lineage = Lineage.of(schema.field(name)) if name in schema.names else None
    return lineage.describe() if lineage else None


def _sides(
    table: Table, before: int | str | None, after: int | str | None, other: AnyTable | None, storage: Storage | None
) -> tuple[Table, Table]:
    """The two versions, opened."""
    newest = table.latest()
    if other is not None:
        second = as_table(other, storage=storage or table.storage)
        return table.pinned(_version(before)), second.pinned(_version(after))
    if before is None:
        versions = [entry["version"] for entry in newest.dataset.versions()]
        if len(versions) < 2:
            raise UsageError(
                f"diff: {redact(table.uri)} has one version only", hint="name another table: --other OTHER.lance"
            )
        before = versions[-2]
    return newest.pinned(_version(before)), newest.pinned(_version(after))


def _version(version: Any) -> Any:
    """A version as `pinned` takes it, which also takes a tag.

    Raises:
        UsageError: it is neither a number nor a text.
    """
    if version is not None and (isinstance(version, bool) or not isinstance(version, int | str)):
        raise UsageError(f"diff: {version!r} is no version; expected a number or a tag")
    return version


def _key(before: Table, after: Table, on: str | None) -> str:
    """The column that tells rows apart."""
    if on is not None:
        for side in (before, after):
            side.require([on], verb="diff")
        return on
    if before.key is not None and before.key == after.key:
        return before.key
    if before.key is None and after.key is None and before.uri == after.uri and before.dataset.has_stable_row_ids:
        return _ROW_ID
    raise UsageError(
        f"diff: nothing tells which row of {_words(before)} is which of {_words(after)}; their keys are "
        f"{before.key!r} and {after.key!r}",
        hint="name a column that does: --on (on=)",
    )


@dataclass(frozen=True)
class _Names:
    """Columns to compare, and why others are not."""

    compared: list[Compared]
    left_out: dict[str, str]


def _compared_names(before: Table, after: Table, key: str, columns: Sequence[str] | None) -> _Names:
    if columns is not None:
        for side in (before, after):
            side.require(columns, verb="diff")
    shared = [name for name in before.schema.names if name in after.schema.names and name != key]
    wanted = shared if columns is None else [name for name in columns if name != key]
    left_out = {}
    for name in [key, *wanted]:
        types = [side.schema.field(name).type for side in (before, after)] if name != _ROW_ID else [pa.int64()] * 2
        if not _are_comparable(*types):
            left_out[name] = f"it is {types[0]} and {types[1]}"
    if key in left_out:
        raise SchemaError(f"diff: rows cannot be told apart by {key!r}: {left_out[key]}", hint="--on (on=) another one")
    names = [name for name in wanted if name not in left_out]
    return _Names(compared_columns(before.schema, after.schema, names), left_out)


def _are_comparable(one: pa.DataType, other: pa.DataType) -> bool:
    tests = (is_text, pa.types.is_signed_integer, pa.types.is_floating)
    return one == other or any(test(one) and test(other) for test in tests)


def _words(table: Table) -> str:
    return f"{redact(table.uri)}@{table.version}"


class _Found:
    """What is found, row by row.

    Args:
        examples: most of each kind.
    """

    def __init__(self, examples: int) -> None:
        self._examples = examples
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
            differs = one_N != two_N
            is_changed = differs if is_changed is None else is_changed | differs
            self.values[column.name] += int(differs.sum())
            if differs.any() and (few := self._left(column)):
                rows = np.flatnonzero(differs)[:few]
                offsets = [
                    piece.start + (rows if piece.places is None else _ranks(side, piece, place_N[rows]))
                    for side, piece in ((before, pair.before), (after, pair.after))
                ]
                self._tell(before, after, column, *offsets)
        return int(is_changed.sum()) if is_changed is not None else 0

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
        self.num_added, self.num_removed = int((~is_both_B).sum()), int(only_A.sum())
        self.added = _keys(after, np.flatnonzero(~is_both_B)[: self._examples])
        self.removed = _keys(before, np.flatnonzero(only_A)[: self._examples])
        del only_A
        if not columns:
            return 0
        changed_B = np.flatnonzero(is_both_B)
        changed_B = changed_B[row_A[mate_B[changed_B]] != row_B[changed_B]]
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
            f"diff: {len(again) + 1:,} rows of {_words(side.table)} have a {side.key!r} that another row has too, such "
            f"as {keys[0]!r}; rows can be told apart by a column of different values only",
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
        return f"{len(value):,} bytes"
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= _MOST_LETTERS else f"{text[: _MOST_LETTERS - 1]}…"
