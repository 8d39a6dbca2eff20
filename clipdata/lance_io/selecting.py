"""select(): rows get a name, by which any condition can mean them: `--where "@blurry AND split = 'train'"`.

Giving, changing and removing a name is one commit that moves no row; `log` lists it, and `restore` undoes it.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from clipdata import hints
from clipdata.arguments import check_offsets
from clipdata.errors import NotFoundError, SchemaError, UsageError
from clipdata.lance_io.history import Properties, commit
from clipdata.lance_io.naming_column import USUAL, naming_column
from clipdata.lance_io.selected_rows import (
    ENTRY,
    FOLDER,
    KEY,
    Selection,
    check_selection_name,
    keys_of,
    selections_of,
)
from clipdata.lance_io.state import StateFolder
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.plurals import counted
from clipdata.printable import printable
from clipdata.storage import Storage, redact

MOST_ROWS = 50_000  # each is a literal in a condition, of which Lance reads some 25,000 a second

Done = Literal["listed", "made", "kept", "changed", "deleted"]


@dataclass(frozen=True)
class Selected:
    """What was done to a name of rows, and the names that there are afterwards.

    Args:
        table: location.
        done: "kept" where the name meant these rows already.
        name: without its @; None where they were only listed.
        num_rows: that it means now; None where there is none of that name.
        version: of the table afterwards.
        selections: all of the table, by name.
    """

    table: str
    done: Done
    name: str | None
    num_rows: int | None
    version: int
    selections: tuple[Selection, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {**asdict(self), "selections": [one.to_dict() for one in self.selections]}

    def __str__(self) -> str:
        if self.done == "listed":
            head = f"{self.table}: {counted(len(self.selections), 'selection')}" if self.selections else ""
            lines = [head or f"{self.table} has no selections"]
            lines += [f"  @{one.name}: {counted(one.num_rows, 'row')}{_told(one)}" for one in self.selections]
            return "\n".join(map(printable, lines))
        if self.done == "deleted":
            return printable(f"@{self.name} of {self.table} is deleted; its rows stay")
        word = {"made": "means", "kept": "already means", "changed": "now means"}[self.done]
        return printable(
            f"@{self.name} of {self.table} {word} {counted(self.num_rows or 0, 'row')} (version {self.version})"
        )


def select(
    table: AnyTable,
    name: str | None = None,
    *,
    where: str | None = None,
    offsets: Sequence[int] | np.ndarray | None = None,
    chosen_by: str | None = None,
    overwrite: bool = False,
    delete: bool = False,
    storage: Storage | None = None,
) -> Selected:
    """Give rows a name that every condition can say as `@name`; or list, change, remove names.

    The rows are remembered by their key, so the name goes on meaning them after a compaction, an upsert or new rows.
    Rows that come later are never meant, even if they met the condition.

    Args:
        table: or its location; a handle is moved to the new version.
        name: letters, digits, dashes and underscores; without one, the names are listed.
        where: SQL condition of the rows, which may say other names.
        offsets: or their positions among the live rows of the handle's version, int64 [K].
        chosen_by: how positions were chosen, in words, which is noted.
        overwrite: let a name that means other rows mean these.
        delete: remove the name.
        storage: how to reach the location.

    Raises:
        UsageError: the name will not do, means other rows already, or the rows are none or too many.
        SchemaError: no column tells the rows of the table apart.
        NotFoundError: there is no such name to delete.
    """
    handle = as_table(table, storage=storage)
    if name is None:
        if where is not None or offsets is not None or delete or overwrite:
            raise UsageError("select: no name is given", hint=hints.select(handle.uri, "NAME") + " --where CONDITION")
        known = selections_of(handle.dataset.metadata or {})
        return Selected(redact(handle.uri), "listed", None, None, handle.version, tuple(known.values()))
    check_selection_name(name)
    if ((where is None) is (offsets is None)) is not delete:
        raise UsageError(
            "select: expected a name with a condition or with positions, or a name to delete",
            hint=hints.select(handle.uri, name) + " --where CONDITION",
        )
    newest = handle.latest()
    before = selections_of(newest.dataset.metadata or {}).get(name)
    if delete:
        return _deleted(handle, newest, name, before)
    chosen = handle.offsets(where) if offsets is None else check_offsets(offsets, handle.num_rows, "select")
    column = _column(handle)
    keys = _keys(handle, column, np.unique(chosen))
    if before is not None and before.column == column and set(keys_of(newest, before).to_pylist()) == set(keys):
        return _told_of(newest, "kept", name)
    if before is not None and not overwrite:
        raise UsageError(
            f"@{name} of {redact(handle.uri)} means {before.num_rows:,} other rows already",
            hint="--overwrite (overwrite=True) lets it mean these; or choose another name",
        )
    record = uuid.uuid4().hex
    StateFolder(newest, FOLDER).write_arrow(record, pa.table({KEY: keys}))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    said = redact(where) if where is not None else chosen_by
    made = Selection(name, len(keys), column, record, handle.version, said, now)
    properties = Properties(
        "select", {"name": name, "where": said}, {"selected": len(keys)}, first_version=newest.version
    )
    handle.move_to(_committed(newest, {f"{ENTRY}{name}": json.dumps(asdict(made))}, properties))
    return _told_of(handle, "made" if before is None else "changed", name)


def _column(table: Table) -> str:
    """The column by which rows are remembered.

    Raises:
        SchemaError: there is none.
    """
    found = naming_column(table)
    if found is None:
        raise SchemaError(
            f"{redact(table.uri)} declares no key, and none of {', '.join(USUAL)} tells its rows apart, so that they "
            "could not be found again",
            hint="take it in as a table with a key: clipdata ingest lance --help",
        )
    return found


def _keys(table: Table, column: str, offsets: np.ndarray) -> list[Any]:
    if not len(offsets):
        raise UsageError("select: no row is chosen; nothing was written")
    if len(offsets) > MOST_ROWS:
        raise UsageError(
            f"select: {counted(len(offsets), 'row is', 'rows are')} chosen; expected {MOST_ROWS:,} at most",
            hint="so many are better told by a column: clipdata view --edit writes decisions, clipdata map a step",
        )
    keys: list[Any] = table.take(offsets, [column]).column(0).to_pylist()
    return keys


def _deleted(handle: Table, newest: Table, name: str, before: Selection | None) -> Selected:
    if before is None:
        known = ", ".join(f"@{one}" for one in selections_of(newest.dataset.metadata or {})) or "none"
        raise NotFoundError(f"there is no selection @{name} of {redact(newest.uri)}; there are: {known}")
    properties = Properties("select", {"name": name, "delete": True}, {}, first_version=newest.version)
    handle.move_to(_committed(newest, {f"{ENTRY}{name}": None}, properties))
    return _told_of(handle, "deleted", name)


def _committed(newest: Table, entries: dict[str, str | None], properties: Properties) -> Table:
    import lance

    operation = lance.LanceOperation.UpdateConfig(
        table_metadata_updates=lance.LanceOperation.UpdateMap(entries, replace=False)
    )
    return commit(newest, lambda _: operation, properties)[0]


def _told_of(table: Table, done: Done, name: str) -> Selected:
    known = selections_of(table.dataset.metadata or {})
    num_rows = known[name].num_rows if name in known else None
    return Selected(redact(table.uri), done, name, num_rows, table.version, tuple(known.values()))


def _told(one: Selection) -> str:
    return f" (chosen in version {one.version}{f': {one.chosen_by}' if one.chosen_by else ''})"
