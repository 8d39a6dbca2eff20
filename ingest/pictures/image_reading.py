"""Reading of image files that were listed: many at a time, in order, each one's row or why there is none.

It knows files, objects and image rows; nothing of how they were found.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast

from clipdata import images
from clipdata.cores import num_cores
from clipdata.errors import ImageRefused
from clipdata.objects.reading import Body, ObjectReader, Unread, Wanted
from clipdata.objects.stamps import UNKNOWN, Stamp
from clipdata.plurals import counted
from clipdata.prefetch import map_ordered
from clipdata.storage import Storage, redact
from ingest.pictures.folder_walk import Refusal, printable, read_file, said
from ingest.pictures.image_rows import HEADER_BYTES, hold_readable, image_record, reference_record
from ingest.updating.source import Item, Refuse, Reject

# Decoding is what costs most. Each may hold one decoded image, so there are not many more on a large machine.
CHECK_THREADS = min(16, max(4, num_cores()))
# A thread takes several small files at once: handing over a file costs as much as decoding a small one.
_FILES_AT_ONCE = 32
_BYTES_AT_ONCE = 2 << 20


@dataclass(frozen=True, slots=True)
class ImageItem(Item):
    """A file of a listing, with all that the listing said of its content.

    A source that adds to it makes another with `dataclasses.replace`, and may append to the etag.

    Args:
        stamp: what the listing said.
        refusal: why it cannot be read, where the listing tells.
    """

    stamp: Stamp = UNKNOWN
    refusal: Refusal | None = None

    def become(self, stamp: Stamp) -> ImageItem:
        """The same file with the content it has by now; what else the etag says stays."""
        if stamp.etag == self.stamp.etag:
            return self
        etag = stamp.etag + self.etag.removeprefix(self.stamp.etag)
        return replace(self, etag=etag, size=stamp.size, extra={**self.extra, "mtime": stamp.mtime}, stamp=stamp)


Outcome: TypeAlias = dict[str, Any] | Reject
Read: TypeAlias = Callable[[int | None], tuple[ImageItem, bytes]]
"""Gives the first bytes of a file, or all, and what they are of."""


@dataclass(frozen=True)
class ImageReading:
    """How image files become rows.

    Args:
        limits: of one image.
        reference: leave the bytes where they are.
    """

    limits: images.ImageLimits
    reference: bool

    def files(self, items: Iterable[Item]) -> Iterator[Outcome]:
        """Read local files, many at a time, in order."""
        chunks = _chunks(cast("Iterable[ImageItem]", items))  # the job reads what the source listed
        for outcomes in map_ordered(self._outcomes_of_files, chunks, num_threads=CHECK_THREADS):
            yield from outcomes

    def objects(self, storage: Storage, items: Iterable[Item], refuse: Refuse) -> Iterator[Outcome]:
        """Read objects of a store, many at a time, in order.

        Raises:
            TransientError: the store is down.
            CredentialsError: the store refuses access.
        """
        reader = ObjectReader(storage)

        def outcome(read: tuple[Wanted[ImageItem], Body | Unread]) -> Outcome:
            return self._outcome_of_object(reader, *read)

        yield from map_ordered(outcome, reader.read(self._wanted(items, refuse)), num_threads=CHECK_THREADS)

    def _outcomes_of_files(self, items: list[ImageItem]) -> list[Outcome]:
        return [self._outcome_of_file(item) for item in items]

    def _outcome_of_file(self, item: ImageItem) -> Outcome:
        def read(stop: int | None) -> tuple[ImageItem, bytes]:
            data, stamp = read_file(item.where, stop)
            return item.become(stamp), data

        try:
            self._hold_listed(item)
            return self._record(item, read)
        except ImageRefused as error:
            return Reject(item.key, item.etag, error.reason, error.detail)
        except FileNotFoundError:
            return Reject(item.key, "", "missing", "it was listed, and gone when it was to be read")
        except OSError as error:
            return Reject(item.key, "", "unreadable", printable(redact(said(error))))

    def _wanted(self, items: Iterable[Item], refuse: Refuse) -> Iterator[Wanted[ImageItem]]:
        """What to read of each object; those too large are refused without a request."""
        for item in items:
            assert isinstance(item, ImageItem), "the job reads what the source listed"
            try:
                self._hold_listed(item)
            except ImageRefused as error:
                refuse(Reject(item.key, item.etag, error.reason, error.detail))
            else:
                yield Wanted(item, item.where, item.stamp, self._first_bytes(item))

    def _outcome_of_object(self, reader: ObjectReader, wanted: Wanted[ImageItem], body: Body | Unread) -> Outcome:
        item = wanted.name

        def read(stop: int | None) -> tuple[ImageItem, bytes]:
            found = body if stop == wanted.stop else reader.get(replace(wanted, stop=stop))
            if isinstance(found, Unread):
                raise _UnreadError(found)
            return item.become(found.stamp), found.data

        try:
            return self._record(item, read)
        except _UnreadError as error:  # without an etag it is tried again by the next run, whether or not it changed
            return Reject(item.key, "", error.unread.reason, error.unread.detail)
        except ImageRefused as error:
            return Reject(item.key, item.etag, error.reason, error.detail)

    def _record(self, item: ImageItem, read: Read) -> dict[str, Any]:
        """The row of an image."""
        doubtful = _is_doubtful(item)
        found, data = read(HEADER_BYTES if self.reference or doubtful else None)
        if doubtful:
            hold_readable(item.key, data)
            self._hold_size(found)
            found, data = (found, data) if self.reference else read(None)
        self._hold_size(found)
        if not self.reference:
            return image_record(found, data, self.limits)
        record = reference_record(found, data, self.limits)
        if record is None:  # a header that goes on, or an orientation that comes after the pixels
            found, data = read(None)
            record = {**image_record(found, data, self.limits), "image": None, "sha256": None}
        return record

    def _first_bytes(self, item: Item) -> int | None:
        return HEADER_BYTES if self.reference or _is_doubtful(item) else None

    def _hold_listed(self, item: ImageItem) -> None:
        if item.refusal is not None:
            raise ImageRefused(item.refusal.reason, item.refusal.detail)
        if not _is_doubtful(item):
            self._hold_size(item)

    def _hold_size(self, item: Item) -> None:
        if item.size is not None and item.size > self.limits.max_bytes:
            raise ImageRefused("too_large", f"{counted(item.size, 'byte')}, limit {self.limits.max_bytes:,}")


class _UnreadError(Exception):
    def __init__(self, unread: Unread) -> None:
        super().__init__(unread.detail)
        self.unread = unread


def _is_doubtful(item: Item) -> bool:
    """Whether the name says that no reader here takes it, so that its first bytes are looked at alone."""
    return os.path.splitext(item.key)[1].lower() in images.OTHER_SUFFIXES


def _chunks(items: Iterable[ImageItem]) -> Iterator[list[ImageItem]]:
    chunk: list[ImageItem] = []
    size = 0
    for item in items:
        chunk.append(item)
        size += item.size or 0
        if len(chunk) == _FILES_AT_ONCE or size >= _BYTES_AT_ONCE:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
