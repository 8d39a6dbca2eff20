"""Image files under a folder or a bucket's prefix, one row each: listed first, read later, many at a time.

A row holds the file's bytes, or with `reference=True` only where they are; then no more than the first 64 KiB are read.
"""

from __future__ import annotations

import os
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, Literal, cast

import pyarrow as pa

from clipdata import images
from clipdata.cores import num_cores
from clipdata.errors import ImageRefused, NotFoundError, TransientError
from clipdata.objects.listing import list_objects
from clipdata.objects.reading import Body, ObjectReader, Unread, Wanted
from clipdata.objects.stamps import UNKNOWN, Stamp
from clipdata.prefetch import map_ordered
from clipdata.schema import image_schema
from clipdata.storage import Storage, absolute, is_remote, redact
from ingest.pictures.folder_walk import FolderWalk, read_file
from ingest.pictures.image_rows import HEADER_BYTES, image_record, reference_record
from ingest.updating.batches import batch_of
from ingest.updating.job import ingest
from ingest.updating.outcome import Ingested
from ingest.updating.source import Item, Refuse, Reject, source_storage

BATCH_ROWS = 256
BATCH_BYTES = 32 << 20
# Decoding is what costs most. Each may hold one decoded image, so there are not many more on a large machine.
CHECK_THREADS = min(16, max(4, num_cores()))


@dataclass(frozen=True, slots=True)
class ImageItem(Item):
    """A file of a listing, with all that the listing said of its content.

    A source that adds to it makes another with `dataclasses.replace`, and may append to the etag.
    """

    stamp: Stamp = UNKNOWN

    def become(self, stamp: Stamp) -> ImageItem:
        """The same file with the content it has by now; what else the etag says stays."""
        if stamp.etag == self.stamp.etag:
            return self
        etag = stamp.etag + self.etag.removeprefix(self.stamp.etag)
        return replace(self, etag=etag, size=stamp.size, extra={**self.extra, "mtime": stamp.mtime}, stamp=stamp)


Outcome = dict[str, Any] | Reject


class ImageFiles:
    """Images under a root, found by their suffix and checked by their content.

    Args:
        root: folder, or URL of a bucket's prefix.
        storage: how to reach it.
        limits: of one image.
        reference: leave the bytes where they are; the row's `uri` says where.

    Raises:
        NotFoundError: the root does not exist, or holds no image file at all.
    """

    kind = "images"
    grain: Literal["row"] = "row"
    key = "path"
    place: Literal["uri", "source"] = "uri"
    owner: str | None = None

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        storage: Storage | None = None,
        limits: images.ImageLimits | None = None,
        reference: bool = False,
    ) -> None:
        self.origin = absolute(root)
        self.storage = storage or Storage()
        self.limits = limits or images.ImageLimits()
        self.reference = reference
        self._ignored: Tally[str] = Tally()
        self._unlistable: list[Reject] = []

    @property
    def options(self) -> dict[str, Any]:
        """What shapes and refuses rows."""
        return {"reference": self.reference, "limits": repr(self.limits)}

    def covers(self, where: str) -> bool:
        """Whether a file there is under the root."""
        return where.startswith(f"{self.origin.rstrip('/')}/")

    def schema(self) -> pa.Schema:
        """The contract's image row."""
        return image_schema()

    def notes(self) -> dict[str, Any]:
        """Files that were no images by their suffix."""
        if not self._ignored:
            return {}
        kinds = ", ".join(f"{count:,} {suffix or 'without suffix'}" for suffix, count in self._ignored.most_common(5))
        return {"other files, ignored": f"{self._ignored.total():,} ({kinds})"}

    def items(self) -> Iterator[Item]:
        """List the image files, sorted by path."""
        num_images = 0
        root = f"{self.origin.rstrip('/')}/"
        for where, stamp in self._files():
            num_images += 1
            etag = f"{stamp.etag};reference" if self.reference else stamp.etag
            yield ImageItem(where.removeprefix(root), etag, stamp.size, where, {"mtime": stamp.mtime}, stamp)
        if not num_images and not self._unlistable:
            others = f"; it holds {self._ignored.total():,} other files" if self._ignored else ""
            suffixes = ", ".join(sorted(images.IMAGE_SUFFIXES))
            raise NotFoundError(
                f"no image under {redact(self.origin)}{others}; expected files ending in {suffixes}",
                hint="name the folder that holds the images (its folders inside are searched too)",
            )

    def read(self, items: Iterable[Item], refuse: Refuse) -> Iterator[pa.RecordBatch]:
        """Read and check files, many at a time, in order.

        Raises:
            TransientError: the store is down; what was read before has been yielded.
            CredentialsError: the store refuses access.
        """
        for reject in self._unlistable:
            refuse(reject)
        self._unlistable = []
        outcomes = self._read_remote(items, refuse) if is_remote(self.origin) else self._read_local(items)
        records: list[dict[str, Any]] = []
        size = 0
        try:
            for outcome in outcomes:
                if isinstance(outcome, Reject):
                    refuse(outcome)
                    continue
                records.append(outcome)
                size += len(outcome.get("image") or b"")
                if len(records) >= BATCH_ROWS or size >= BATCH_BYTES:
                    yield batch_of(records, self.schema())
                    records, size = [], 0
        except TransientError:
            if records:
                yield batch_of(records, self.schema())
            raise
        if records:
            yield batch_of(records, self.schema())

    def _files(self) -> Iterator[tuple[str, Stamp]]:
        if not is_remote(self.origin):
            walk = FolderWalk(self.origin, images.IMAGE_SUFFIXES)
            yield from walk
            self._ignored, self._unlistable = walk.ignored, walk.refused
            return
        self._ignored = Tally()
        for where, stamp in list_objects(self.storage, self.origin):
            suffix = PurePosixPath(where).suffix.lower()
            if suffix in images.IMAGE_SUFFIXES:
                yield where, stamp
            else:
                self._ignored[suffix] += 1

    def _read_local(self, items: Iterable[Item]) -> Iterator[Outcome]:
        listed = cast("Iterable[ImageItem]", items)  # the job reads what this source listed
        yield from map_ordered(self._file_record, listed, num_threads=CHECK_THREADS)

    def _file_record(self, item: ImageItem) -> Outcome:
        def read(stop: int | None) -> tuple[ImageItem, bytes]:
            data, stamp = read_file(item.where, stop)
            return item.become(stamp), data

        try:
            self._hold_size(item)
            return self._record(read)
        except ImageRefused as error:
            return Reject(item.key, item.etag, error.reason, error.detail)
        except FileNotFoundError:
            return Reject(item.key, "", "missing", "it was listed, and gone when it was to be read")
        except OSError as error:
            return Reject(item.key, "", "unreadable", redact(str(error)))

    def _read_remote(self, items: Iterable[Item], refuse: Refuse) -> Iterator[Outcome]:
        reader = ObjectReader(self.storage)

        def record(read: tuple[Wanted[ImageItem], Body | Unread]) -> Outcome:
            return self._object_record(reader, *read)

        yield from map_ordered(record, reader.read(self._wanted(items, refuse)), num_threads=CHECK_THREADS)

    def _wanted(self, items: Iterable[Item], refuse: Refuse) -> Iterator[Wanted[ImageItem]]:
        """What to read of each object; those too large are refused without a request."""
        for item in items:
            assert isinstance(item, ImageItem), "the job reads what this source listed"
            try:
                self._hold_size(item)
            except ImageRefused as error:
                refuse(Reject(item.key, item.etag, error.reason, error.detail))
            else:
                yield Wanted(item, item.where, item.stamp, self._first_bytes)

    def _object_record(self, reader: ObjectReader, wanted: Wanted[ImageItem], body: Body | Unread) -> Outcome:
        item = wanted.name

        def read(stop: int | None) -> tuple[ImageItem, bytes]:
            found = body if stop == wanted.stop else reader.get(replace(wanted, stop=stop))
            if isinstance(found, Unread):
                raise _UnreadError(found)
            return item.become(found.stamp), found.data

        try:
            return self._record(read)
        except _UnreadError as error:
            # Without an etag it is tried again by the next run, whether or not it changed.
            unread = error.unread
            return Reject(item.key, "" if unread.again else item.etag, unread.reason, unread.detail)
        except ImageRefused as error:
            return Reject(item.key, item.etag, error.reason, error.detail)

    @property
    def _first_bytes(self) -> int | None:
        return HEADER_BYTES if self.reference else None

    def _record(self, read: Callable[[int | None], tuple[ImageItem, bytes]]) -> dict[str, Any]:
        """The row of an image.

        Args:
            read: gives the first bytes of it, or all, and what they are of.
        """
        item, data = read(self._first_bytes)
        self._hold_size(item)
        if not self.reference:
            return image_record(item, data, self.limits)
        record = reference_record(item, data, self.limits)
        if record is None:  # a header that goes on, or an orientation that comes after the pixels
            item, data = read(None)
            record = {**image_record(item, data, self.limits), "image": None, "sha256": None}
        return record

    def _hold_size(self, item: Item) -> None:
        if item.size is not None and item.size > self.limits.max_bytes:
            raise ImageRefused("too_large", f"{item.size:,} bytes, limit {self.limits.max_bytes:,}")


class _UnreadError(Exception):
    def __init__(self, unread: Unread) -> None:
        super().__init__(unread.detail)
        self.unread = unread


def from_images(
    images: str | os.PathLike[str],
    *,
    into: str | os.PathLike[str],
    reference: bool = False,
    anonymous: bool = False,
    storage: Storage | None = None,
    **options: Any,
) -> Ingested:
    """Take in the images under a folder or a bucket's prefix.

    Args:
        images: folder or URL, searched with everything inside it.
        into: location of the table.
        reference: leave the bytes where they are: `image` stays null, and is read from `uri` whenever it is needed,
            with the storage that the table is opened with.
        anonymous: the source is public; the table is reached with `storage` as it is.
        storage: how to reach both.
        options: of `ingest.updating.job.ingest` (`retry_rejects`, `max_rejects`, `progress`).
    """
    source = ImageFiles(images, reference=reference, storage=source_storage(storage, anonymous=anonymous))
    if reference and not is_remote(into):  # the table's handle is what reads the images later
        storage = source.storage
    return ingest(source, into, storage=storage, parameters={"reference": reference}, **options)
