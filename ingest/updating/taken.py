"""What was taken in: the table beside a table that remembers its files, and contents that were seen at another time.

Two kinds of entry. A file that was read to its end: its key, place, etag, size, a digest of its ends, and the options
that it was read with, and what it gave. And a row whose etag changed although its content did not (a copied folder):
the etag that need not be read again. Nothing is lost with this table but the reading that it saves.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

import pyarrow as pa

from clipdata.errors import NotFoundError
from clipdata.lance_io import rows
from clipdata.lance_io.refused import taken_uri
from clipdata.lance_io.settling import settle
from clipdata.lance_io.table import open_table
from clipdata.schema import key_field
from clipdata.storage import Storage
from ingest.updating.digests import digest

_FILE, _ROW = "file", "row"
SCHEMA = pa.schema(
    [
        key_field("name"),
        pa.field("kind", pa.string()),
        pa.field("key", pa.string()),
        pa.field("where", pa.string()),
        pa.field("etag", pa.string()),
        pa.field("size", pa.int64()),
        pa.field("ends", pa.string()),
        pa.field("options", pa.string()),
        pa.field("content", pa.string()),
        pa.field("at", pa.int64()),
        pa.field("left_out", pa.string()),
        pa.field("of", pa.string()),
        pa.field("entry", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class TakenFile:
    """A file that was read to its end.

    Args:
        key: name of the file in the table, which its rows carry in `source`; it stays when the file is renamed.
        where: location.
        etag: of the content that was read.
        size: bytes, or None.
        ends: digest of its first and last bytes.
        options: digest of the options it was read with.
        content: number and hashes of the rows that it gave to the table; see `evidence`.
        at: version of the table by which it held them.
        left_out: where rows of it were left out because they were deleted by hand, what stands for those deletes.
    """

    key: str
    where: str
    etag: str
    size: int | None
    ends: str
    options: str
    content: str = ""
    at: int = 0
    left_out: str = ""


@dataclass(frozen=True, slots=True)
class SeenRow:
    """A row whose file has another etag than the row, and the same content.

    Args:
        key: of the row.
        etag: of the file.
        of: etag of the row, whose content it was compared with.
    """

    key: str
    etag: str
    of: str


class Taken:
    """The entries beside one table. The table of entries is made with the first one.

    Args:
        table_uri: the table they are beside.
        storage: how to reach it.
        scope: of the source; entries of rows are told apart by it.
    """

    def __init__(self, table_uri: str, storage: Storage, *, scope: str) -> None:
        self.uri = taken_uri(table_uri)
        self.storage = storage
        self._scope = digest(scope)[:16]

    def files(self) -> list[TakenFile]:
        """Every file that the table has taken in."""
        names = ["key", "where", "etag", "size", "ends", "options", "content", "at", "left_out"]
        return [TakenFile(**row) for batch in self._scan(names, _FILE) for row in batch.to_pylist()]

    def seen(self) -> dict[tuple[str, str], str]:
        """Key and etag of a file of this source → etag of the row that has its content."""
        found = {}
        for batch in self._scan(["name", "key", "etag", "of"], _ROW):
            for row in batch.to_pylist():
                if row["name"].startswith(f"{_ROW}:{self._scope}:"):
                    found[row["key"], row["etag"]] = row["of"]
        return found

    def add_files(self, files: Iterable[TakenFile]) -> None:
        """Remember files, in one commit."""
        self._add({"name": f"{_FILE}:{file.key}", "kind": _FILE, **asdict(file)} for file in files)

    def add_seen(self, seen: Iterable[SeenRow]) -> None:
        """Remember that contents were compared, in one commit."""
        self._add(
            {"name": f"{_ROW}:{self._scope}:{row.key}", "kind": _ROW, "key": row.key, "etag": row.etag, "of": row.of}
            for row in seen
        )

    def _scan(self, columns: list[str], kind: str) -> Iterator[pa.RecordBatch]:
        try:
            table = open_table(self.uri, storage=self.storage)
        except NotFoundError:
            return
        yield from table.scan(columns, where=f"kind = '{kind}'", batch_rows=65_536)

    def _add(self, entries: Iterable[dict[str, object]]) -> None:
        whole = [{**entry, "entry": digest(json.dumps(entry, default=str))} for entry in entries]
        if whole:
            table = rows.create_table(self.uri, SCHEMA, storage=self.storage)
            rows.upsert(table, pa.Table.from_pylist(whole, SCHEMA), changed="entry")
            settle(table.latest())
