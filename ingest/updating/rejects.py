"""Rejects: the table beside a table that says what was refused, and why."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime

import pyarrow as pa

from clipdata.lance_io import rows
from clipdata.lance_io.table import Table, exists, open_table
from clipdata.schema import key_field
from clipdata.storage import redact
from ingest.updating.source import Reject

FLUSH_ROWS = 4096
FLUSH_S = 20.0
SCHEMA = pa.schema(
    [
        key_field("path"),
        pa.field("reason", pa.string()),
        pa.field("detail", pa.string()),
        pa.field("etag", pa.string()),
        pa.field("refused_at", pa.timestamp("us", tz="UTC")),
    ]
)


def rejects_uri(table_uri: str) -> str:
    """Where the rejects of a table are."""
    return f"{table_uri.removesuffix('.lance')}.rejects.lance"


class Rejects:
    """The rejects of one table. The table of rejects is made when the first row is refused."""

    def __init__(self, table: Table) -> None:
        self.uri = rejects_uri(table.uri)
        self.storage = table.storage
        self.refused_now: set[str] = set()
        self.num_written = 0
        self._known: dict[str, str] | None = None
        self._waiting: dict[str, Reject] = {}
        self._flushed_s = time.monotonic()

    def known(self) -> dict[str, str]:
        """Key → etag of what was refused before this run; read once."""
        if self._known is None:
            self._known = {}
            if exists(self.uri, storage=self.storage):
                read = open_table(self.uri, storage=self.storage).to_table(["path", "etag"])
                self._known = dict(zip(read.column("path").to_pylist(), read.column("etag").to_pylist(), strict=True))
        return self._known

    def add(self, reject: Reject) -> None:
        """Remember a refusal; those remembered are written once they are many or old, for there may be nothing else."""
        self._waiting[reject.key] = reject
        self.refused_now.add(reject.key)
        if len(self._waiting) >= FLUSH_ROWS or time.monotonic() - self._flushed_s > FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Write what was refused since the last time."""
        self._flushed_s = time.monotonic()
        if not self._waiting:
            return
        table = rows.create_table(self.uri, SCHEMA, storage=self.storage)
        waiting, now = list(self._waiting.values()), datetime.now(UTC)
        columns = {
            "path": [reject.key for reject in waiting],
            "reason": [reject.reason for reject in waiting],
            "detail": [redact(reject.detail) for reject in waiting],
            "etag": [reject.etag for reject in waiting],
            "refused_at": [now] * len(waiting),
        }
        rows.upsert(table, pa.table(columns, schema=SCHEMA), changed="refused_at")
        self.num_written += len(waiting)
        self._waiting.clear()

    def forgive(self, keys: Iterable[str], *, except_for: set[str]) -> None:
        """Remove the entries of keys that were read well this time."""
        before = self.known()
        mended = [key for key in keys if key in before and key not in except_for] if before else []
        if mended:
            rows.delete_keys(open_table(self.uri, storage=self.storage), mended)
