"""References: rows whose image is null and whose `uri` says where the bytes are, filled with those bytes.

Which column is the image, the schema declares (`schema.image_column`); any other column of bytes that is null is just
not there yet.

This is the one place that does it, for map steps, the stream and everything else that reads images of a table. Requests
for the next rows are in flight while the caller works on these. It knows Arrow and objects, not tables: a picture that
stands in another table was filled in before (`lance_io.pictures`); where that one holds none, its file is read here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pyarrow as pa

from clipdata.objects.reading import Body, ObjectReader, Pending, Unread, Wanted
from clipdata.objects.stamps import Stamp
from clipdata.schema import image_column
from clipdata.storage import Storage

URI, SIZE = "uri", "bytes"
AHEAD_BYTES = 64 << 20
AHEAD_BATCHES = 8
T = TypeVar("T")
Rows = TypeVar("Rows", pa.RecordBatch, pa.Table)


def columns_needed(schema: pa.Schema, wanted: Sequence[str]) -> list[str]:
    """Columns to read beside those wanted, so that their images can be filled in."""
    if URI not in schema.names or image_column(schema) not in wanted:
        return []
    return [name for name in (URI, SIZE) if name in schema.names and name not in wanted]


@dataclass(frozen=True)
class _Group(Generic[T, Rows]):
    """Rows that wait for their images; of `requests`, those of the rows before may be shared."""

    name: T
    rows: Rows
    requests: dict[str, tuple[Wanted[None], Pending]]
    cost_bytes: int


class References:
    """Fills null images of rows with the bytes at their `uri`.

    Args:
        storage: how to reach what the rows refer to.
        ahead_bytes: of images to come that may be in flight or waiting while the caller works on a batch.
        reading: arguments of `ObjectReader`.
    """

    def __init__(self, storage: Storage, *, ahead_bytes: int = AHEAD_BYTES, **reading: Any) -> None:
        self._reader = ObjectReader(storage, **reading)
        self._ahead_bytes = ahead_bytes
        self.unread: dict[str, Unread] = {}  # by location, of the rows yielded last

    def filled(self, batches: Iterable[tuple[T, Rows]]) -> Generator[tuple[T, Rows], None, None]:
        """Yield rows with the images they refer to, in order; batches to come are read ahead.

        An image that cannot be read stays null, and `unread` says why until the next rows are asked for.

        Args:
            batches: anything that names the rows, and the rows; those without `uri` or without nulls pass as they are.

        Raises:
            TransientError: the store is down.
            CredentialsError: the store refuses access.
        """
        waiting: deque[_Group[T, Rows]] = deque()
        last: dict[str, tuple[Wanted[None], Pending]] = {}
        held = 0
        try:
            for name, rows in batches:
                group = self._begin(name, rows, last)
                last = group.requests
                waiting.append(group)
                held += group.cost_bytes
                while waiting and (held > self._ahead_bytes or len(waiting) > AHEAD_BATCHES or not waiting[0].requests):
                    group = waiting.popleft()
                    held -= group.cost_bytes
                    yield group.name, self._finish(group)
            while waiting:
                group = waiting.popleft()
                yield group.name, self._finish(group)
        finally:
            for group in waiting:
                for _, pending in group.requests.values():
                    pending.cancel()

    def _begin(self, name: T, rows: Rows, last: Mapping[str, tuple[Wanted[None], Pending]]) -> _Group[T, Rows]:
        requests: dict[str, tuple[Wanted[None], Pending]] = {}
        cost_bytes = 0
        for uri, size in _referred(rows):
            if uri in requests:
                continue
            if uri in last:  # rows of one image are neighbours
                requests[uri] = last[uri]
                continue
            wanted = Wanted(None, uri, Stamp(size=size), newer=False)
            requests[uri] = (wanted, self._reader.submit(wanted))
            cost_bytes += wanted.cost_bytes
        return _Group(name, rows, requests, cost_bytes)

    def _finish(self, group: _Group[T, Rows]) -> Rows:
        self.unread = {}
        found: dict[str, bytes] = {}
        for uri, (wanted, pending) in group.requests.items():
            body = self._reader.take(wanted, pending)
            if isinstance(body, Body):
                found[uri] = body.data
            else:
                self.unread[uri] = body
        return _with_images(group.rows, found) if found else group.rows


def _referred(rows: pa.RecordBatch | pa.Table) -> Iterator[tuple[str, int | None]]:
    """Location and size of every image that is not in its row."""
    image = image_column(rows.schema)
    if image is None or URI not in rows.schema.names or not rows.column(image).null_count:
        return
    sizes = rows.column(SIZE) if SIZE in rows.schema.names else pa.nulls(rows.num_rows, pa.int64())
    missing = rows.column(image).is_null()
    for uri, size in zip(rows.column(URI).filter(missing), sizes.filter(missing), strict=True):
        if uri.as_py():
            yield uri.as_py(), size.as_py()


def _with_images(rows: Rows, found: Mapping[str, bytes]) -> Rows:
    name = image_column(rows.schema)
    assert name is not None, "only rows with an image refer to one"
    present = rows.column(name)
    values = [
        (found.get(uri) if not value.is_valid else value.as_py())
        for value, uri in zip(present, rows.column(URI).to_pylist(), strict=True)
    ]
    place = rows.schema.get_field_index(name)
    return rows.set_column(place, rows.schema.field(place), pa.array(values, present.type))
