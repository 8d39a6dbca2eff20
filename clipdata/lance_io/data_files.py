"""Data files: where the values of a version of a table stand, which tells what they are without reading them.

Lance changes no file that it wrote, and no two have one name. So the names of a version's files tell it from every
other, also from the version of the same number in a table that was deleted and made anew in its place; and the file and
the row in it tell a value. It knows fragments, and not what is in the files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata.errors import NotFoundError
from clipdata.lance_io.asking import at_once
from clipdata.lance_io.faults import DamagedFileError, translated, with_retries
from clipdata.lance_io.pictures import picture_tables, places_needed
from clipdata.lance_io.presence import field_ids, files_of, places_of
from clipdata.lance_io.table import Table
from clipdata.storage import join


def digest_of_files(table: Table) -> str:
    """Hex digest of the columns, files and deletions of a table's version: equal for equal rows in equal places.

    A copy of the table's folder has the same one. No file is opened for it.
    """
    with translated(table.uri, "reading"):
        columns = [(column.name(), column.id()) for column in table.dataset.lance_schema.fields()]
        whole = hashlib.sha256(json.dumps([columns, [str(column.type) for column in table.schema]]).encode())
        for fragment in table.dataset.get_fragments():
            whole.update(json.dumps(fragment.metadata.to_json(), sort_keys=True).encode())
    return whole.hexdigest()


def names_of_files(table: Table) -> set[str]:
    """Paths inside the table of the files of its version, lists of deleted rows included; no file is opened."""
    with translated(table.uri, "reading"):
        fragments = table.dataset.get_fragments()
        deletions = {path for fragment in fragments if (path := deletions_of(fragment)) is not None}
        return deletions | {f"data/{file.path}" for fragment in fragments for file in fragment.metadata.files}


def deletions_of(fragment: Any) -> str | None:
    """Path inside the table of the list of a fragment's deleted rows; None where none is deleted."""
    about = fragment.metadata.to_json().get("deletion_file")
    if about is None:
        return None
    ending = {"array": "arrow", "bitmap": "bin"}.get(str(about["file_type"]), str(about["file_type"]))
    return f"_deletions/{fragment.fragment_id}-{about['read_version']}-{about['id']}.{ending}"


def gone_of(table: Table, names: Sequence[str]) -> list[str]:
    """Those of some data files, named as fragments name them, that are not in the table's folder; each is asked for."""
    filesystem, folder = table.storage.filesystem(join(table.uri, "data"))

    def exists(name: str) -> bool:
        return with_retries(lambda: bool(filesystem.exists(f"{folder}/{name}")))

    is_there = at_once(exists, names)
    return [name for name, there in zip(names, is_there, strict=True) if not there]


def lost_of(table: Table, names: Sequence[str]) -> list[str]:
    """Those that are not there, or that do not end as they were written: each is opened.

    That is how a loss of power leaves files that no version names yet, while a smaller record that does is kept.
    """
    from lance.file import LanceFileReader

    filesystem, folder = table.storage.filesystem(join(table.uri, "data"))
    options = table.storage.lance_options(table.uri) or None

    def is_whole(name: str) -> bool:
        try:
            if not filesystem.size(f"{folder}/{name}"):
                return False  # Lance's code panics on an empty file
            with translated(table.uri, "reading a column file of"):
                LanceFileReader(join(table.uri, "data", name), storage_options=options)
        except (FileNotFoundError, NotFoundError, DamagedFileError):
            return False
        return True

    are_whole = at_once(lambda name: with_retries(lambda: is_whole(name)), names)
    return [name for name, whole in zip(names, are_whole, strict=True) if not whole]


class RowDigests:
    """Names the values of some columns in a few rows: equal names, equal values, in every version and copy of a table.

    Rows that lie in the same files keep their names when others are appended, or columns added; no file is opened.

    Args:
        table: pinned to a version.
        columns: names.
    """

    def __init__(self, table: Table, columns: Sequence[str]) -> None:
        with translated(table.uri, "reading"):
            dataset = table.dataset
            names = [*columns, *places_needed(table.schema, columns)]
            self._ids = field_ids(dataset, names)
            self._fragments = [fragment.metadata for fragment in dataset.get_fragments()]
            self._stops = np.cumsum([fragment.num_rows for fragment in self._fragments])
            kinds = [str(table.schema.field(name)) for name in names if name in table.schema.names]
            pictures = picture_tables(dataset.metadata or {})
        self._columns = json.dumps([names, kinds, sorted(self._ids), repr(pictures)]).encode()
        self._files: dict[int, bytes] = {}

    def of(self, offsets: np.ndarray) -> str:
        """Hex digest.

        Args:
            offsets: int64 [B], ascending, among the live rows.
        """
        whole = hashlib.sha256(self._columns)
        owners = np.searchsorted(self._stops, offsets, side="right")
        for owner in np.unique(owners).tolist():
            start = int(self._stops[owner - 1]) if owner else 0
            places = (offsets[owners == owner] - start).astype("<i8")
            whole.update(self._files_of(owner) + b"%d " % len(places) + places.tobytes())
        return whole.hexdigest()

    def _files_of(self, owner: int) -> bytes:
        """Which files hold the columns in a fragment, and which of its rows are deleted."""
        if owner not in self._files:
            fragment = self._fragments[owner]
            files = sorted(file.path for file in fragment.files if self._ids & set(file.fields))
            deleted = fragment.to_json().get("deletion_file")
            self._files[owner] = json.dumps([files, deleted], sort_keys=True).encode()
        return self._files[owner]


class Places:
    """Names the place of a column's values; another value of a row stands in another place.

    Args:
        table: pinned to a version.
        column: a row of a fragment in which it was never filled has the place of no file.
    """

    def __init__(self, table: Table, column: str) -> None:
        self._table = table
        self._columns = (column, *places_needed(table.schema, [column]))
        self._files_of: dict[int, str] = {}

    def of(self, addresses: pa.Array) -> pa.Array:
        """Texts that name the places of rows.

        Args:
            addresses: uint64 [N], as the hidden column `_rowaddr` holds them.
        """
        address_N = addresses.to_numpy()
        fragments, index_N = np.unique(address_N >> np.uint64(32), return_inverse=True)
        files = pa.array([self._files(int(fragment)) for fragment in fragments], pa.large_string())
        rows = pa.array(places_of(addresses)).cast(pa.large_string())
        return pc.binary_join_element_wise(files.take(pa.array(index_N)), rows, pa.scalar(":", pa.large_string()))

    def _files(self, number: int) -> str:
        if number not in self._files_of:
            with translated(self._table.uri, "reading"):
                fragment = self._table.dataset.get_fragment(number)
                self._files_of[number] = " ".join(files_of(self._table.dataset, fragment, self._columns))
        return self._files_of[number]
