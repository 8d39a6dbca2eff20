"""Files of rows: what each file of a place holds, looked at once, and its rows batch by batch, as they stand there.

Whatever is wrong with a file is that file's: it is told as `BrokenFile`, and the others go on. Knows nothing of keys.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clipdata.errors import CredentialsError, NotFoundError
from clipdata.objects.faults import as_clipdata_error, verdict_on
from clipdata.storage import Storage, absolute, is_remote, redact
from ingest.metadata import class_names, pages
from ingest.metadata.data_files import DataFiles, counted, starts_as_parquet
from ingest.metadata.footers import check, repeating
from ingest.metadata.formats import FileFault, format_of
from ingest.metadata.list_file import ListFile, Row, TextOptions
from ingest.updating.source import BrokenFile, Item, Refuse, Reject

BATCH_BYTES = 16 << 20
MAX_BATCH_ROWS = 4096
_BUFFER_BYTES = 1 << 20  # of one column; without it a whole row group would be held


class RowFiles:
    """The files of rows at a place.

    Args:
        where: a file, a folder (searched for parquet files, and where it has none for the others), or a glob.
        text: how text files are to be read.
        storage: how to reach it.

    Attributes:
        stays_here: why no other process can read them; None when any can.
    """

    stays_here: str | None = None

    def __init__(
        self, where: str | os.PathLike[str], *, text: TextOptions | None = None, storage: Storage | None = None
    ) -> None:
        self.origin = absolute(where)
        self.text = text or TextOptions()
        self.storage = storage or Storage()
        self._found = DataFiles(self.origin, self.storage)
        self._files: list[Item] | None = None
        self._texts: dict[str, ListFile] = {}
        self._schemas: dict[str, pa.Schema | BrokenFile] | None = None

    def items(self) -> list[Item]:
        """The files, sorted by name.

        Raises:
            NotFoundError: nothing matches.
        """
        if self._files is None:
            self._files = self._found.find()
        return self._files

    def covers(self, where: str) -> bool:
        """Whether a file that was there is one of this place."""
        self.items()
        return self._found.covers(where)

    def schemas(self) -> Mapping[str, pa.Schema | BrokenFile]:
        """For each file, by its location, what it holds, or what is wrong with it; looked at once."""
        if self._schemas is None:
            self._schemas = {}
            for item in self.items():
                try:
                    with self.faults(item, lambda: ""):
                        self._schemas[item.where] = self._schema_of(item)
                except BrokenFile as broken:
                    self._schemas[item.where] = broken
        return self._schemas

    def notes(self) -> dict[str, str]:
        """Files that were left out, and texts that are laid out in an uncommon way."""
        notes = {
            f"in {item.key}": "; ".join(rows.layout_notes)
            for item in self._files or ()
            if (rows := self._texts.get(item.where)) is not None and rows.layout_notes
        }
        if self._found.left_out:
            notes["files left out"] = counted(self._found.left_out)
        return notes

    def batches(self, item: Item, refuse: Refuse) -> Iterator[pa.RecordBatch]:
        """The rows of one file; lines of a text that cannot be read go to `refuse`.

        Raises:
            BrokenFile: it cannot be read to its end.
        """
        num_rows = 0
        with self.faults(item, lambda: f"after {num_rows:,} rows: " if num_rows else ""):
            for batch in self._batches(item, refuse):
                yield batch
                num_rows += batch.num_rows

    def _batches(self, item: Item, refuse: Refuse) -> Iterator[pa.RecordBatch]:
        rows = self._texts.get(item.where)
        if rows is None:
            names = class_names.of(self._schema_again(item))
            fs, path = self.storage.filesystem(item.where)
            with fs.open(path, "rb") as opened:
                about = pq.read_metadata(opened)
                check(about)
                file = pq.ParquetFile(
                    opened,
                    metadata=about,
                    buffer_size=_BUFFER_BYTES,
                    read_dictionary=repeating(about),
                    page_checksum_verification=True,
                )
                for batch in _whole_groups(opened, file, _rows_at_once(about)):
                    for part in _unfolding(batch):
                        yield class_names.added(part, names)
            return
        for found in rows.batches():
            if isinstance(found, Row):
                detail = f"{found.fault}: {found.text[:200]}"
                refuse(Reject(f"{item.key}#line-{found.number}", item.etag, "corrupt", detail))
            else:
                yield found

    def _schema_again(self, item: Item) -> pa.Schema:
        found = self.schemas().get(item.where)
        if found is None:
            raise BrokenFile("missing", "it was not there when the files were listed", passing=True)
        if isinstance(found, BrokenFile):
            raise BrokenFile(found.reason, found.detail, passing=found.passing)
        return found

    def _schema_of(self, item: Item) -> pa.Schema:
        fs, path = self.storage.filesystem(item.where)
        found = format_of(item.where)
        if not found and not starts_as_parquet(fs, path):
            found = "csv" if item.where.lower().endswith(".txt") else ""
        if found in ("", "parquet"):
            with fs.open(path, "rb") as opened:
                return class_names.added_to(pq.read_schema(opened))
        text = self.text
        rows = self._texts[item.where] = ListFile(
            item.where,
            file_format=found,
            encoding=text.encoding,
            delimiter=text.delimiter,
            columns=text.columns,
            header=text.header,
            storage=self.storage,
        )
        return pa.schema(rows.fields())

    @contextmanager
    def faults(self, item: Item, before: Callable[[], str]) -> Iterator[None]:
        """Say of whatever ends the reading of a file what it means for the file.

        Raises:
            BrokenFile: the fault is the file's.
            TransientError: the store is down.
            CredentialsError: the store refuses access.
        """
        try:
            yield
        except FileFault as fault:
            hint = f" ({fault.hint})" if fault.hint else ""
            raise BrokenFile(fault.reason, f"{before()}{fault.message}{hint}") from fault
        except (FileNotFoundError, NotFoundError) as error:
            raise BrokenFile("missing", f"{before()}{redact(str(error))}", passing=True) from error
        except (PermissionError, CredentialsError) as error:
            if is_remote(item.where):
                raise as_clipdata_error(error, f"reading {redact(item.where)}", self.storage) from error
            raise BrokenFile("unreadable", f"{before()}{redact(str(error))}", passing=True) from error
        except (pa.ArrowException, UnicodeError) as error:
            raise BrokenFile("corrupt", f"{before()}{redact(' '.join(str(error).split())[:300])}") from error
        except OSError as error:
            if is_remote(item.where) and verdict_on(error) in ("again", "denied"):
                raise as_clipdata_error(error, f"reading {redact(item.where)}", self.storage) from error
            raise BrokenFile(*_what_of(error, before())) from error


def _what_of(error: OSError, before: str) -> tuple[str, str]:
    """A local file that cannot be read; Arrow tells damaged pages as OSErrors without a number."""
    reason = "unreadable" if error.errno is not None else "corrupt"
    return reason, f"{before}{redact(' '.join(str(error).split())[:300])}"


def _whole_groups(opened: Any, file: pq.ParquetFile, at_once: int) -> Iterator[pa.RecordBatch]:
    """The rows of a file in batches; a group of rows that cannot be read costs no other group.

    Raises:
        FileFault, pa.ArrowException, OSError: at the end, the first fault that was met.
    """
    about, gathered = file.metadata, list[int]()
    fault: Exception | None = None
    for number in range(about.num_row_groups):
        found = pages.too_large(opened, about, number)
        if found is None:
            gathered.append(number)
        else:
            fault = fault or FileFault("too_large", f"group {number} of its rows: {found}")
        num_rows = sum(about.row_group(place).num_rows for place in gathered)
        if not gathered or (num_rows < at_once and number + 1 < about.num_row_groups):
            continue
        num_read = 0
        try:
            for batch in file.iter_batches(at_once, row_groups=gathered):
                yield batch
                num_read += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            if getattr(error, "errno", None) is not None:
                raise
            fault = fault or error
            yield from _one_by_one(file, gathered, num_read, at_once)
        gathered = []
    if fault is not None:
        raise fault


def _one_by_one(file: pq.ParquetFile, groups: list[int], num_read: int, at_once: int) -> Iterator[pa.RecordBatch]:
    """What of some groups of rows can be read, behind the rows that were."""
    for number in groups:
        with suppress(pa.ArrowException, OSError):
            for batch in file.iter_batches(at_once, row_groups=[number]):
                left = max(batch.num_rows - num_read, 0)
                num_read = max(num_read - batch.num_rows, 0)
                if left:
                    yield batch.slice(batch.num_rows - left)


def _unfolding(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Parts of a batch that stay bounded when every row has its own copy of a value that is stored once."""
    row_bytes = sum(_longest(column) for column in batch.columns)
    at_once = max(BATCH_BYTES // max(row_bytes, 1), 1)
    for start in range(0, batch.num_rows, at_once):
        yield batch.slice(start, at_once)


def _longest(values: pa.Array) -> int:
    """The most bytes that a row's values of a dictionary may take; 0 where there is none."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        return int(pc.max(pc.binary_length(values.dictionary)).as_py() or 0) if len(values.dictionary) else 0
    if pa.types.is_struct(kind):
        return sum(_longest(values.field(place)) for place in range(kind.num_fields))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _longest(values.values) * int(pc.max(pc.list_value_length(values)).as_py() or 0)
    return 0


def _rows_at_once(about: pq.FileMetaData) -> int:
    """So many rows that a batch stays bounded, whatever they hold."""
    groups = (about.row_group(number) for number in range(about.num_row_groups))
    row_bytes = max((group.total_byte_size // max(group.num_rows, 1) for group in groups), default=0)
    return int(min(max(BATCH_BYTES // max(row_bytes, 1), 1), MAX_BATCH_ROWS))
