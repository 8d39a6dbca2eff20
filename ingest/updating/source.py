"""What a source of rows is: the contract between the ways in and the job that runs them.

A source lists items cheaply, then reads the ones the job asks for. It knows nothing of tables. One that pickles can be
read by workers on other machines; one that does not says why in an attribute `stays_here`. What a source counts while
it reads, it gives by `tally` and takes in by `add`, as a step does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

import pyarrow as pa

from clipdata.storage import Storage


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that a source listed before reading it: what becomes one row, or a file that holds many.

    Args:
        key: path relative to the root that the person named: the row's key, or the name of the file. Two files of one
            name in two folders have two keys, and a file has the same one whatever is listed beside it.
        etag: changes when the content changes; "" when the listing cannot tell, and then it is always read.
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
    """One item or row that cannot be used, and why.

    Args:
        key: of the item, or the file's key and the place in it for a row of a file.
        etag: of the content that was refused, which is not tried again as long as it stays; "" where the cause is not
            in the content (it is gone, access is refused, a server is down), and then every run tries again.
        reason: one word of the vocabulary that `clipdata rejects` counts by.
        detail: what was found.
    """

    key: str
    etag: str
    reason: str
    detail: str = ""


Refuse = Callable[[Reject], None]


class BrokenFile(Exception):  # noqa: N818 - what it is of, not an error of ours
    """A file that could not be read to its end. Nothing is removed on the strength of what it gave before.

    Args:
        reason: as of a `Reject`.
        detail: what was found, and after how many rows.
        passing: the cause is not in the file, so that the next run tries again although it did not change.
    """

    def __init__(self, reason: str, detail: str = "", *, passing: bool = False) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail, self.passing = reason, detail, passing

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reason, self.detail), {"passing": self.passing}


class _Listed(Protocol):
    """What both kinds of source have.

    Attributes:
        origin: what is read, for the log; never a secret.
        kind: word for the log ("images", "parquet", …).
        key: key column of the rows.
        options: all that shapes or refuses rows, as JSON values; what was read or refused with others is tried again.
    """

    origin: str
    kind: str
    key: str

    @property
    def options(self) -> Mapping[str, Any]: ...

    def schema(self) -> pa.Schema:
        """Schema of the rows: the key first and non-null. It is asked for often."""
        ...

    def items(self) -> Iterator[Item]:
        """List everything, cheaply, in a deterministic order."""
        ...

    def notes(self) -> Mapping[str, Any]:
        """What else is to be said at the end: what was left out, renamed or converted."""
        ...


class RowSource(_Listed, Protocol):
    """A source whose items are one row each."""

    grain: Literal["row"]

    @property
    def place(self) -> Literal["uri", "source"]:
        """Column that says where a row came from: "uri", or "source", which the job fills with `owner`."""
        ...

    @property
    def owner(self) -> str | None:
        """What the column `source` says of this source's rows; None where `place` is "uri"."""
        ...

    def covers(self, where: str) -> bool:
        """Whether a row that came from there is one of this source."""
        ...

    def read(self, items: Iterable[Item], refuse: Refuse) -> Iterator[pa.RecordBatch]:
        """Read items into bounded batches, in order; an item that cannot be used goes to `refuse`, and never raises."""
        ...


class FileSource(_Listed, Protocol):
    """A source whose items are files of many rows. Image rows carry an etag of their whole content."""

    grain: Literal["file"]

    @property
    def storage(self) -> Storage:
        """How to reach the files."""
        ...

    def covers(self, where: str) -> bool:
        """Whether a file that was there is one that this source would list."""
        ...

    def read_file(self, item: Item, refuse: Refuse) -> Iterator[pa.RecordBatch]:
        """Read one file into bounded batches; rows that cannot be used go to `refuse`.

        Raises:
            BrokenFile: it cannot be read to its end, whatever the reason.
            TransientError: the store is down.
            CredentialsError: the store refuses access.
        """
        ...


Source: TypeAlias = RowSource | FileSource


def source_storage(storage: Storage | None, *, anonymous: bool) -> Storage:
    """Settings for the source: the table's own, without credentials when it is public."""
    given = storage or Storage()
    return Storage(anonymous=anonymous or given.anonymous, options=given.options)
