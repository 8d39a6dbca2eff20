"""Refused: the table of rejects that stands beside a table, as whoever reads it sees it.

Ingest and merge write it. It knows where it is and which columns it has, and nothing of why rows are refused.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from clipdata.errors import NotFoundError, SchemaError
from clipdata.lance_io.table import Table, open_table

_TOLD = ("path", "reason", "detail", "etag", "refused_at")
_SCAN_ROWS = 65_536


@dataclass(frozen=True)
class Refused:
    """What is refused of a table's rows.

    Args:
        reasons: how many by reason, the most first.
        rejects: the first of them by reason and path, each a dict of `path`, `reason`, `detail`, `etag`, `refused_at`.
    """

    reasons: Mapping[str, int]
    rejects: tuple[Mapping[str, Any], ...]

    @property
    def num_rejects(self) -> int:
        """All that are refused."""
        return sum(self.reasons.values())


def beside(table_uri: str, what: str) -> str:
    """Where a table that belongs to another one is: `x.lance` has `x.rejects.lance`, and `x` has `x.rejects`."""
    name = table_uri.removesuffix(".lance")
    return f"{name}.{what}" + (".lance" if name != table_uri else "")


def rejects_uri(table_uri: str) -> str:
    """Where the rejects of a table are."""
    return beside(table_uri, "rejects")


def taken_uri(table_uri: str) -> str:
    """Where what a table remembers of the files that were taken in is."""
    return beside(table_uri, "taken")


def tables_beside(table_uri: str) -> list[str]:
    """Where the tables are that may lie beside one."""
    return [rejects_uri(table_uri), taken_uri(table_uri)]


def read_refused(table: Table, *, where: str | None = None, limit: int | None = None) -> Refused:
    """Read what ingest and merge refused; in memory there are only those that are listed.

    Args:
        table: the rejects are beside it; there need be none.
        where: SQL condition on the rejects.
        limit: most to list; all by default.

    Raises:
        SchemaError: the condition is not valid for rejects.
    """
    try:
        rejects = open_table(rejects_uri(table.uri), storage=table.storage)
    except NotFoundError:
        return Refused({}, ())
    reasons: Counter[str] = Counter()
    listed: list[tuple[str, str, int, dict[str, Any]]] = []
    number = 0
    try:
        for batch in rejects.scan(_TOLD, where=where, batch_rows=_SCAN_ROWS):
            found = batch.to_pylist()
            reasons.update(one["reason"] or "" for one in found)
            listed += [(one["reason"] or "", one["path"], number + place, one) for place, one in enumerate(found)]
            number += len(found)
            if limit is not None and len(listed) > limit:
                listed = heapq.nsmallest(limit, listed)
    except SchemaError as error:
        hint = f"a condition on rejects may name {', '.join(_TOLD)}: --where \"reason = 'truncated'\""
        raise SchemaError(error.message, hint=hint) from error
    return Refused(dict(reasons.most_common()), tuple(one for *_, one in sorted(listed)))


def refusals(table: Table) -> Iterator[tuple[str, str, str | None]]:
    """Path, reason and detail of everything that is refused of a table's rows, batch after batch."""
    with suppress(NotFoundError):
        rejects = open_table(rejects_uri(table.uri), storage=table.storage)
        for batch in rejects.scan(["path", "reason", "detail"], batch_rows=_SCAN_ROWS):
            paths, reasons, details = (column.to_pylist() for column in batch.columns)
            yield from zip(paths, (reason or "" for reason in reasons), details, strict=True)
