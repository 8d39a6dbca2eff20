"""DataChain chains as sources: their files become image rows, their other signals columns.

Whatever the chain does (filter, merge, shuffle, limit, map) has been done when it is read, once; its rows wait on disk,
sorted, so that their order is the same every time and memory does not grow with them. Files are read through the
chain's own credentials. Three shapes are told apart:

    a file signal                   image rows, the file's bytes and the other signals
    `path` and `image` signals      image rows as `clipdata.to_datachain` makes them
    neither                         metadata rows, keyed by a digest of what they say
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from functools import cached_property
from itertools import tee
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from clipdata import images, retries
from clipdata.errors import ImageRefused, SchemaError
from clipdata.incoming import plain_names
from clipdata.objects.faults import PATIENCE, as_clipdata_error, verdict_on, words_of
from clipdata.prefetch import map_ordered
from clipdata.printable import storable
from clipdata.schema import IMAGE_FIELDS, image_schema, key_field
from clipdata.storage import Storage
from ingest.chain_signals import arrow_type, bare, is_file, is_origin, plain_value
from ingest.pictures.image_rows import image_record
from ingest.sorted_rows import SortedRows
from ingest.updating.batches import BATCH_BYTES, batches_of
from ingest.updating.digests import canonical, digest
from ingest.updating.job import ingest
from ingest.updating.outcome import Ingested
from ingest.updating.source import Item, Refuse, Reject

if TYPE_CHECKING:
    from datachain import DataChain

ROW_KEY = "row_key"
THREADS = 16
_STATED = ("filename", "uri", "mtime", "etag")  # of image rows that bring their own
Record = dict[str, Any]


class ChainRows:
    """The rows of a chain.

    Args:
        chain: anything `datachain` makes; a saved dataset's name and version go into the log.
        file: signal of the images' files, where there are several and none is called "file".
        limits: of one image.

    Raises:
        SchemaError: two file signals and none called `file`, or a signal of a type that Arrow cannot hold.
    """

    kind = "chain"
    stays_here = "rows of a chain wait sorted in a temporary file of this machine"
    grain: Literal["row"] = "row"

    def __init__(self, chain: DataChain, *, file: str | None = None, limits: images.ImageLimits | None = None) -> None:
        self.chain = chain
        self.limits = limits or images.ImageLimits()
        self.origin = _origin(chain)
        self.signals = {name: kind for name, kind in chain.signals_schema.values.items() if name != "sys"}
        self.file = self._file_signal(file)
        kinds = {name: bare(kind) for name, kind in self.signals.items()}
        self.is_image_rows = self.file is None and kinds.get("path") is str and kinds.get("image") is bytes
        self.key = "path" if self.file or self.is_image_rows else ROW_KEY
        self.owner = self._owner()
        self.place: Literal["uri", "source"] = "source" if self.owner else "uri"
        self._columns = self._choose_columns()
        self._roots: set[str] = set()
        self._catalog: Any = None

    @property
    def options(self) -> Mapping[str, Any]:
        """What shapes or refuses rows beside the chain itself."""
        return {"file": self.file, "limits": asdict(self.limits)}

    def covers(self, where: str) -> bool:
        """Whether a row that came from there is the chain's: one of its dataset, or of the folders it has files in."""
        if self.owner is not None:
            return where == self.owner
        assert self._rows is not None, "the folders are known once the rows are"
        return any(where.startswith(root) for root in self._roots if root)

    def notes(self) -> dict[str, Any]:
        """Signals that bear another name here, or have no column."""
        renamed = [f"{name!r} is {column!r}" for name, column in self._columns.items() if name != column]
        origins = [name for name, kind in self.signals.items() if is_origin(kind)]
        notes = {"renamed": ", ".join(renamed), "left out, where DataChain read the rows": ", ".join(origins)}
        return {what: said for what, said in notes.items() if said}

    def schema(self) -> pa.Schema:
        """Image rows with the other signals, or metadata rows."""
        others = [pa.field(column, arrow_type(self.signals[name], name)) for name, column in self._columns.items()]
        if self.key == "path":
            return image_schema(others)
        return pa.schema([key_field(ROW_KEY), *others, pa.field("etag", pa.string())])

    def items(self) -> Iterator[Item]:
        """The rows, sorted by path and content; rows of one file are numbered `path#1`, `path#2` after the first."""
        last, number = None, 0
        for place, key, etag in self._rows.listed():
            number = number + 1 if key == last else 0
            last = key
            yield Item(key if number == 0 else f"{key}#{number}", etag, None, "", {"number": place})

    def read(self, items: Iterable[Item], refuse: Refuse) -> Iterator[pa.RecordBatch]:
        """Read the files of the rows, many at a time, in order."""
        first, second = tee(items)
        contents = self._rows.contents(item.extra["number"] for item in second)
        rows = ((item, pickle.loads(content)) for item, content in zip(first, contents, strict=True))  # noqa: S301 - ours
        outcomes = map_ordered(
            self._record, rows, num_threads=THREADS, cost=lambda row: row[1]["size"], max_cost=BATCH_BYTES
        )
        yield from batches_of(outcomes, self.schema(), refuse)

    def _file_signal(self, stated: str | None) -> str | None:
        files = [name for name, kind in self.signals.items() if is_file(kind)]
        if stated is not None and stated not in files:
            raise SchemaError(f"the chain has no file signal {stated!r}; it has {', '.join(files) or 'none'}")
        if stated is None and len(files) > 1 and "file" not in files:
            raise SchemaError(
                f"the chain has {len(files)} file signals ({', '.join(files)}) and none is called 'file'",
                hint=f'say which are the images: from_chain(chain, file="{files[0]}", …)',
            )
        return stated or ("file" if "file" in files else files[0] if files else None)

    def _owner(self) -> str | None:
        """What rows say of where they came from, whatever the dataset's version; None where each has a place.

        Rows that are known by what they say are the same whichever chain says it, so those need no name.
        """
        if self.chain.name and not self.is_image_rows:  # a table's own rows come back as they are
            return f"datachain dataset {self.chain.name}"
        return "datachain chain" if self.key == ROW_KEY else None

    def _choose_columns(self) -> dict[str, str]:
        """Signal → column, for the signals that become columns of their own."""
        own = {column.name for column in IMAGE_FIELDS}
        names = [
            name
            for name, kind in self.signals.items()
            if name != self.file and not is_origin(kind) and not (self.is_image_rows and name in own)
        ]
        taken = () if self.is_image_rows else (*own, "source") if self.file else (ROW_KEY, "etag", "source")
        columns = plain_names(((name, 0) for name in names), taken=taken)
        return {name: columns[name, 0] for name in names}

    @cached_property
    def _rows(self) -> SortedRows:
        """The rows of the chain, read once."""
        names = list(self.signals)
        rows = (dict(zip(names, row, strict=True)) for row in self.chain.to_iter(*names))
        return SortedRows(map(self._written, rows))

    def _written(self, row: Record) -> tuple[str, str, bytes]:
        """Key, etag and content of a row as it waits."""
        signals = {name: plain_value(row[name]) for name in self._columns}
        file = row[self.file] if self.file else None
        if self.is_image_rows:
            signals = {name: plain_value(value) for name, value in row.items()}
        said = digest(canonical({name: value for name, value in signals.items() if value is not None}))
        content = {"signals": signals, "file": file, "size": 0}
        if file is not None and file.path:
            self._catalog = self._catalog or file._catalog
            self._roots.add(file.get_fs_path().removesuffix(file.path))
            key, etag = file.path, f"{file.etag or file.version};{said}"
            content["size"] = file.size or 0
        elif self.is_image_rows:
            key, etag = str(signals["path"]), str(signals.get("etag") or said)
            uri = str(signals.get("uri") or "")
            self._roots.update([uri.removesuffix(key)] if uri.endswith(key) else [])
            content["size"] = len(signals["image"] or b"")
        else:
            key = etag = said
        return storable(key), etag, pickle.dumps(content)

    def _record(self, row: tuple[Item, Record]) -> Record | Reject:
        item, content = row
        signals = content["signals"]
        others = {column: signals[name] for name, column in self._columns.items()}
        if self.key == ROW_KEY:
            return {**others, ROW_KEY: item.key, "etag": item.etag}
        try:
            if self.is_image_rows:
                return {**others, **self._image_row(item, signals)}
            return {**others, **self._file_row(item, content["file"])}
        except ImageRefused as error:
            return Reject(item.key, "" if isinstance(error, _Unread) else item.etag, error.reason, error.detail)

    def _image_row(self, item: Item, signals: Record) -> Record:
        """The row of an image that the chain holds; one that is kept by reference stays so."""
        own = {column.name: signals[column.name] for column in IMAGE_FIELDS if column.name in signals}
        if own["image"] is None:
            if not own.get("uri"):
                raise ImageRefused("missing", "the row holds no image, and no uri says where it is")
            return {**own, "path": item.key, "etag": item.etag}
        stated = {name: own[name] for name in _STATED if own.get(name) is not None}
        return {**image_record(replace(item, extra={}), own["image"], self.limits), **stated}

    def _file_row(self, item: Item, file: Any) -> Record:
        if file is None or not file.path:
            raise ImageRefused("missing", "the row has no file: a merge found none for it")
        where = file.get_fs_path()
        file._set_stream(self._catalog, caching_enabled=file._caching_enabled)
        about = Item(item.key, item.etag, file.size, where, {"mtime": file.last_modified})
        record = image_record(about, self._bytes_of(file, where), self.limits)
        return {**record, "filename": file.path.rsplit("/", 1)[-1]}

    def _bytes_of(self, file: Any, where: str) -> bytes:
        """What is in a file.

        Raises:
            _Unread: it is gone, or cannot be read.
            TransientError: the store is down.
            CredentialsError: the store refuses access.
        """
        is_local = file.source.startswith("file:")
        try:
            return retries.call(replace(PATIENCE, attempts=1) if is_local else PATIENCE, file.read_bytes)
        except OSError as error:
            verdict = verdict_on(error)
            if not is_local and verdict in ("again", "denied"):
                raise as_clipdata_error(error, f"reading {where}", Storage()) from error
            reason = "missing" if verdict == "missing" else "unreadable"
            raise _Unread(reason, words_of(error, Storage())) from error


class _Unread(ImageRefused):
    """The cause is not in the file: another run may have more luck."""


def _origin(chain: DataChain) -> str:
    dataset = chain.name
    return f"datachain dataset {dataset}@{chain.version}" if dataset else "datachain chain"


def from_chain(
    chain: DataChain,
    *,
    into: str | os.PathLike[str],
    file: str | None = None,
    storage: Storage | None = None,
    **options: Any,
) -> Ingested:
    """Take in the rows of a DataChain chain: its files as image rows, its other signals as columns.

    Args:
        chain: any chain, after its own filters, merges and maps; its files are read with its own credentials.
        into: location of the table.
        file: signal of the images' files, where there are several and none is called "file".
        storage: how to reach the table.
        options: of `ingest.updating.job.ingest`.
    """
    return ingest(ChainRows(chain, file=file), into, storage=storage, **options)
