"""State: small records kept beside a table on the same storage, such as those of unfinished work.

Several processes may write, read and remove records of one folder at once: a record appears whole, and one that another
process removed is simply not there any more.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from clipdata.disk import sync, sync_above
from clipdata.errors import ClipdataError, StorageError
from clipdata.json_parsing import parse_json
from clipdata.objects.faults import as_clipdata_error
from clipdata.objects.removing import remove
from clipdata.storage import is_remote, join, redact

if TYPE_CHECKING:
    from clipdata.lance_io.table import Table

MAP_FOLDER = "map"
_MARK_LETTERS = 16
_PARTS = re.compile(r"/parts/\d+$")


def state_uri(table: Table) -> str:
    """Where the records of a table lie."""
    return f"{table.uri.rstrip('/')}.state"


def map_folder(column: str, mark: str) -> str:
    """Name of the records of a map.

    Args:
        column: that is filled.
        mark: of it, so that a column of the same name that is made later has records of its own.
    """
    return f"{MAP_FOLDER}/{column}-{mark[:_MARK_LETTERS]}"


def is_map_of(name: str, marks: Iterable[str]) -> bool:
    """Whether records are those of a map of a column that has one of some marks."""
    return name.startswith(f"{MAP_FOLDER}/") and name.rpartition("-")[2] in {mark[:_MARK_LETTERS] for mark in marks}


def parts_folder(fragment_id: int) -> str:
    """What names of the records of one unfinished fragment begin with: a folder, so that its listing is short."""
    return f"parts/{fragment_id}/"


def work_of(name: str) -> str:
    """Name of the records that a folder belongs to: its own, or that of the map whose unfinished fragment it is of."""
    return _PARTS.sub("", name)


class StateFolder:
    """A folder of records `<table>.state/<name>/`. A record's name may have folders of its own before it.

    Args:
        table: the table the work belongs to.
        name: of the work, unique to what it computes.
    """

    def __init__(self, table: Table, name: str) -> None:
        self.uri = join(state_uri(table), name)
        self._storage = table.storage
        self._fs, self._root = table.storage.filesystem(self.uri)

    def write_json(self, name: str, record: dict[str, Any]) -> None:
        """Store a record under a name, whole or not at all."""
        self._write(f"{name}.json", json.dumps(record).encode())

    def read_json(self, name: str) -> dict[str, Any] | None:
        """Read a record; None when there is none, or when it is not whole."""
        data = self._read(f"{name}.json")
        try:
            return parse_json(data) if data is not None else None
        except ValueError:
            return None

    def write_bytes(self, filename: str, data: bytes) -> None:
        """Store bytes under a file name, whole or not at all."""
        self._write(filename, data)

    def read_bytes(self, filename: str) -> bytes | None:
        """Read bytes; None when there are none."""
        return self._read(filename)

    def write_arrow(self, name: str, rows: pa.Table) -> None:
        """Store rows under a name, whole or not at all; their cut into batches is kept."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, rows.schema) as writer:
            writer.write_table(rows)
        self._write(f"{name}.arrow", sink.getvalue())

    def read_arrow(self, name: str) -> pa.Table | None:
        """Read rows; None when there are none, or when they are not whole."""
        data = self._read(f"{name}.arrow")
        try:
            return pa.ipc.open_file(pa.py_buffer(data)).read_all() if data is not None else None
        except pa.ArrowInvalid:
            return None

    def names(self, prefix: str = "") -> list[str]:
        """Names of the records that begin with a prefix, sorted."""
        return sorted(name.rsplit(".", 1)[0] for name in self._filenames(prefix))

    def remove(self, prefix: str = "") -> None:
        """Remove the records that begin with a prefix; a folder, with "" all of them, when it ends there."""
        if not prefix or prefix.endswith("/"):
            remove(self._storage, join(self.uri, prefix.rstrip("/")) if prefix else self.uri, recursive=True)
            return
        for name in self._filenames(prefix):
            remove(self._storage, join(self.uri, name))

    def _filenames(self, prefix: str) -> list[str]:
        folder, slash, start = prefix.rpartition("/")
        found: list[str] = []
        with self._told("listing", folder), suppress(FileNotFoundError):
            found = self._listed(f"{self._root}{slash}{folder}", start)
        names = (path.rsplit("/", 1)[-1] for path in found)
        return [f"{folder}{slash}{name}" for name in names if name.startswith(start) and not name.endswith(".tmp")]

    def _listed(self, folder: str, start: str) -> list[str]:
        """What a listing of a folder gives, at least what begins with a text; the folder may hold much else."""
        if "file" in _protocols(self._fs):
            return [name for name in os.listdir(folder) if name.startswith(start)]
        self._fs.invalidate_cache(folder)
        if start and {"gs", "s3"} & set(_protocols(self._fs)):
            found: list[str] = self._fs.find(folder, prefix=start)
        else:
            found = self._fs.ls(folder, detail=False)
        return found

    def _write(self, filename: str, data: bytes | pa.Buffer) -> None:
        target = f"{self._root}/{filename}"
        with self._told("writing", filename):
            if "file" not in _protocols(self._fs):  # a bucket's objects appear whole
                self._fs.pipe_file(target, data if isinstance(data, bytes) else data.to_pybytes())
                return
            half = f"{target}.{uuid.uuid4().hex[:8]}.tmp"  # a file may be half written when killed
            for _ in range(2):
                folder = target.rpartition("/")[0]
                is_new = not os.path.isdir(folder)
                self._fs.makedirs(folder, exist_ok=True)
                with suppress(FileNotFoundError):  # another process removed the folder meanwhile
                    with open(half, "wb") as stream:
                        stream.write(data)
                    sync(half)
                    os.replace(half, target)
                    if is_new:
                        sync_above(Path(target))
                    else:
                        sync(folder)
                    return
            raise FileNotFoundError(target)

    def _read(self, filename: str) -> bytes | None:
        with self._told("reading", filename), suppress(FileNotFoundError):
            data: bytes = self._fs.cat_file(f"{self._root}/{filename}")
            return data
        return None

    @contextmanager
    def _told(self, doing: str, filename: str) -> Iterator[None]:
        """Turn an error of the storage into one that names the file."""
        try:
            yield
        except (NotADirectoryError, FileExistsError) as error:
            raise StorageError(
                f"{doing} {redact(join(self.uri, filename))}: a file stands where the folder should be",
                hint="move that file away; records of a table lie in a folder beside it",
            ) from error
        except ClipdataError:
            raise
        except Exception as error:
            where = redact(join(self.uri, filename))
            if is_remote(self.uri):
                raise as_clipdata_error(error, f"{doing} {where}", self._storage) from error
            if not isinstance(error, OSError):
                raise
            hint = "free some space, or run the command where the table's folder can be written"
            raise StorageError(f"{doing} {where}: {redact(str(error))}", hint=hint) from error


def _protocols(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)
