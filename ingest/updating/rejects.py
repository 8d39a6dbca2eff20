"""Rejects: the table beside a table that says what is refused now, and why.

It is state, not a log: after a run it lists exactly what its source's rows and files are refused for, and a run that
finds nothing else writes nothing. In memory there are a few bytes for each entry.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from clipdata.errors import NotFoundError
from clipdata.lance_io import rows
from clipdata.lance_io.refused import rejects_uri
from clipdata.lance_io.settling import settle
from clipdata.lance_io.table import Table, open_table
from clipdata.schema import key_field
from clipdata.storage import Storage, redact
from ingest.updating.digest_set import DigestSet
from ingest.updating.digests import digest
from ingest.updating.source import Reject

FLUSH_ROWS = 65_536
FLUSH_S = 20.0
_HEARD = 4096
SCHEMA = pa.schema(
    [
        key_field("path"),
        pa.field("reason", pa.string()),
        pa.field("detail", pa.string()),
        pa.field("etag", pa.string()),
        pa.field("scope", pa.string()),  # where it is refused: the source of rows, or the file that holds them
        pa.field("options", pa.string()),  # digest of those it was refused with
        pa.field("refused_at", pa.timestamp("us", tz="UTC")),
    ]
)


class Rejects:
    """The rejects of one table. The table of rejects is made when the first row is refused.

    Args:
        table_uri: the table they are beside.
        storage: how to reach it.
        options: digest of the options of this run.
    """

    def __init__(self, table_uri: str, storage: Storage, *, options: str = "") -> None:
        self.uri = rejects_uri(table_uri)
        self.storage = storage
        self.num_written = 0
        self._options = options
        self._heard: dict[str, tuple[Reject, str]] = {}
        self._waiting: list[tuple[Reject, str]] = []
        self._now = DigestSet()  # keys refused in this run
        self._flushed_s = time.monotonic()
        self._table: Table | None = None  # one of rejects, as far as this run knows
        self._contents, self._unchanged = DigestSet(), DigestSet()
        self.scopes: set[str] = set()
        for batch in self._scan(["path", "reason", "detail", "etag", "scope", "options"]):
            columns = [column.to_pylist() for column in batch.columns]
            paths, _, _, etags, scopes, options_then = columns
            self._contents.add(list(map(_content, *columns)))
            self._unchanged.add(list(map(_unchanged, paths, etags, options_then)))
            self.scopes.update(scopes)

    def is_refused(self, keys: Sequence[str], etags: Sequence[str]) -> np.ndarray:
        """Tell of items whether they were refused with this content and these options before this run; bool [n]."""
        found = self._unchanged.contains([_unchanged(*one, self._options) for one in zip(keys, etags, strict=True)])
        return found & np.fromiter(map(bool, etags), np.bool_, len(etags))

    def add(self, reject: Reject, scope: str) -> None:
        """Remember a refusal; the first one of a key counts.

        Args:
            scope: the source of rows, or the location of the file.
        """
        self._heard.setdefault(reject.key, (reject, scope))
        if len(self._heard) >= _HEARD:
            self._take_up()
        if len(self._waiting) >= FLUSH_ROWS or time.monotonic() - self._flushed_s > FLUSH_S:
            self.flush()

    def _take_up(self) -> None:
        """Of the refusals heard, let those wait for the next commit that no entry says already."""
        is_first = self._now.add_new(list(self._heard))
        heard = [one for one, first in zip(self._heard.values(), is_first, strict=True) if first]
        heard = [(replace(reject, detail=redact(reject.detail)), scope) for reject, scope in heard]
        said = self._contents.contains(
            [_content(r.key, r.reason, r.detail, r.etag, scope, self._options) for r, scope in heard]
        )
        self._waiting += [one for one, known in zip(heard, said, strict=True) if not known]
        self._heard.clear()

    def flush(self) -> None:
        """Write what was refused since the last time."""
        self._take_up()
        self._flushed_s = time.monotonic()
        if not self._waiting:
            return
        if self._table is None:
            self._table = rows.create_table(self.uri, SCHEMA, storage=self.storage)
        waiting, now = self._waiting, datetime.now(UTC)
        columns = {
            "path": [reject.key for reject, _ in waiting],
            "reason": [reject.reason for reject, _ in waiting],
            "detail": [reject.detail for reject, _ in waiting],
            "etag": [reject.etag for reject, _ in waiting],
            "scope": [scope for _, scope in waiting],
            "options": [self._options] * len(waiting),
            "refused_at": [now] * len(waiting),
        }
        rows.upsert(self._table, pa.table(columns, schema=SCHEMA), changed="refused_at", onto=self._table)
        self.num_written += len(waiting)
        self._waiting = []
        settle(self._table)

    def settle(self, stays: Callable[[str, str], bool], *, is_own: Callable[[str], bool] = lambda _: False) -> int:
        """Remove the entries that no longer hold, once a run has seen all that there is.

        Args:
            stays: told the key and the scope of an entry that this run did not refuse; whether it holds all the same.
            is_own: whether a scope is one of this run's source.

        Returns:
            entries of this source that hold although this run did not refuse them: it did not look again.
        """
        self.flush()
        mended: list[str] = []
        num_standing = 0
        if self._table is None:  # whatever another run refuses meanwhile is not this one's to settle
            return 0
        for batch in self._scan(["path", "scope"]):
            keys, scopes = batch.column(0).to_pylist(), batch.column(1).to_pylist()
            is_now = self._now.contains(keys)
            for key, scope, now in zip(keys, scopes, is_now, strict=True):
                if now:
                    continue
                if stays(key, scope or ""):
                    num_standing += is_own(scope or "")
                else:
                    mended.append(key)
        if mended:
            assert self._table is not None, "entries were read of it"
            rows.delete_keys(self._table, mended, onto=self._table)
            self.num_written += len(mended)
            settle(self._table)
        return num_standing

    def _scan(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        try:
            self._table = open_table(self.uri, storage=self.storage)
        except NotFoundError:
            self._table = None
            return
        yield from self._table.pinned().scan(columns, batch_rows=65_536)


def _content(path: str, reason: str, detail: str, etag: str, scope: str, options: str) -> str:
    return digest(path, reason or "", detail or "", etag or "", scope or "", options or "")


def _unchanged(path: str, etag: str, options: str) -> str:
    return f"{path}\x00{etag}\x00{options}"
