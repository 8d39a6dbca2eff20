"""Notes of deletes: what a table says of the rows that were deleted by hand, by the id of each delete.

The table's own metadata holds the newest, and every version holds the metadata; so older notes go together into a
record beside the table, which the metadata names. It knows notes, and neither rows nor who asks.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import pyarrow as pa

from clipdata.json_parsing import parse_json
from clipdata.lance_io.faults import translated, with_retries
from clipdata.lance_io.opening import open_dataset
from clipdata.lance_io.rows import table_metadata
from clipdata.lance_io.state import StateFolder
from clipdata.lance_io.table import Table

FOLDER = "deleted"
ENTRY = "clipdata.deleted."  # and an id: key of the table's metadata
OLDER = "clipdata.deleted_before"  # key of the record that holds older notes
MOST_NOTES, _NEWEST = 64, 16  # in the metadata, and of them such as may be of deletes that are still under way
_MOST_LETTERS = 200  # of a condition, which the history holds whole


@dataclass(frozen=True)
class Note:
    """What is noted of one delete.

    Args:
        num_rows: that it deleted.
        parts: names of the records that hold them.
        where: how its condition begins.
        version: of the table in which the rows still are.
    """

    num_rows: int
    parts: tuple[str, ...]
    where: str
    version: int


def note_delete(table: Table, delete_id: str, note: Note) -> None:
    """Note a delete; of one that was noted before, what was noted is replaced."""
    records = StateFolder(table, FOLDER)
    cut = note.where if len(note.where) <= _MOST_LETTERS else f"{note.where[:_MOST_LETTERS]}…"
    own = f"{ENTRY}{delete_id}"

    def attempt() -> None:
        dataset = open_dataset(table.uri, None, table.storage)
        metadata = dict(dataset.metadata or {})
        entries: dict[str, str | None] = {own: json.dumps(asdict(note) | {"where": cut})}
        others = {key: text for key, text in metadata.items() if key.startswith(ENTRY) and key != own}
        if len(others) >= MOST_NOTES:
            by_age = sorted(others, key=lambda key: _read(others[key]).version)
            entries |= _put_together(records, metadata, {key: others[key] for key in by_age[:-_NEWEST]})
        dataset.update_metadata(entries)

    with translated(table.uri, "writing metadata of"):
        with_retries(attempt, attempts=10)


def notes_of(table: Table, metadata: Mapping[str, str] | None = None) -> dict[str, Note]:
    """What a version of a table says of its deletes, by their ids.

    Args:
        table: at that version, or at another one where `metadata` is given.
        metadata: of the version.
    """
    said = table_metadata(table) if metadata is None else metadata
    found = _older(StateFolder(table, FOLDER), said)
    found |= {key.removeprefix(ENTRY): text for key, text in said.items() if key.startswith(ENTRY)}
    return {name: _read(text) for name, text in found.items()}


def records_of(table: Table, metadata: Mapping[str, str]) -> set[str]:
    """Names of the records that a version's notes need, and of that which holds the older notes themselves."""
    parts = {part for note in notes_of(table, metadata).values() for part in note.parts}
    return parts | ({metadata[OLDER]} if OLDER in metadata else set())


def forget(table: Table) -> int:
    """Let sources bring back what was deleted; returns how many rows were remembered."""
    num_rows = 0

    def attempt() -> None:
        nonlocal num_rows
        dataset = open_dataset(table.uri, None, table.storage)
        metadata = dict(dataset.metadata or {})
        num_rows = sum(note.num_rows for note in notes_of(table, metadata).values())
        gone: dict[str, str | None] = {key: None for key in metadata if key.startswith(ENTRY) or key == OLDER}
        if gone:
            dataset.update_metadata(gone)

    with translated(table.uri, "writing metadata of"):
        with_retries(attempt, attempts=10)
    return num_rows


def _put_together(records: StateFolder, metadata: Mapping[str, str], moved: Mapping[str, str]) -> dict[str, str | None]:
    """Write notes into a record, with those that are in one already; returns what the metadata is to say then."""
    notes = _older(records, metadata) | {key.removeprefix(ENTRY): text for key, text in moved.items()}
    name = f"notes-{uuid.uuid4().hex}"
    records.write_arrow(name, pa.table({"id": list(notes), "note": list(notes.values())}))
    return {OLDER: name, **dict.fromkeys(moved)}


def _older(records: StateFolder, metadata: Mapping[str, str]) -> dict[str, str]:
    """Notes in the record that the metadata names, as texts; none where the record is gone."""
    found = records.read_arrow(metadata[OLDER]) if OLDER in metadata else None
    return dict(zip(*(found.column(name).to_pylist() for name in ("id", "note")), strict=True)) if found else {}


def _read(text: str) -> Note:
    said = parse_json(text)
    return Note(**{**said, "parts": tuple(said["parts"])})
