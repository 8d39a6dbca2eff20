"""DataChain chains as sources: their files become image rows, their other signals columns.

Whatever the chain does (filter, merge, shuffle, limit, map) has been done when it is read; its files are read through
the chain's own credentials. Three shapes are told apart:

    a file signal                   image rows, the file's bytes and the other signals
    `path` and `image` signals      image rows as `clipdata.to_datachain` makes them, taken as they are
    neither                         metadata rows, keyed by a digest of what they say
"""

from __future__ import annotations

import os
import types
import typing
from collections import Counter as Tally
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, cast

import pyarrow as pa

from clipdata import images
from clipdata.errors import ImageRefused, SchemaError
from clipdata.prefetch import map_ordered
from clipdata.schema import IMAGE_FIELDS, image_schema, key_field
from clipdata.storage import Storage, redact
from ingest.pictures.image_rows import image_record
from ingest.updating.batches import batch_of
from ingest.updating.digests import canonical, digest
from ingest.updating.job import ingest
from ingest.updating.outcome import Ingested
from ingest.updating.source import Item, Refuse, Reject

if TYPE_CHECKING:
    from datachain import DataChain

ROW_KEY = "row_key"
BATCH_ROWS = 256
BATCH_BYTES = 32 << 20
THREADS = 16
_PLAIN = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string(), bytes: pa.large_binary()}


@dataclass(frozen=True)
class ChainItem(Item):
    """One row of a chain, with DataChain's own file object where it has one."""

    file: Any = None

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError("a chain's file is read through its session, which is not pickled with it")


class ChainRows:
    """The rows of a chain.

    Args:
        chain: anything `datachain` makes; a saved dataset's name and version go into the log.
        limits: of one image.

    Raises:
        SchemaError: two file signals and none called `file`, or a signal of a type that Arrow cannot hold.
    """

    kind = "chain"
    grain: Literal["row"] = "row"

    def __init__(self, chain: DataChain, *, limits: images.ImageLimits | None = None) -> None:
        self.chain = chain
        self.limits = limits or images.ImageLimits()
        self.origin = _origin(chain)
        self.signals = {name: kind for name, kind in chain.signals_schema.values.items() if name != "sys"}
        self.file = self._file_signal()
        self.is_image_rows = self.file is None and {"path", "image"} <= set(self.signals)
        self.key = "path" if self.file or self.is_image_rows else ROW_KEY
        is_named = chain.name and not self.is_image_rows  # a table's own rows come back as they are
        self.owner = f"datachain dataset {chain.name}" if is_named else None  # of any version
        self.place: Literal["uri", "source"] = "source" if is_named else "uri"
        self.options: dict[str, Any] = {}

    def covers(self, where: str) -> bool:
        """Whether a row that came from there is the chain's."""
        return self.owner is None or where == self.owner

    def notes(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def schema(self) -> pa.Schema:
        """Image rows with the other signals, or metadata rows."""
        known = {column.name for column in IMAGE_FIELDS}
        others = [
            pa.field(name, _arrow_type(kind, name))
            for name, kind in self.signals.items()
            if name != self.file and not (self.is_image_rows and name in known)
        ]
        clash = [column.name for column in others if column.name in known] if self.key == "path" else []
        if clash:
            raise SchemaError(
                f"the chain's signals {clash} bear names of an image row's own columns",
                hint="rename them in the chain: .mutate(other_name=C('name')).select_except('name')",
            )
        if self.key == "path":
            return image_schema(others)
        return pa.schema([key_field(ROW_KEY), *others, pa.field("etag", pa.string())])

    def items(self) -> Iterator[Item]:
        """The rows, sorted by path and content; rows of one file are numbered `path#1`, `path#2` after the first."""
        names = list(self.signals)
        rows = [dict(zip(names, row, strict=True)) for row in self.chain.to_iter(*names)]
        listed = sorted((self._item(row) for row in rows), key=lambda item: (item.key, item.etag))
        seen: Tally[str] = Tally()
        for item in listed:
            number = seen[item.key]
            seen[item.key] += 1
            key = item.key if number == 0 else f"{item.key}#{number}"
            yield ChainItem(key, item.etag, item.size, item.where, item.extra, item.file)

    def read(self, items: Iterable[Item], refuse: Refuse) -> Iterator[pa.RecordBatch]:
        """Read the files of the rows, many at a time, in order."""
        schema = self.schema()
        records: list[dict[str, Any]] = []
        size = 0
        listed = cast("Iterable[ChainItem]", items)  # the job reads what this source listed
        for outcome in map_ordered(self._record, listed, num_threads=THREADS):
            if isinstance(outcome, Reject):
                refuse(outcome)
                continue
            records.append(outcome)
            size += len(outcome.get("image") or b"")
            if len(records) >= BATCH_ROWS or size >= BATCH_BYTES:
                yield batch_of(records, schema)
                records, size = [], 0
        if records:
            yield batch_of(records, schema)

    def _file_signal(self) -> str | None:
        from datachain import File

        files = [n for n, kind in self.signals.items() if isinstance(kind, type) and issubclass(kind, File)]
        if len(files) > 1 and "file" not in files:
            raise SchemaError(f"the chain has {len(files)} file signals ({', '.join(files)}) and none is called 'file'")
        return ("file" if "file" in files else files[0]) if files else None

    def _item(self, row: dict[str, Any]) -> ChainItem:
        signals = {name: _plain(value) for name, value in row.items() if name != self.file}
        decisive = {name: value for name, value in signals.items() if name != "etag" or not self.is_image_rows}
        said = digest(canonical(decisive))
        if self.file is not None:
            file = row[self.file]
            extra = {**signals, "mtime": file.last_modified}
            return ChainItem(
                file.path, f"{file.etag or file.version};{said}", file.size, file.get_fs_path(), extra, file
            )
        if self.is_image_rows:
            return ChainItem(str(signals["path"]), str(signals.get("etag") or said), None, "", signals)
        return ChainItem(said, said, None, "", signals)

    def _record(self, item: ChainItem) -> dict[str, Any] | Reject:
        if item.file is None:
            return {**item.extra, self.key: item.key, "etag": item.etag}
        try:
            record = image_record(item, item.file.read_bytes(), self.limits)
        except ImageRefused as error:
            return Reject(item.key, item.etag, error.reason, error.detail)
        except OSError as error:
            return Reject(item.key, item.etag, "unreadable", redact(str(error)))
        return {**record, "filename": item.file.path.rsplit("/", 1)[-1]}


def _origin(chain: DataChain) -> str:
    dataset = chain.name
    return f"datachain dataset {dataset}@{chain.version}" if dataset else "datachain chain"


def _plain(value: Any) -> Any:
    """A signal's value as plain Python: models as mappings, mappings inside a `dict` signal as they are."""
    if hasattr(value, "model_dump"):
        return value.model_dump()
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value


def _arrow_type(kind: Any, name: str) -> pa.DataType:
    """The Arrow type of a signal.

    Raises:
        SchemaError: there is none.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        present = [argument for argument in arguments if argument is not type(None)]
        if len(present) == 1:
            return _arrow_type(present[0], name)
    if origin is list:
        return pa.list_(_arrow_type(arguments[0] if arguments else str, name))
    if kind in _PLAIN:
        return _PLAIN[kind]
    if isinstance(kind, type) and issubclass(kind, datetime):
        return pa.timestamp("us", tz="UTC")
    fields = getattr(kind, "model_fields", None)
    if fields:
        return pa.struct([(inner, _arrow_type(about.annotation, f"{name}.{inner}")) for inner, about in fields.items()])
    raise SchemaError(
        f"signal {name!r} is {kind}, which has no column type; expected numbers, text, bytes, times, lists or models",
        hint="leave it out: chain.select_except(...)",
    )


def from_chain(
    chain: DataChain, *, into: str | os.PathLike[str], storage: Storage | None = None, **options: Any
) -> Ingested:
    """Take in the rows of a DataChain chain: its files as image rows, its other signals as columns.

    Args:
        chain: any chain, after its own filters, merges and maps; its files are read with its own credentials.
        into: location of the table.
        storage: how to reach the table.
        options: of `ingest.updating.job.ingest`.
    """
    return ingest(ChainRows(chain), into, storage=storage, **options)
