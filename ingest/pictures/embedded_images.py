"""Parquet files that hold the images themselves: in the struct `{bytes, path}` that Hugging Face `datasets` writes, in
a plain column of bytes as img2dataset does, or in lists of either.

Each picture becomes an image row with the file's other columns. Its key is the file's name, its number in the file, and
the name the struct gives; its etag is of all that the row says, so that a corrected label replaces the row.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from clipdata import images
from clipdata.errors import ImageRefused
from clipdata.incoming import plain_names
from clipdata.prefetch import map_ordered
from clipdata.schema import image_schema
from clipdata.storage import Storage
from ingest.metadata.list_file import TextOptions
from ingest.metadata.metadata_files import MetadataFiles
from ingest.metadata.row_files import RowFiles
from ingest.pictures.beside import read_beside
from ingest.pictures.embedded_columns import Picture, choose_column, extra_fields, picture_columns, pictures_of
from ingest.pictures.image_rows import image_record
from ingest.updating.digests import row_digests
from ingest.updating.job import ingest
from ingest.updating.outcome import Ingested
from ingest.updating.source import Item, Refuse, Reject, source_storage

THREADS = 4
_OWN = frozenset({*image_schema().names, "source"})


class EmbeddedImages(MetadataFiles):
    """Image rows out of files that hold the pictures.

    Args:
        where: a file, a folder or a glob, or such files that were looked at before.
        image: column of the pictures; by default the one called "image", or the first that holds any.
        storage: how to reach them.
        limits: of one image.

    Raises:
        SchemaError: there is no column of pictures.
    """

    kind = "embedded images"
    key = "path"

    def __init__(
        self,
        where: str | os.PathLike[str] | RowFiles,
        *,
        image: str | None = None,
        storage: Storage | None = None,
        limits: images.ImageLimits | None = None,
    ) -> None:
        super().__init__(where, required=None, storage=storage)
        self.limits = limits or images.ImageLimits()
        self._chosen = choose_column(self.files, image)
        self.taken = _OWN - {self._chosen.name}
        self._image_schema: pa.Schema | None = None
        self._extras: dict[str, str] = {}

    @property
    def options(self) -> Mapping[str, Any]:
        """All that shapes or refuses rows."""
        return {"image": self._chosen.name, "max_pixels": self.limits.max_pixels, "max_bytes": self.limits.max_bytes}

    def schema(self) -> pa.Schema:
        """Image rows with the files' other columns; one that bears an image column's name gets `meta_` before it."""
        if self._image_schema is None:
            columns = self.merged().schema
            others = [column for column in columns if column.name != self._column]
            extras = extra_fields(columns.field(self._column).type)
            taken = {*_OWN, *columns.names}
            names = plain_names([(f"{self._column}_{field.name}", 0) for field in extras], taken=taken)
            self._extras = {new: field.name for new, field in zip(names.values(), extras, strict=True)}
            others += [field.with_name(new) for new, field in zip(names.values(), extras, strict=True)]
            self._image_schema = image_schema([*others, pa.field("source", pa.string())])
        return self._image_schema

    def notes(self) -> dict[str, Any]:
        """Also which column holds the pictures, where there are several."""
        return {**super().notes(), **self._chosen.notes()}

    def read_file(self, item: Item, refuse: Refuse) -> Iterator[pa.RecordBatch]:
        """The pictures of one file, checked in threads.

        Raises:
            BrokenFile: it cannot be read to its end.
        """
        self.schema()
        with ThreadPoolExecutor(THREADS, thread_name_prefix="clipdata-check") as pool:
            for first, plain, widened in self.plain_batches(item, refuse):
                yield from self._rows(item, first, plain, widened, pool, refuse)

    def _rows(
        self,
        item: Item,
        first: int,
        plain: pa.RecordBatch,
        widened: pa.RecordBatch,
        pool: ThreadPoolExecutor,
        refuse: Refuse,
    ) -> Iterator[pa.RecordBatch]:
        """The image rows of one batch."""
        column = widened.column(self._column)
        found = map_ordered(
            lambda picture: (picture.row, self._record(item, first, picture)),
            pictures_of(column),
            pool=pool,
            max_items=2 * THREADS,
        )
        rows: list[int] = []
        records: list[dict[str, Any]] = []
        for row, record in found:
            if isinstance(record, Reject):
                refuse(record)
            else:
                rows.append(row)
                records.append(record)
        if not records:
            return
        taken = pa.array(rows, pa.int32())
        own = plain.drop_columns([self._column] if self._column in plain.schema.names else []).take(taken)
        shas = pa.array([record["sha256"] for record in records], pa.string())
        etags = row_digests(own.append_column("the picture's sha256", shas))
        said = {"etag": pa.array(etags, pa.string()), "source": pa.repeat(item.where, len(rows)).cast(pa.string())}
        extras = {name: column.field(field).take(taken) for name, field in self._extras.items()}
        arrays = []
        for field in self.schema():
            if field.name in said or field.name in extras:
                arrays.append(said.get(field.name, extras.get(field.name)))
            elif field.name in _OWN:
                arrays.append(pa.array([record.get(field.name) for record in records], field.type))
            else:
                arrays.append(widened.column(field.name).take(taken))
        yield pa.record_batch(arrays, schema=self.schema())

    def _record(self, item: Item, first: int, picture: Picture) -> dict[str, Any] | Reject:
        """The row of one picture, without the file's other columns."""
        name = os.path.basename(picture.path.replace("\\", "/"))
        place = f"{first + picture.row:08d}" + ("" if picture.number is None else f".{picture.number}")
        key = f"{item.key}/{place}" + (f"-{name}" if name else "")
        try:
            data = picture.data or read_beside(item.where, picture.path, self.files.storage, self.limits.max_bytes)
            record = image_record(Item(key, item.etag, len(data), item.where), data, self.limits)
        except ImageRefused as error:
            is_elsewhere = picture.data is None and bool(picture.path)  # where it may appear without a change here
            return Reject(key, "" if is_elsewhere else item.etag, error.reason, error.detail)
        return {**record, "filename": name or f"{place}.{record['format']}"}

    @property
    def _column(self) -> str:
        """The column of the pictures by the name that it has among the plain ones."""
        renamed = {
            old: new for part in self.merged().parts if part for new, old in reversed(list(part.renamed.items()))
        }
        names = self.merged().schema.names
        return self._chosen.name if self._chosen.name in names else renamed[self._chosen.name]


def from_parquet(
    parquet: str | os.PathLike[str],
    *,
    into: str | os.PathLike[str],
    required: str | None = "filename",
    image: str | None = None,
    encoding: str = "utf-8",
    delimiter: str | None = None,
    columns: Sequence[str] = (),
    header: bool | None = None,
    lists: Sequence[str] = (),
    anonymous: bool = False,
    storage: Storage | None = None,
    **options: Any,
) -> Ingested:
    """Take in the rows of parquet, CSV, TSV or JSONL files.

    Files that hold the pictures themselves (a column `{bytes, path}`, as Hugging Face `datasets` writes it, or one of
    bytes that are pictures) become image rows with the other columns; all others metadata rows.

    Args:
        parquet: a file, a folder or a glob.
        into: location of the table.
        required: column without which a metadata row is refused.
        image: column of the pictures, where several hold any.
        encoding: of text files, such as "gb18030".
        delimiter: of CSV and TSV, one character or "tab"; found where None.
        columns: names for the columns of CSV and TSV without a header.
        header: whether the first line of CSV and TSV holds names; by default where `columns` does not.
        lists: columns of texts such as "['a', 'b']" that are to be read as lists of texts.
        anonymous: the source is public.
        storage: how to reach both.
        options: of `ingest.updating.job.ingest`.
    """
    reached = source_storage(storage, anonymous=anonymous)
    text = TextOptions(encoding, delimiter, tuple(columns), header)
    files = RowFiles(parquet, text=text, storage=reached)
    if image is not None or picture_columns(files):
        return ingest(EmbeddedImages(files, image=image), into, storage=storage, **options)
    source = MetadataFiles(files, required=required, lists=lists)
    return ingest(source, into, storage=storage, parameters=dict(source.options), **options)
