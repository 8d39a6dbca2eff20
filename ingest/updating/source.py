"""What a source of rows is: the contract between the ways in and the job that runs them.

A source lists items cheaply, then reads the ones the job asks for. It knows nothing of tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import pyarrow as pa

from clipdata.storage import Storage


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that a source listed before reading it.

    Args:
        key: the row's key (row sources), or the name of the file or shard (file sources).
        etag: changes when the content changes.
        size: bytes, when the listing says so.
        where: location to read.
        extra: columns known from the listing.
    """

    key: str
    etag: str
    size: int | None
    where: str
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reject:
    """One item or row that cannot be used, and why."""

    key: str
    etag: str
    reason: str
    detail: str = ""


Refuse = Callable[[Reject], None]


class Source(Protocol):
    """Where rows come from.

    Attributes:
        origin: what is read, for the log; never a secret.
        kind: word for the log ("images", "parquet", …).
        grain: "row" when an item is one row, keyed by `Item.key`; "file" when an item holds many rows.
        key: key column of the rows.

    A source of rows whose `uri` does not start with its origin also has `owner`: what the rows' column `source`, which
    the job fills, says of where they came from. By it the job tells which rows are no longer listed.
    """

    origin: str
    kind: str
    grain: Literal["row", "file"]
    key: str

    def schema(self) -> pa.Schema:
        """Schema of the rows: the key first and non-null."""
        ...

    def items(self) -> Iterator[Item]:
        """List everything, cheaply, in a deterministic order."""
        ...

    def read(self, items: Iterable[Item], refuse: Refuse) -> Iterator[pa.RecordBatch]:
        """Read items into bounded batches, in order; an item that cannot be used goes to `refuse`, and never raises."""
        ...


def source_storage(storage: Storage | None, *, anonymous: bool) -> Storage:
    """Settings for the source: the table's own, without credentials when it is public."""
    given = storage or Storage()
    return Storage(anonymous=anonymous or given.anonymous, options=given.options)
