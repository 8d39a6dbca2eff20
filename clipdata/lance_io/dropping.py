"""Dropping: columns removed by one commit that says so, with their reasons, indices, and records of unfinished maps.

The values stay readable at the versions before. A column that a source gave stays dropped when the source is taken in
again, for only new rows would have it. What tells a row and its picture is never dropped, and what other
columns were computed from only when that is asked for. It knows lineages, and not what a step is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from clipdata import hints
from clipdata.errors import ConcurrentChangeError, UsageError
from clipdata.lance_io.columns import identity_of, mark_of, reasons_of
from clipdata.lance_io.dropped_columns import remember
from clipdata.lance_io.history import Properties, commit
from clipdata.lance_io.pictures import place_columns
from clipdata.lance_io.state import StateFolder, map_folder
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.lineage import Lineage
from clipdata.printable import printable
from clipdata.schema import image_column
from clipdata.storage import Storage, redact

if TYPE_CHECKING:
    import lance

_TELLS_THE_PICTURE = ("path", "uri", "etag", "sha256")
_TELLS_THE_SOURCE = ("etag", "source")


@dataclass(frozen=True)
class Dropped:
    """Columns that are gone, or with `dry_run` would be.

    Args:
        table: location.
        columns: that were named.
        reasons: columns of reasons that went with them.
        indices: names of indices that went with them.
        left_out: of the columns those that a source may have given; an ingest or merge leaves them out from now on.
        stale: column that was computed from one of them → those it was computed from; it can be filled no further.
        before: version that still has the columns.
        version: without them; None for a dry run.
        dry_run: nothing was written.
    """

    table: str
    columns: tuple[str, ...]
    reasons: tuple[str, ...]
    indices: tuple[str, ...]
    left_out: tuple[str, ...]
    stale: dict[str, tuple[str, ...]]
    before: int
    version: int | None
    dry_run: bool

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        done = "would drop" if self.dry_run else "dropped"
        lines = [f"{done} {', '.join(self.columns)} of {self.table}; version {self.before} keeps them"]
        lines += [f"  with the reasons in {', '.join(self.reasons)}"] if self.reasons else []
        lines += [f"  with the indices {', '.join(self.indices)}"] if self.indices else []
        if self.left_out:
            lines.append(f"  no ingest or merge brings {', '.join(self.left_out)} back; a restore of that version does")
        lines += [
            f"  {name} was computed from {', '.join(of)}: it keeps its values, and no row can be filled any more"
            for name, of in self.stale.items()
        ]
        return "\n".join(map(printable, lines))


def drop(
    table: AnyTable,
    columns: str | Sequence[str],
    *,
    yes: bool = False,
    dry_run: bool = False,
    storage: Storage | None = None,
) -> Dropped:
    """Remove columns from a table, by one commit; the versions before keep them.

    An ingest or merge does not bring back what it gave: it writes what is new, and all other rows would lack it.

    Args:
        table: or its location; a handle is moved to the new version.
        columns: a name, or several.
        yes: drop also columns that others were computed from.
        dry_run: say what would go, and write nothing.
        storage: how to reach the location.

    Raises:
        SchemaError: the table has no such column.
        UsageError: a column tells a row or its picture; or others were computed from it, and `yes` was not given.
        ConcurrentChangeError: another writer made one of the columns anew meanwhile.
    """
    handle = as_table(table, storage=storage)
    names = tuple(dict.fromkeys([columns] if isinstance(columns, str) else columns))
    newest = handle.latest()
    _check(newest, names)
    stale = _stale(newest, names)
    if stale and not (yes or dry_run):
        told = "; ".join(f"{name} from {', '.join(of)}" for name, of in stale.items())
        raise UsageError(
            f"other columns of {redact(newest.uri)} were computed from what would be dropped, and could be filled no "
            f"further: {told}",
            hint="drop them too; or --yes (yes=True) leaves them as they are",
        )
    schema = newest.schema
    reasons = tuple(found for name in names if (found := reasons_of(schema, name)) and found not in names)
    left_out = tuple(name for name in names if newest.key is not None and Lineage.of(schema.field(name)) is None)
    made = newest
    if not dry_run:
        remember(newest, left_out)
        made = _dropped(newest, names, reasons)
        for name in names:
            StateFolder(newest, map_folder(name, mark_of(schema.field(name)))).remove()
        handle.move_to(made)
    version = None if dry_run else made.version
    indices = _indices(newest, {*names, *reasons})
    return Dropped(redact(newest.uri), names, reasons, indices, left_out, stale, newest.version, version, dry_run)


def _check(table: Table, names: Sequence[str]) -> None:
    """Hold the request to the table.

    Raises:
        UsageError: a column tells what a row is.
    """
    if not names:
        raise UsageError("drop: no column is named")
    table.require(names, verb="drop")
    schema, image = table.schema, image_column(table.schema)
    needed = dict.fromkeys(place_columns(schema), "it says where the row's picture is")
    if table.key is not None:
        needed |= dict.fromkeys(_TELLS_THE_SOURCE, "an ingest or merge tells by it what a row holds")
    if image is not None:
        needed |= dict.fromkeys(_TELLS_THE_PICTURE, "it tells the row's picture")
        needed[image] = "it holds the row's picture"
    needed |= {table.key: "it is the table's key, which identifies its rows"} if table.key else {}
    for name in names:
        if name in needed and Lineage.of(schema.field(name)) is None:
            raise UsageError(
                f"column {name!r} of {redact(table.uri)} cannot be dropped: {needed[name]}",
                hint=f"export the other columns instead: {hints.export(table.uri)}",
            )
    if set(schema.names) <= {*names, *(reasons_of(schema, name) for name in names)}:
        raise UsageError(f"drop: no column of {redact(table.uri)} would be left")


def _stale(table: Table, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Columns that were computed from some that go, and stay themselves."""
    found: dict[str, tuple[str, ...]] = {}
    for column in table.schema:
        lineage = Lineage.of(column)
        if lineage is not None and column.name not in names:
            of = tuple(name for name in lineage.inputs if name in names)
            found |= {column.name: of} if of else {}
    return found


def _dropped(table: Table, names: Sequence[str], reasons: Sequence[str]) -> Table:
    """The version without the columns."""
    from lance import LanceOperation

    wanted = {name: identity_of(table.dataset, name) for name in (*names, *reasons)}

    def operation(dataset: lance.LanceDataset) -> Any:
        left = {name for name in wanted if name in dataset.schema.names}
        another = [name for name in left if identity_of(dataset, name) != wanted[name]]
        if another:
            raise ConcurrentChangeError(
                f"column {another[0]!r} of {redact(table.uri)} was made anew by another writer meanwhile; "
                "nothing was dropped",
                hint=f"see what did it: {hints.log(table.uri)}",
            )
        if not left:
            return None
        return LanceOperation.Project(_without(dataset.lance_schema, left), preserves_nullability=True)

    made, _ = commit(table, operation, Properties("drop", {"columns": [*names]}, first_version=table.version))
    return made


def _without(schema: Any, names: set[str]) -> Any:
    """A schema of Lance's without some columns, the others with the field numbers that they have."""
    make, (metadata, *fields) = schema.__reduce__()[:2]
    kept = [column.name() not in names for column in schema.fields() for _ in range(_num_fields(column))]
    assert len(kept) == len(fields), "Lance writes a field for each column and for what is nested in it, in order"
    return make(metadata, *(field for field, keep in zip(fields, kept, strict=True) if keep))


def _num_fields(column: Any) -> int:
    return 1 + sum(_num_fields(child) for child in column.children())


def _indices(table: Table, names: set[str]) -> tuple[str, ...]:
    """Names of the indices on some columns."""
    return tuple(index.name for index in table.dataset.describe_indices() if names & set(index.field_names))
