"""Differences: what rows, columns and values two versions of a table, or two tables, do not have in common.

    files   → rows and columns that cannot differ are never read
    keys    → rows added and removed, by hashes of the keys of all rows that the files do not tell
    values  → rows changed, by one hash a row; then column by column, of the changed rows alone

Nothing is sorted but hashes: 24 bytes of memory for each row of both sides that the files do not tell, and a batch. So
two versions between which a column was added are compared without reading a value, however many rows they have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pyarrow as pa

from clipdata.errors import SchemaError, UsageError
from clipdata.lance_io.columns import identity_of
from clipdata.lance_io.naming_column import naming_column
from clipdata.lance_io.row_differences import RowDifferences, ValueDifference, words_of
from clipdata.lance_io.row_hashes import Compared, Side, compared_columns
from clipdata.lance_io.rows_meant import Lacking, rows_meant
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.lance_io.version_numbers import version_numbers
from clipdata.lineage import Lineage
from clipdata.plurals import counted
from clipdata.printable import printable
from clipdata.schema import is_text
from clipdata.storage import Storage, redact

EXAMPLES = 3
_ROW_ID = "_rowid"


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
        lacking: sides without a column of the condition, so that none of their rows meets it.
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
    lacking: tuple[Lacking, ...]
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
        lines = [
            f"{self.before} → {self.after}, by {self.key}: {self.rows_before:,} → {counted(self.rows_after, 'row')}"
        ]
        lines += [f"  {one}" for one in self.lacking]
        counts = (("added", self.rows_added, self.added), ("removed", self.rows_removed, self.removed))
        for word, count, keys in counts:
            lines += [f"  rows {word}: {count:,} (such as {', '.join(map(str, keys))})"] if count else []
        lines += [f"  rows changed: {self.rows_changed:,}"] if self.rows_changed else []
        lines += [f"  column {column}" for column in self.columns]
        lines += [f"  values of {name}: {count:,} differ" for name, count in self.values.items()]
        lines += [f"    {one.key}: {one.column} {one.before!r} → {one.after!r}" for one in self.changed]
        lines += [f"  values of {name} were not compared: {why}" for name, why in self.not_compared.items()]
        return "\n".join(map(printable, lines if self.any else [f"{lines[0]}; they are the same", *lines[1:]]))


def diff(
    table: AnyTable,
    before: int | str | None = None,
    after: int | str | None = None,
    *,
    other: AnyTable | None = None,
    on: str | None = None,
    columns: Sequence[str] | None = None,
    where: str | None = None,
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
        where: SQL condition of the rows to tell of: of those added as they are after, of those removed as they were
            before, of those changed as they are on either side. Where a side lacks a column of it, none of its rows
            meets it, which is said. Rows are counted among these; columns that differ are told all the same.
        examples: most keys and values that are listed of each kind.
        storage: how to reach the locations.

    Raises:
        NotFoundError: there is no such version.
        UsageError: nothing tells the rows apart, or two rows have one key.
        SchemaError: a side lacks a column that was named, or the condition means nothing on one; it says on which.
    """
    first, second = _sides(as_table(table, storage=storage), before, after, other, storage)
    key = _key(first, second, on)
    names = _compared_names(first, second, key, columns)
    one, two = Side(first, key), Side(second, key)
    meant = rows_meant(first, second, where) if where is not None else None
    found = RowDifferences(examples, meant.masks if meant else None)
    changed = found.rows_in(one, two, names.compared)
    return Diff(
        before=words_of(first),
        after=words_of(second),
        key=key,
        rows_before=first.num_rows,
        rows_after=second.num_rows,
        rows_added=found.num_added,
        rows_removed=found.num_removed,
        rows_changed=changed,
        columns=column_differences(first, second),
        values={name: count for name, count in found.values.items() if count},
        not_compared=names.left_out,
        lacking=meant.lacking if meant else (),
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
        versions = version_numbers(table.uri, table.storage)
        if len(versions) < 2:
            raise UsageError(
                f"diff: {redact(table.uri)} has one version only", hint="name another table: --other OTHER.lance"
            )
        before = versions[1]
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
    named = {naming_column(before), naming_column(after)}
    if len(named) == 1 and None not in named:
        return str(*named)
    raise UsageError(
        f"diff: nothing tells which row of {words_of(before)} is which of {words_of(after)}; their keys are "
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
