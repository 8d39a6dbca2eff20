"""Items that wait to be read: in memory while they are few, in a temporary file once they are many."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterator
from typing import IO

from ingest.updating.source import Item

_ITEMS_AT_ONCE = 4096
# Some hundred bytes each.
ITEMS_IN_MEMORY = 65_536


class Spool:
    """Items in the order in which they came; those that are too many for memory are in a temporary file."""

    def __init__(self) -> None:
        self._chunks: list[list[Item] | int] = []  # in memory, or where in the file
        self._last: list[Item] = []
        self._num = 0
        self._file: IO[bytes] | None = None

    def __len__(self) -> int:
        return self._num

    def append(self, item: Item) -> None:
        """Put an item at the end."""
        self._last.append(item)
        self._num += 1
        if len(self._last) == _ITEMS_AT_ONCE:
            self._chunks.append(self._last if self._num <= ITEMS_IN_MEMORY else self._put(self._last))
            self._last = []

    def __iter__(self) -> Iterator[Item]:
        for chunk in self._chunks:
            yield from self._get(chunk) if isinstance(chunk, int) else chunk
        yield from self._last

    def _put(self, items: list[Item]) -> list[Item] | int:
        try:
            packed = pickle.dumps(items, pickle.HIGHEST_PROTOCOL)
        except (pickle.PicklingError, TypeError, AttributeError):
            return items  # they hold something alive, such as the files of a DataChain chain
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="clipdata-")  # noqa: SIM115 - it goes with the spool
        place = self._file.seek(0, 2)
        self._file.write(packed)
        return place

    def _get(self, place: int) -> list[Item]:
        assert self._file is not None, "a place is of the file"
        self._file.seek(place)
        items: list[Item] = pickle.load(self._file)  # noqa: S301 - of our own temporary file
        return items
