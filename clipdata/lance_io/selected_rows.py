"""Selected rows: rows that a person chose and gave a name, so that a condition can say `@name`.

The keys of the rows lie in a record beside the table, and the table's own metadata names the record. So a name belongs
to a version as its rows do: `restore` brings back what it meant then. Rows are known by their key, not by their place:
neither a compaction nor an upsert changes which ones are meant. It must not know who chose them, or who asks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from clipdata import hints
from clipdata.column_names import quoted
from clipdata.errors import NotFoundError, SchemaError, StorageError, UsageError
from clipdata.lance_io.state import StateFolder
from clipdata.storage import redact

if TYPE_CHECKING:
    from clipdata.lance_io.table import Table

FOLDER = "selected"
ENTRY = "clipdata.selected."  # and a name: key of the table's metadata
KEY = "key"
MAX_NAME_BYTES = 100
_NAME = re.compile(r"[^\W\d][\w-]*")
_NAMED = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|`[^`]*`|(?<![\w@])@(?P<name>[^\W\d][\w-]*)")


@dataclass(frozen=True)
class Selection:
    """What a table's metadata says of rows that were given a name.

    Args:
        name: without its @.
        num_rows: that were chosen; some may have gone since.
        column: whose values tell the rows apart.
        record: name of the record that holds these values.
        version: of the table in which they were chosen.
        chosen_by: in words, such as the condition; None where somebody picked them one by one.
        made_at: when, UTC, as ISO 8601.
    """

    name: str
    num_rows: int
    column: str
    record: str
    version: int
    chosen_by: str | None
    made_at: str

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {name: value for name, value in asdict(self).items() if name != "record"}


def selections_of(metadata: Mapping[str, str]) -> dict[str, Selection]:
    """What a table's metadata says of selected rows, by their names in order."""
    found = {key.removeprefix(ENTRY): text for key, text in metadata.items() if key.startswith(ENTRY)}
    return {name: Selection(**json.loads(found[name])) for name in sorted(found)}


def check_selection_name(name: object) -> None:
    """Refuse a name that no condition could say.

    Raises:
        UsageError: says what is wrong with it.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name.encode()) > MAX_NAME_BYTES:
        raise UsageError(
            f"rows cannot be called {name!r:.80}; expected letters, digits, dashes and underscores, a letter first, "
            f"{MAX_NAME_BYTES} bytes at most",
            hint="such as blurry, which a condition then calls @blurry",
        )


def names_in(condition: str) -> list[str]:
    """Names that a condition says with an @; texts and quoted columns in it say none."""
    return list(dict.fromkeys(found["name"] for found in _NAMED.finditer(condition) if found["name"]))


def without_names(table: Table, condition: str) -> str:
    """A condition or SELECT with the rows that each `@name` in it means in place of the name.

    A name is looked up in the table's own version; one made later is taken from the newest version.

    Raises:
        NotFoundError: there is no such name; those that there are stand in the message.
        SchemaError: the version lacks the column that tells the rows apart.
    """
    return spelled(condition, meant_by(table, condition))


@dataclass(frozen=True)
class Meant:
    """What an `@name` means.

    Args:
        column: whose values tell the rows apart.
        keys: values of it.
    """

    column: str
    keys: pa.Array

    def among(self, rows: pa.Table) -> Meant:
        """The same of some rows alone, which `column` is read of: fewer literals where they are few."""
        present = rows.column(self.column)
        keys = self.keys.cast(present.type)
        return Meant(self.column, present.filter(pc.is_in(present, keys)).combine_chunks())


def meant_by(table: Table, condition: str) -> dict[str, Meant]:
    """What each `@name` in a condition means; see `without_names`."""
    names = names_in(condition) if "@" in condition else []
    known = selections_of(table.dataset.metadata or {}) if names else {}
    if not known.keys() >= set(names):
        known = {**selections_of(table.latest().dataset.metadata or {}), **known}
    return {name: _meant(table, name, known) for name in names}


def spelled(condition: str, meant: Mapping[str, Meant]) -> str:
    """A condition with the keys of the rows that are meant in place of each name."""
    return with_names_as(condition, {name: _literals(one) for name, one in meant.items()}) if meant else condition


def with_names_as(condition: str, terms: Mapping[str, str]) -> str:
    """A condition with a term of SQL in place of each name."""
    return _NAMED.sub(lambda found: terms[found["name"]] if found["name"] else found.group(), condition)


def keys_of(table: Table, selection: Selection) -> pa.ChunkedArray:
    """Values of the key that were selected, as they were stored.

    Raises:
        StorageError: the record is gone.
    """
    rows = StateFolder(table, FOLDER).read_arrow(selection.record)
    if rows is None:
        raise StorageError(
            f"what @{selection.name} of {redact(table.uri)} means is gone: there is no record {selection.record!r}",
            hint=f"choose the rows anew: {hints.select(table.uri, selection.name)} --where … --overwrite",
        )
    return rows.column(KEY)


def _meant(table: Table, name: str, known: Mapping[str, Selection]) -> Meant:
    if name not in known:
        listed = ", ".join(f"@{one}" for one in known) or "none"
        raise NotFoundError(
            f"{redact(table.uri)} has no selection @{name}; there are: {listed}",
            hint=f"give rows a name: {hints.select(table.uri, name)} --where CONDITION",
        )
    selection = known[name]
    if selection.column not in table.schema.names:
        raise SchemaError(
            f"@{name} knows its rows by column {selection.column!r}, which version {table.version} of "
            f"{redact(table.uri)} lacks"
        )
    return Meant(selection.column, keys_of(table, selection).combine_chunks())


def _literals(meant: Meant) -> str:
    values = meant.keys.to_pylist()
    told = ["'{}'".format(value.replace("'", "''")) if isinstance(value, str) else str(value) for value in values]
    return f"({quoted(meant.column)} IN ({', '.join(told)}))" if told else "(1 = 0)"
