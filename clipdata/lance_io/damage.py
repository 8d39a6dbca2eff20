"""Damage: files of a version that are missing, cut short, of another length than its rows, or cannot be read.

Every file is read by itself, so that one that is damaged does not hide the next. Lance keeps no checksums: a byte that
changed inside a page may decode to another value and nobody is told. Of pictures the row's own `sha256` tells; of other
values nothing does, and whoever checks says so. It knows files, fragments and columns, and not how to mend them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from clipdata.errors import ClipdataError, CredentialsError, TransientError
from clipdata.lance_io.data_files import deletions_of
from clipdata.lance_io.faults import said_by, translated
from clipdata.lance_io.presence import field_ids, rows_that_fit
from clipdata.lance_io.table import Table
from clipdata.plurals import counted
from clipdata.schema import image_column
from clipdata.storage import join

DIGEST = "sha256"
_READ_BYTES = 16 << 20
_MOST_ROWS = 4096
Kind = Literal["missing", "cut", "rows", "unreadable", "picture", "deletions"]


@dataclass(frozen=True)
class Damage:
    """What is wrong with one file of a fragment.

    Args:
        kind: "missing"; "cut", of another size than was written; "rows", of another number of rows than its fragment;
            "unreadable"; "picture", whose bytes are not those of the row's digest; "deletions", the list of deleted
            rows of a fragment.
        fragment: number of the fragment.
        file: path inside the table.
        columns: whose values stand in it.
        num_rows: live rows concerned.
        fault: what was found.
        keys: of the rows, where single rows are concerned; at most all.
    """

    kind: Kind
    fragment: int
    file: str
    columns: tuple[str, ...]
    num_rows: int
    fault: str
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Read:
    """One file that was looked at.

    Args:
        file: path inside the table.
        num_bytes: of it.
        contents: whether its values were read, and not its size alone.
        pictures: that were held against their digests.
        damage: what is wrong with it, if anything is.
    """

    file: str
    num_bytes: int
    contents: bool
    pictures: int = 0
    damage: Damage | None = None


class Files:
    """The files of one version, to be read one by one.

    Args:
        table: pinned to the version.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        with translated(table.uri, "reading"):
            self._dataset = table.dataset
            self._fragments = list(self._dataset.get_fragments())
            self._columns = {name: field_ids(self._dataset, (name,)) for name in table.schema.names}
        self.num_files = sum(len(fragment.metadata.files) for fragment in self._fragments)
        self._image, self._key = image_column(table.schema), table.key

    def read(self, wanted: Callable[[], bool]) -> Iterator[Read]:
        """Look at every file.

        Args:
            wanted: asked of each file, whether its values are to be read as well.

        Raises:
            CredentialsError: the store refused access.
            TransientError: the store did not answer.
        """
        for fragment in self._fragments:
            deletions = self._deletions(fragment)
            if deletions is not None:
                yield deletions
            for file in fragment.metadata.files:
                columns = tuple(name for name, numbers in self._columns.items() if numbers & set(file.fields))
                if columns:
                    is_whole = deletions is None or deletions.damage is None
                    yield self._file(fragment, file, columns, contents=wanted() and is_whole)

    def _deletions(self, fragment: Any) -> Read | None:
        """Read the list of a fragment's deleted rows, if it has one."""
        path = deletions_of(fragment)
        if path is None:
            return None
        fault = _fault(self._table.uri, lambda: fragment.scanner(columns=[], with_row_address=True).to_table())
        if fault is None:
            return Read(path, 0, True)
        columns = tuple(name for name, numbers in self._columns.items() if numbers)
        damage = Damage("deletions", fragment.fragment_id, path, columns, _num_rows(fragment), fault)
        return Read(path, 0, True, damage=damage)

    def _file(self, fragment: Any, file: Any, columns: tuple[str, ...], *, contents: bool) -> Read:
        path, size = join("data", file.path), int(file.file_size_bytes or 0)

        def damaged(kind: Kind, fault: str, keys: Sequence[str] = ()) -> Read:
            num_rows = len(keys) if kind == "picture" else _num_rows(fragment)
            damage = Damage(kind, fragment.fragment_id, path, columns, num_rows, fault, tuple(keys))
            return Read(path, size, kind in ("unreadable", "picture"), damage=damage)

        if file.base_id is None:
            found = self._size(path)
            if found is None:
                return damaged("missing", "there is no such file")
            if size and found != size:
                return damaged("cut", f"it has {counted(found, 'byte')}, and {size:,} were written")
            if fault := self._wrong_length(path, fragment.physical_rows):
                return damaged("rows", fault)
        if not contents:
            return Read(path, size, False)
        pictures = _Pictures(self._image, self._key)
        fault = _fault(self._table.uri, lambda: self._read(fragment, columns, pictures))
        if fault is not None:
            return damaged("unreadable", fault)
        if pictures.num_wrong:
            such = f"{pictures.num_wrong:,} of {pictures.num:,} pictures are not what their {DIGEST} says"
            return damaged("picture", such, pictures.wrong or [""] * pictures.num_wrong)
        return Read(path, size, True, pictures.num)

    def _size(self, path: str) -> int | None:
        fs, location = self._table.storage.filesystem(join(self._table.uri, path))
        try:
            return int(fs.info(location)["size"])
        except FileNotFoundError:
            return None

    def _wrong_length(self, path: str, expected: int) -> str | None:
        """Why a file does not fit the rows of its fragment: Lance takes one of any length without a word."""
        from lance.file import LanceFileReader

        options = self._table.storage.lance_options(self._table.uri) or None
        try:
            found = LanceFileReader(join(self._table.uri, path), storage_options=options).num_rows()
        except Exception:  # whoever reads its values says why
            return None
        return f"it has {counted(found, 'row')}, and its fragment {expected:,}" if found != expected else None

    def _read(self, fragment: Any, columns: tuple[str, ...], pictures: _Pictures) -> None:
        names = [*columns, *pictures.beside(columns, self._table.schema)]
        rows = min(rows_that_fit(self._table, fragment, names, _READ_BYTES), _MOST_ROWS)
        scanner = fragment.scanner(columns=names, batch_size=rows, batch_readahead=1, blob_handling="all_binary")
        for batch in scanner.to_batches():
            batch.validate(full=True)  # texts that are no UTF-8, offsets past the end
            pictures.hold(batch)


class _Pictures:
    """Holds pictures against the digests of their rows.

    Args:
        image: the column of pictures, if there is one.
        key: the column that names a row, if there is one.
    """

    def __init__(self, image: str | None, key: str | None) -> None:
        self._image, self._key = image, key
        self.num = self.num_wrong = 0
        self.wrong: list[str] = []

    def beside(self, columns: Sequence[str], schema: pa.Schema) -> list[str]:
        """Columns that are needed as well."""
        if self._image not in columns or DIGEST not in schema.names:
            return []
        return [name for name in (DIGEST, self._key) if name is not None and name not in columns]

    def hold(self, batch: pa.RecordBatch) -> None:
        """Count those of a batch, and keep the keys of the wrong ones."""
        if self._image not in batch.schema.names or DIGEST not in batch.schema.names:
            return
        digests = batch.column(DIGEST).to_pylist()
        for row, picture in enumerate(batch.column(self._image)):
            if not picture.is_valid or not digests[row]:
                continue
            self.num += 1
            if hashlib.sha256(picture.as_buffer()).hexdigest() == digests[row]:
                continue
            self.num_wrong += 1
            if self._key in batch.schema.names:
                self.wrong.append(str(batch.column(self._key)[row].as_py()))


def _num_rows(fragment: Any) -> int:
    return int(fragment.metadata.num_rows)


def _fault(uri: str, read: Callable[[], object]) -> str | None:
    """What a call that reads files fails with; a store that does not answer is no damage."""
    try:
        with translated(uri, "reading"):
            read()
    except (CredentialsError, TransientError):
        raise
    except ClipdataError as error:
        return said_by(error.__cause__ or error)
    return None
