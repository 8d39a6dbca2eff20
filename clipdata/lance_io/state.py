"""State: small records of unfinished work, kept beside a table on the same storage, removed when the work is done."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from clipdata.lance_io.table import Table
from clipdata.storage import join


class StateFolder:
    """A folder of records `<table without .lance>.state/<name>/`.

    Args:
        table: the table the work belongs to.
        name: of the work, unique to what it computes.
    """

    def __init__(self, table: Table, name: str) -> None:
        self.uri = join(f"{table.uri.removesuffix('.lance')}.state", name)
        self._fs, self._root = table.storage.filesystem(self.uri)

    def write_json(self, name: str, record: dict[str, Any]) -> None:
        """Store a record under a name, whole or not at all."""
        self._write(f"{name}.json", json.dumps(record).encode())

    def read_json(self, name: str) -> dict[str, Any] | None:
        """Read a record; None when there is none, or when it is not whole."""
        data = self._read(f"{name}.json")
        try:
            return json.loads(data) if data is not None else None
        except ValueError:
            return None

    def write_arrow(self, name: str, rows: pa.Table) -> None:
        """Store rows under a name, whole or not at all."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, rows.schema) as writer:
            writer.write_table(rows)
        self._write(f"{name}.arrow", sink.getvalue().to_pybytes())

    def read_arrow(self, name: str) -> pa.Table | None:
        """Read rows; None when there are none, or when they are not whole."""
        data = self._read(f"{name}.arrow")
        try:
            return pa.ipc.open_file(pa.py_buffer(data)).read_all() if data is not None else None
        except pa.ArrowInvalid:
            return None

    def names(self, prefix: str = "") -> list[str]:
        """Names of the records that begin with a prefix, sorted."""
        self._fs.invalidate_cache(self._root)
        if not self._fs.exists(self._root):
            return []
        found = (path.rsplit("/", 1)[-1] for path in self._fs.ls(self._root, detail=False))
        return sorted(n.rsplit(".", 1)[0] for n in found if n.startswith(prefix) and not n.endswith(".tmp"))

    def remove(self, prefix: str = "") -> None:
        """Remove the records that begin with a prefix; all of them and the folder when it is empty."""
        if not prefix:
            if self._fs.exists(self._root):
                self._fs.rm(self._root, recursive=True)
            return
        for path in [f"{self._root}/{name}" for name in self._filenames(prefix)]:
            self._fs.rm(path)

    def _filenames(self, prefix: str) -> list[str]:
        self._fs.invalidate_cache(self._root)
        if not self._fs.exists(self._root):
            return []
        found = (path.rsplit("/", 1)[-1] for path in self._fs.ls(self._root, detail=False))
        return [name for name in found if name.startswith(prefix)]

    def _write(self, filename: str, data: bytes) -> None:
        target = f"{self._root}/{filename}"
        if "file" in _protocols(self._fs):  # a bucket's objects appear whole; a file may be half written when killed
            self._fs.makedirs(self._root, exist_ok=True)
            self._fs.pipe_file(f"{target}.tmp", data)
            self._fs.mv(f"{target}.tmp", target)
        else:
            self._fs.pipe_file(target, data)

    def _read(self, filename: str) -> bytes | None:
        try:
            return self._fs.cat_file(f"{self._root}/{filename}")
        except FileNotFoundError:
            return None


def _protocols(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)
