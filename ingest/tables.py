"""A Lance table that another tool made, as a source: its rows become image rows, or metadata rows without an image.

A row is known by the key column that the table declares or that is named; else by the first of some usual columns that
has a value in every row, another one in each; else by Lance's own row id. Whether a row changed is told without reading
it: the data files in which its values stand never change. It knows tables through `clipdata.lance_io` only.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from itertools import islice
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from clipdata import images
from clipdata.errors import ClipdataError, CredentialsError, ImageRefused, SchemaError, TransientError, UsageError
from clipdata.incoming import Incoming, normalised
from clipdata.lance_io.pictures import place_columns
from clipdata.lance_io.presence import files_of
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.objects.references import References, columns_needed
from clipdata.prefetch import map_ordered
from clipdata.schema import (
    IMAGE_FIELDS,
    columns_listed,
    image_schema,
    is_binary,
    is_picture_struct,
    is_text,
    key_field,
    picture_column,
)
from clipdata.storage import Storage, absolute, redact
from ingest.pictures.image_rows import image_record
from ingest.table_keys import usual_key
from ingest.updating.batches import batch_of
from ingest.updating.digests import digest
from ingest.updating.job import ingest
from ingest.updating.outcome import Ingested
from ingest.updating.source import Item, Refuse, Reject, source_storage

ROW_KEY = "row_key"
_FILE_NAMES = ("filename", "file_name")
_OUR_OWN = frozenset({*(column.name for column in IMAGE_FIELDS), ROW_KEY, "source"})
_TAKEN_OVER = {"filename": pa.string(), "uri": pa.string(), "mtime": pa.timestamp("us", "UTC")}
_LISTED_ROWS = 4096
_READ_BYTES = 16 << 20  # at once, by the size of those before
_MOST_READ_ROWS = 256
_THREADS = 4
Record = dict[str, Any]


class LanceRows:
    """The rows of a Lance table.

    Args:
        table: at the version that is to be read.
        image: column of the images; by default the one that the table declares, or the first with the name of one.
        key: column that identifies a row; see the module.
        columns: other columns to take along; all by default.
        where: SQL condition on the rows.
        limits: of one image.

    Raises:
        SchemaError: a column that is named does not exist or is of the wrong type.
    """

    kind = "lance"
    grain: Literal["row"] = "row"
    place: Literal["uri", "source"] = "source"

    def __init__(
        self,
        table: Table,
        *,
        image: str | None = None,
        key: str | None = None,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        limits: images.ImageLimits | None = None,
    ) -> None:
        table.require([name for name in (image, key, *(columns or ())) if name], verb="ingest lance")
        self.table, self.where, self.limits = table.pinned(), where, limits or images.ImageLimits()
        self._asked: dict[str, Any] = {"image": image, "key": key, "columns": list(columns) if columns else None}
        self.image = image or picture_column(table.schema)
        kind = table.schema.field(image).type if image is not None else None
        if kind is not None and not (is_binary(kind) or is_picture_struct(kind)):
            raise SchemaError(f"column {image!r} is {kind}; expected bytes of images")
        self.origin = table.uri
        self.owner: str | None = f"lance table {redact(table.uri)}"
        self.key = "path" if self.image else ROW_KEY
        self._signatures: dict[int, str] = {}
        self._rows_at_once = 4

    @property
    def options(self) -> Mapping[str, Any]:
        """What shapes or refuses rows beside the table itself."""
        return {**self._asked, "where": self.where, "limits": asdict(self.limits)}

    def covers(self, where: str) -> bool:
        """Whether a row that came from there is one of this table."""
        return where == self.owner

    def notes(self) -> dict[str, Any]:
        """How rows are known, and which columns bear another name or type here."""
        stable = "Lance's stable row id" if self._has_row_ids else "the place in its files, which compaction changes"
        notes = {"rows are known by": f"the column {self._known_by}" if self._known_by else stable}
        incoming = self._incoming
        if incoming.renamed:
            notes["renamed"] = ", ".join(f"{old!r} is {new!r}" for new, old in incoming.renamed.items())
        if incoming.converted:
            notes["converted"] = ", ".join(f"{name}: {kinds}" for name, kinds in incoming.converted.items())
        if self.image is None:
            notes["images"] = f"none: it has no column of images; it has {columns_listed(self.table.schema.names)}"
        return notes

    def schema(self) -> pa.Schema:
        """Image rows with the table's other columns, or metadata rows."""
        if self.image:
            return image_schema(self._incoming.schema)
        return pa.schema([key_field(ROW_KEY), *self._incoming.schema, pa.field("etag", pa.string())])

    def items(self) -> Iterator[Item]:
        """One a row, in the table's order; of the rows themselves only the key is read."""
        known_by = self._known_by
        hidden = ["_rowid", "_rowaddr", "_rowoffset"]
        columns = [*([known_by] if known_by else []), *hidden]
        for batch in self.table.scan(columns, where=self.where, batch_rows=_LISTED_ROWS):
            addresses = batch.column("_rowaddr").to_numpy().astype(np.uint64)
            fragments = (addresses >> np.uint64(32)).tolist()
            places = (addresses & np.uint64(0xFFFFFFFF)).tolist()
            values = batch.column(known_by).to_pylist() if known_by else [None] * batch.num_rows
            rest = zip(values, batch.column("_rowid").to_pylist(), batch.column("_rowoffset").to_pylist(), strict=True)
            for fragment, place, (value, row_id, offset) in zip(fragments, places, rest, strict=True):
                own = f"row-{row_id}" if self._has_row_ids else f"{fragment:06d}/{place:08d}"
                key = own if value is None or value == "" else str(value)
                etag = f"{self._signature(fragment)}:{place}"
                yield Item(key, etag, None, self.owner or "", {"offset": offset, "lacks_key": known_by and key is own})

    def read(self, items: Iterable[Item], refuse: Refuse) -> Iterator[pa.RecordBatch]:
        """Read rows some at a time, and check their images in threads."""
        schema, listed = self.schema(), iter(items)
        references = References(self.table.storage)
        groups = iter(lambda: list(islice(listed, self._rows_at_once)), [])
        chunks = (chunk for group in groups for chunk in self._chunks(self._with_keys(group, refuse), refuse))
        for group, rows in references.filled(chunks):
            unread = {uri: about.detail for uri, about in references.unread.items()}
            told = list(self._told(group, rows, unread, refuse))
            outcomes = map_ordered(self._outcome, told, num_threads=_THREADS)
            good = []
            for outcome in outcomes:
                if isinstance(outcome, Reject):
                    refuse(outcome)
                else:
                    good.append(outcome)
            if good:
                yield batch_of(good, schema)

    def _with_keys(self, group: Sequence[Item], refuse: Refuse) -> list[Item]:
        for item in group:
            if item.extra["lacks_key"]:
                refuse(Reject(item.key, item.etag, "missing_key", f"the row has no {self._known_by}"))
        return [item for item in group if not item.extra["lacks_key"]]

    def _chunks(self, group: Sequence[Item], refuse: Refuse) -> Iterator[tuple[Sequence[Item], pa.Table]]:
        """Rows with what is to be read of them; where some cannot be read together, each by itself."""
        if not group:
            return
        offsets = np.array([item.extra["offset"] for item in group], np.int64)
        try:
            rows = self.table.take(offsets, self._read_columns)
            self._rows_at_once = min(max(1, _READ_BYTES * len(group) // max(1, rows.nbytes)), _MOST_READ_ROWS)
            yield group, rows
        except (TransientError, CredentialsError):
            raise
        except (ClipdataError, pa.ArrowException, OSError, ValueError) as error:
            if len(group) == 1:
                refuse(Reject(group[0].key, group[0].etag, "unreadable", redact(str(error))))
                return
            for item in group:
                yield from self._chunks([item], refuse)

    def _told(
        self, group: Sequence[Item], rows: pa.Table, unread: Mapping[str, str], refuse: Refuse
    ) -> Iterator[tuple[Item, Record, Record]]:
        """Each row as it is, and its other columns as they are to be."""
        try:
            others = self._incoming.apply(_batch(rows, self._others)).to_pylist() if self._others else [{}] * len(group)
        except pa.ArrowException as error:
            if len(group) == 1:
                refuse(Reject(group[0].key, group[0].etag, "corrupt", str(error)))
                return
            for place, item in enumerate(group):
                yield from self._told([item], rows.slice(place, 1), unread, refuse)
            return
        held = rows.select([name for name in rows.column_names if name in self._of_the_image]).to_pylist()
        for item, row, other in zip(group, held or [{}] * len(group), others, strict=True):
            yield item, {**row, "_unread": unread.get(row.get("uri") or "")}, other

    def _outcome(self, given: tuple[Item, Record, Record]) -> Record | Reject:
        """The row, or what is wrong with it."""
        item, row, others = given
        if self.image is None:
            return {**others, ROW_KEY: item.key, "etag": item.etag}
        held = row[self.image]
        data = held.get("bytes") if isinstance(held, Mapping) else held
        if not data:
            elsewhere = held.get("path") if isinstance(held, Mapping) else row["_unread"]
            detail = f"it is kept elsewhere: {redact(str(elsewhere))}" if elsewhere else "the row holds none"
            return Reject(item.key, "" if row["_unread"] else item.etag, "missing", detail)
        try:
            record = image_record(Item(item.key, item.etag, len(data), self.table.uri), data, self.limits)
        except ImageRefused as error:
            return Reject(item.key, item.etag, error.reason, error.detail)
        own = {name: row[name] for name in _TAKEN_OVER if name in self._taken_over and row[name] is not None}
        name = next((row[name] for name in _FILE_NAMES if row.get(name)), None)
        named = {"filename": str(name)} if name else {}
        return {**others, **record, **named, **own}

    @cached_property
    def _is_ours(self) -> bool:
        """Whether the rows are image rows of the contract: what is known of the image need not be kept twice."""
        return all(
            (self.table.schema.field(name).metadata or {}).get(b"clipdata.image") for name in [self.image] if name
        )

    @cached_property
    def _taken_over(self) -> frozenset[str]:
        schema = self.table.schema
        fits = (name for name, kind in _TAKEN_OVER.items() if name in schema.names and schema.field(name).type == kind)
        return frozenset(fits) if self._is_ours and self.image else frozenset()

    @cached_property
    def _others(self) -> list[str]:
        """Columns of the table that become columns of the rows."""
        asked = self._asked["columns"]
        schema = self.table.schema
        places = place_columns(schema)
        names = [name for name in schema.names if name not in places] if asked is None else asked
        used = {self.image, *(c.name for c in IMAGE_FIELDS if self._is_ours and self.image)}
        if self._known_by != "path":  # else the key takes its place, and which picture it was is lost
            used.discard("path")
        if self.image and "filename" in names and is_text(schema.field("filename").type):
            used.add("filename")
        return [name for name in names if name not in used]

    @cached_property
    def _of_the_image(self) -> list[str]:
        """Columns that say something of the image: its bytes, where it is kept, its name."""
        schema = self.table.schema
        texts = [name for name in _FILE_NAMES if name in schema.names and is_text(schema.field(name).type)]
        image = [self.image, *columns_needed(schema, [self.image]), *texts, *self._taken_over] if self.image else []
        return list(dict.fromkeys(image))

    @cached_property
    def _read_columns(self) -> list[str]:
        return list(dict.fromkeys([*self._of_the_image, *self._others]))

    @cached_property
    def _incoming(self) -> Incoming:
        schema = pa.schema([self.table.schema.field(name) for name in self._others])
        plain = pa.schema([pa.field(c.name, pa.large_binary() if is_binary(c.type) else c.type) for c in schema])
        return normalised(plain, taken=_OUR_OWN if self.image else (ROW_KEY, "etag", "source"))

    @cached_property
    def _has_row_ids(self) -> bool:
        return bool(self.table.dataset.has_stable_row_ids)

    @cached_property
    def _known_by(self) -> str | None:
        """The column that identifies rows."""
        return self._asked["key"] or self.table.key or usual_key(self.table, self.where)

    def _signature(self, fragment: int) -> str:
        """Names the files in which the values of a fragment's rows stand."""
        if fragment not in self._signatures:
            dataset = self.table.dataset
            read = tuple(dict.fromkeys([*self._read_columns, *([self._known_by] if self._known_by else [])]))
            files = sorted(files_of(dataset, dataset.get_fragment(fragment), read))
            self._signatures[fragment] = digest(*files)[:16]
        return self._signatures[fragment]


def _batch(rows: pa.Table, names: Sequence[str]) -> pa.RecordBatch:
    chosen = rows.select(list(names)).combine_chunks()
    arrays = [column.chunk(0) if column.num_chunks else pa.array([], column.type) for column in chosen.columns]
    plain = [array.cast(pa.large_binary()) if is_binary(array.type) else array for array in arrays]
    return pa.record_batch(plain, names=list(names))


def from_lance(
    table: AnyTable,
    *,
    into: str | os.PathLike[str],
    image: str | None = None,
    key: str | None = None,
    columns: Sequence[str] | None = None,
    where: str | None = None,
    version: int | str | None = None,
    anonymous: bool = False,
    storage: Storage | None = None,
    **options: Any,
) -> Ingested:
    """Take in the rows of a Lance table, whoever made it.

    Args:
        table: the table, or where it is.
        into: location of the table that takes them.
        image: column of the images; found by its name where it is not given.
        key: column that identifies a row; found where it is not given.
        columns: other columns to take along; all by default.
        where: SQL condition on the rows.
        version: number or tag; by default the newest, or that of the handle.
        anonymous: the source is public.
        storage: how to reach both.
        options: of `ingest.updating.job.ingest`.

    Raises:
        UsageError: a table cannot be taken into itself.
    """
    opened = as_table(table, storage=source_storage(storage, anonymous=anonymous))
    if absolute(into) == opened.uri:
        raise UsageError(f"{redact(opened.uri)} cannot be taken into itself; expected another location")
    if version is not None:
        opened = opened.pinned(opened.version if version == opened.version else _number(opened, version))
    source = LanceRows(opened, image=image, key=key, columns=columns, where=where)
    return ingest(source, into, storage=storage, parameters={"version": opened.version}, **options)


def _number(table: Table, version: int | str) -> int:
    from clipdata.lance_io.table import open_table

    return open_table(table.uri, version=version, storage=table.storage).version
