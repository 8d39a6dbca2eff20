"""Metadata files (parquet, CSV, TSV, JSONL): a file, a folder or a glob becomes rows keyed by what they say.

The key of a row is a digest of its file and content (and of its number among equal rows), so that taking a changed file
in again writes the changed rows only. Nested columns stay nested. A file that cannot be read is refused by its name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from clipdata.incoming import Incoming, Together, together
from clipdata.schema import columns_listed, is_text, key_field, require_columns
from clipdata.storage import Storage, redact
from ingest.metadata import long_texts
from ingest.metadata.equal_rows import EqualRows
from ingest.metadata.list_file import TextOptions
from ingest.metadata.listed_texts import ListColumns
from ingest.metadata.row_files import RowFiles
from ingest.updating.digests import row_digests
from ingest.updating.source import BrokenFile, Item, Refuse, Reject

ROW_KEY = "row_key"


class MetadataFiles:
    """Rows of parquet files, or of CSV, TSV and JSONL files.

    Args:
        where: a file, a folder (searched for parquet files, and where it has none for the others), a glob, or such
            files that were looked at before.
        required: column that every row must have a value in, usually the one to merge on; null or empty is refused.
        text: how text files are to be read.
        lists: columns of texts that are to be read as lists.
        storage: how to reach it.

    Raises:
        NotFoundError: nothing matches.
        SchemaError: no file has the required column, or a column that is to be read as lists.
    """

    kind = "parquet"
    grain: Literal["file"] = "file"
    key = ROW_KEY
    taken: frozenset[str] = frozenset({ROW_KEY, "source"})

    def __init__(
        self,
        where: str | os.PathLike[str] | RowFiles,
        *,
        required: str | None = "filename",
        text: TextOptions | None = None,
        lists: Sequence[str] = (),
        storage: Storage | None = None,
    ) -> None:
        self.files = where if isinstance(where, RowFiles) else RowFiles(where, text=text, storage=storage)
        self.origin, self.storage = self.files.origin, self.files.storage
        self.required = required
        self.lists = ListColumns(lists)
        self._merged: Together | None = None
        self._parts: dict[str, Incoming | BrokenFile] = {}
        self._schema: pa.Schema | None = None

    @property
    def options(self) -> Mapping[str, Any]:
        """All that shapes or refuses rows."""
        return {"required": self.required, "lists": list(self.lists.names), **self.files.text.to_dict()}

    @property
    def stays_here(self) -> str | None:
        """Why no other process can read the files; None when any can."""
        return self.files.stays_here

    def items(self) -> Iterator[Item]:
        """The files, sorted by name."""
        return iter(self.files.items())

    def covers(self, where: str) -> bool:
        """Whether a file that was there is one of this place."""
        return self.files.covers(where)

    def schema(self) -> pa.Schema:
        """The rows' key, the columns of all files that can be read, and the file that a row is of."""
        if self._schema is None:
            columns = self.lists.schema(self.merged().schema, redact(self.origin))
            self._schema = pa.schema([key_field(ROW_KEY), *columns, pa.field("source", pa.string())])
        return self._schema

    def notes(self) -> dict[str, Any]:
        """Columns that some files lack or that were renamed or converted, and files that were left out."""
        said = _notes_of(self._merged, len(self.files.items())) if self._merged else {}
        return {**said, **self.lists.notes(), **self.files.notes()}

    def read_file(self, item: Item, refuse: Refuse) -> Iterator[pa.RecordBatch]:
        """The rows of one file, batch by batch.

        Raises:
            BrokenFile: it cannot be read to its end.
        """
        schema, equal_rows = self.schema(), EqualRows()
        for first, plain, widened in self.plain_batches(item, refuse):
            usable = self._usable(plain, item, first, refuse)
            if usable is not None:
                plain, widened = plain.filter(usable), widened.filter(usable)
            if widened.num_rows:
                # Of the file's own columns, so that what other files have or widen changes no key.
                keys = equal_rows.numbered(row_digests(plain, salt=item.key))
                said = self.lists.apply(widened)
                sources = pa.repeat(pa.scalar(item.where, pa.string()), len(keys))
                yield pa.record_batch([pa.array(keys, pa.string()), *said.columns, sources], schema=schema)

    def merged(self) -> Together:
        """The columns of all files together, and how each file's become them.

        Raises:
            SchemaError: no file has the required column.
        """
        if self._merged is None:
            schemas = self.files.schemas()
            good = {where: found for where, found in schemas.items() if isinstance(found, pa.Schema)}
            self._merged = together(list(good.values()), taken=self.taken)
            for place, (where, part) in enumerate(zip(good, self._merged.parts, strict=True)):
                self._parts[where] = part or BrokenFile("other_type", self._merged.misfits[place])
            if self.required is not None and good:
                self._require(good, self.required)
        return self._merged

    def plain_batches(self, item: Item, refuse: Refuse) -> Iterator[tuple[int, pa.RecordBatch, pa.RecordBatch]]:
        """Batches of one file: number of the first row, its own columns, and the columns of all files.

        Rows that hold a value which is none of its type go to `refuse`.

        Raises:
            BrokenFile: it cannot be read to its end.
        """
        self.merged()
        part = self._parts.get(item.where)
        if isinstance(part, BrokenFile):
            raise BrokenFile(part.reason, part.detail, passing=part.passing)
        num_rows = 0
        for batch in self.files.batches(item, refuse):
            assert part is not None, "what has a schema has a part"
            for place, rows in _short_enough(batch, item, num_rows, refuse):
                for start, plain, widened in _fitting(rows, part):
                    if isinstance(widened, str):
                        refuse(Reject(f"{item.key}#row-{place + start}", item.etag, "bad_value", widened))
                    else:
                        yield place + start, plain, widened
            num_rows += batch.num_rows

    def _usable(self, plain: pa.RecordBatch, item: Item, first: int, refuse: Refuse) -> pa.Array | None:
        """Which rows have the required value; None for all."""
        part = self._parts[item.where]
        if self.required is None or isinstance(part, BrokenFile):
            return None
        names = {old: new for new, old in reversed(list(part.renamed.items()))}
        values = plain.column(self.required if self.required in plain.schema.names else names[self.required])
        missing = pc.is_null(values)
        if is_text(values.type):
            missing = pc.or_(missing, pc.equal(values, "").fill_null(False))
        if not pc.any(missing).as_py():
            return None
        for place in pc.indices_nonzero(missing).to_numpy():
            refuse(Reject(f"{item.key}#row-{first + int(place)}", item.etag, "null_key", f"no {self.required}"))
        return pc.invert(missing)

    def _require(self, schemas: Mapping[str, pa.Schema], required: str) -> None:
        """Refuse the files that lack the required column.

        Raises:
            SchemaError: all of them do.
        """
        names = dict.fromkeys(name for schema in schemas.values() for name in schema.names)
        require_columns(
            pa.schema([(name, pa.null()) for name in names]),
            [required],
            verb=f"ingest {self.kind}",
            where=redact(self.origin),
            hint="name the column that tells the pictures: --required COLUMN (required=…)",
        )
        for where, schema in schemas.items():
            if required not in schema.names:
                found = f"it has no column {required!r}; it has {columns_listed(schema.names)}"
                self._parts[where] = BrokenFile("no_column", found)


def _notes_of(merged: Together, num_files: int) -> dict[str, str]:
    """What is to be said of columns."""
    parts = [part for part in merged.parts if part is not None]
    lists = {
        "columns missing": {
            name: f"{name} (in {num_files - count} of {num_files} files)" for name, count in merged.lacking.items()
        },
        "types made one": {name: f"{name} ({how})" for name, how in merged.widened.items()},
        "columns renamed": {new: f"{new} (was {old!r})" for part in parts for new, old in part.renamed.items()},
        "types converted": {name: f"{name} ({how})" for part in parts for name, how in part.converted.items()},
    }
    return {what: ", ".join(said.values()) for what, said in lists.items() if said}


def _short_enough(
    batch: pa.RecordBatch, item: Item, first: int, refuse: Refuse
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The parts of a batch between rows whose texts are too long, each with the number of its first row in the file."""
    start, refused = 0, long_texts.too_long(batch)
    for row in (*sorted(refused), batch.num_rows):
        if row > start:
            yield first + start, batch.slice(start, row - start)
        if row in refused:
            refuse(Reject(f"{item.key}#row-{first + row}", item.etag, "too_large", refused[row]))
        start = row + 1


def _fitting(batch: pa.RecordBatch, part: Incoming) -> Iterator[tuple[int, Any, pa.RecordBatch | str]]:
    """The parts of a batch whose values are of their types; of a row that has another, what is wrong with it."""
    parts = [(0, batch)]
    while parts:
        start, rows = parts.pop()
        try:
            plain = part.plain(rows)
            yield start, plain, part.widened(plain)
        except (pa.ArrowInvalid, UnicodeError) as error:
            if rows.num_rows == 1:
                yield start, None, " ".join(str(error).split())[:300]
            else:
                half = rows.num_rows // 2
                parts += [(start + half, rows.slice(half)), (start, rows.slice(0, half))]
