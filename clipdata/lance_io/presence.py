"""Presence: how many rows have no value in a column, without reading the column where that can be known.

To test a wide column for null, Lance reads all of it. But a column that was never filled has no file in a fragment, and
a column file that map wrote says in its own footer which rows it leaves out, deleted ones included: they may come back
with an earlier version. Only what neither tells is read, in small batches. It knows fragments, and not why a value is
missing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from clipdata.json_parsing import parse_json
from clipdata.lance_io.faults import translated
from clipdata.lance_io.table import Table
from clipdata.schema import is_binary
from clipdata.storage import join

if TYPE_CHECKING:
    import lance

MISSING = "clipdata.missing_places"
NARROW_BYTES = 64
_READ_BYTES = 16 << 20
_READ_ROWS = 65_536
_MOST_RUNS = 10_000


class Runs:
    """Places in ascending order, as runs that follow each other."""

    def __init__(self, runs: Iterable[tuple[int, int]] = ()) -> None:
        self._runs = [(int(start), int(stop)) for start, stop in runs]

    def add(self, places: np.ndarray) -> None:
        """Add int64 places [n], ascending and behind those that are there."""
        first = np.flatnonzero(np.diff(places, prepend=-2) != 1)
        last = np.append(first[1:], len(places)) - 1
        for start, stop in zip(places[first].tolist(), (places[last] + 1).tolist(), strict=True):
            if self._runs and self._runs[-1][1] == start:
                start = self._runs.pop()[0]
            self._runs.append((start, stop))

    def count(self, places: np.ndarray) -> int:
        """How many of some int64 places [n] lie in the runs."""
        starts, stops = np.array(self._runs, np.int64).reshape(-1, 2).T
        found = np.searchsorted(starts, places, side="right") - 1
        return int(((found >= 0) & (places < stops[found])).sum()) if self._runs else 0

    def __len__(self) -> int:
        return sum(stop - start for start, stop in self._runs)

    def to_json(self) -> str | None:
        """As text; None when there are too many to be worth it."""
        return json.dumps(self._runs) if len(self._runs) <= _MOST_RUNS else None


def places_of(addresses: Any) -> np.ndarray:
    """Places in their fragment, int64 [n], of rows by their addresses, of which they are the low half."""
    places: np.ndarray = addresses.to_numpy().astype(np.int64) & 0xFFFFFFFF
    return places


def fixed_width(kind: pa.DataType) -> int:
    """Bytes that every value of a type takes, null or not; 0 where it depends on the value."""
    if pa.types.is_fixed_size_list(kind):
        return kind.list_size * max(fixed_width(kind.value_type), 1)
    if pa.types.is_struct(kind):
        return sum(fixed_width(member.type) for member in kind)
    try:
        return max(kind.bit_width // 8, 1)
    except ValueError:
        return 0


def rows_that_fit(table: Table, fragment: Any, names: Sequence[str], num_bytes: int) -> int:
    """Rows of a fragment that a batch of so many bytes may hold, judged by the size of the files with wide columns.

    Lance reads whole batches ahead before it cuts them to the bytes that were asked for, so that alone bounds nothing.
    """
    wide = [name for name in names if not 0 < fixed_width(table.schema.field(name).type) <= NARROW_BYTES]
    paths = files_of(table.dataset, fragment, wide)
    held = sum(file.file_size_bytes or 0 for file in fragment.metadata.files if file.path in paths)
    return max(num_bytes * fragment.physical_rows // held, 8) if held else num_bytes


def count_missing(
    table: Table,
    fragment: Any,
    column: str,
    *,
    among: str | None = None,
    reads: Sequence[str] = (),
    file: str | None = None,
) -> int:
    """Count the live rows of a fragment without a value in a column.

    Args:
        fragment: of the table's version.
        column: that may be wide.
        among: SQL condition of the rows that count; all by default.
        reads: columns that the condition names.
        file: a column file that waits to be committed, and counts as if it were.
    """
    said = _said_missing(table, file) if file else None
    if said is not None:
        return said.count(_places(table, fragment, among, reads)) if said else 0
    files = files_of(table.dataset, fragment, (column,))
    if not files:
        return len(_places(table, fragment, among, reads)) if among else fragment.count_rows()
    if not 0 < fixed_width(table.schema.field(column).type) <= NARROW_BYTES:
        said = _said_missing(table, files[0]) if len(files) == 1 else None
        if said is not None:
            return said.count(_places(table, fragment, among, reads)) if said else 0
    missing = f"`{column}` IS NULL" + (f" AND ({among})" if among else "")
    return len(_places(table, fragment, missing, (column, *reads)))


def is_missing_told(table: Table, column: str) -> bool:
    """Whether `count_missing` reads no bytes or vectors to answer: map's own files say it, a compacted one does not."""
    kind = table.schema.field(column).type
    if fixed_width(kind) <= NARROW_BYTES and not is_binary(kind):
        return True
    for fragment in table.dataset.get_fragments():
        files = files_of(table.dataset, fragment, (column,))
        if files and (len(files) > 1 or _said_missing(table, files[0]) is None):
            return False
    return True


def _places(table: Table, fragment: Any, condition: str | None, reads: Sequence[str]) -> np.ndarray:
    """Places in the fragment, int64 [n], of the live rows that pass a condition on some columns."""
    with translated(table.uri, "counting rows of"):
        scanner = fragment.scanner(
            columns=[], filter=condition, with_row_address=True, batch_size_bytes=_READ_BYTES,
            batch_size=min(rows_that_fit(table, fragment, reads, _READ_BYTES), _READ_ROWS), batch_readahead=2,
            io_buffer_size=4 * _READ_BYTES,
        )  # fmt: skip
        return places_of(scanner.to_table().column("_rowaddr"))


def _said_missing(table: Table, file: str) -> Runs | None:
    """Which rows a column file that map wrote leaves out, as it says itself; None where it does not say."""
    from lance.file import LanceFileReader

    options = table.storage.lance_options(table.uri) or None
    with translated(table.uri, "reading a column file of"):
        reader = LanceFileReader(join(table.uri, "data", file), storage_options=options)
        said = (reader.metadata().schema.metadata or {}).get(MISSING.encode())
    return Runs(parse_json(said)) if said is not None else None


def files_of(dataset: lance.LanceDataset, fragment: Any, names: Sequence[str]) -> list[str]:
    """Files that hold columns of a fragment; a column that was never filled has none."""
    wanted = field_ids(dataset, names)
    return sorted(file.path for file in fragment.metadata.files if wanted & set(file.fields))


def field_ids(dataset: lance.LanceDataset, names: Sequence[str]) -> set[int]:
    """Numbers that Lance gives some columns and what is nested in them."""
    return set[int]().union(*(_field_ids(c) for c in dataset.lance_schema.fields() if c.name() in names))


def _field_ids(column: Any) -> set[int]:
    return {column.id()}.union(*(_field_ids(child) for child in column.children()))
