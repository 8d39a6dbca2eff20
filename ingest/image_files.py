"""Image files under a folder or a bucket's prefix, one row each. What is listed first is read later, many at a time."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter as Tally
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from clipdata import images
from clipdata.errors import CredentialsError, ImageRefused, NotFoundError
from clipdata.schema import image_schema
from clipdata.storage import Storage, absolute, is_remote, redact, scheme
from ingest.job import batch_of
from ingest.source import Item, Refuse, Reject

BATCH_ROWS = 256
BATCH_BYTES = 32 << 20
LOCAL_THREADS = 4
REMOTE_REQUESTS = 32


@dataclass(frozen=True)
class Found:
    """One file of a listing: location, size in bytes, etag, time of change."""

    where: str
    size: int
    etag: str
    mtime: datetime | None


class ImageFiles:
    """Images under a root, found by their suffix and checked by their content.

    Regular files only: links that lead out of the root, pipes and devices are refused.

    Args:
        root: folder, or URL of a bucket's prefix.
        storage: how to reach it.
        limits: of one image.

    Raises:
        NotFoundError: the root does not exist, or holds no image file at all.
    """

    kind = "images"
    grain: Literal["row", "file"] = "row"
    key = "path"

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        storage: Storage | None = None,
        limits: images.ImageLimits | None = None,
    ) -> None:
        self.origin = absolute(root)
        self.storage = storage or Storage()
        self.limits = limits or images.ImageLimits()
        self._ignored: Tally[str] = Tally()
        self._unlistable: list[Reject] = []

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
        listed = self._list_remote() if is_remote(self.origin) else self._list_local()
        num_images = 0
        for path, found in listed:
            if Path(path).suffix.lower() not in images.IMAGE_SUFFIXES:
                self._ignored[Path(path).suffix.lower()] += 1
                continue
            num_images += 1
            yield Item(path, found.etag, found.size, found.where, {"mtime": found.mtime})
        if not num_images and not self._unlistable:
            others = f"; it holds {self._ignored.total():,} other files" if self._ignored else ""
            suffixes = ", ".join(sorted(images.IMAGE_SUFFIXES))
            raise NotFoundError(
                f"no image under {redact(self.origin)}{others}; expected files ending in {suffixes}",
                hint="name the folder that holds the images (its folders inside are searched too)",
            )

    def read(self, items: Sequence[Item], refuse: Refuse) -> Iterator[pa.RecordBatch]:
        """Read and check files, several at a time, in order."""
        for reject in self._unlistable:
            refuse(reject)
        self._unlistable = []
        threads = REMOTE_REQUESTS if is_remote(self.origin) else LOCAL_THREADS
        records: list[dict[str, Any]] = []
        size = 0
        with ThreadPoolExecutor(threads, thread_name_prefix="clipdata-read") as pool:
            for outcome in in_order(pool, self._record, items, ahead=2 * threads):
                if isinstance(outcome, Reject):
                    refuse(outcome)
                    continue
                records.append(outcome)
                size += outcome["bytes"]
                if len(records) >= BATCH_ROWS or size >= BATCH_BYTES:
                    yield batch_of(records, self.schema())
                    records, size = [], 0
        if records:
            yield batch_of(records, self.schema())

    def _record(self, item: Item) -> dict[str, Any] | Reject:
        """One row, or why there is none."""
        try:
            if item.size is not None and item.size > self.limits.max_bytes:
                raise ImageRefused("too_large", f"{item.size:,} bytes, limit {self.limits.max_bytes:,}")
            return image_record(item, self._bytes(item), self.limits)
        except ImageRefused as error:
            return Reject(item.key, item.etag, error.reason, error.detail)
        except FileNotFoundError:
            return Reject(item.key, item.etag, "missing", "it was listed, and gone when it was to be read")
        except OSError as error:
            return Reject(item.key, item.etag, "unreadable", redact(str(error)))

    def _bytes(self, item: Item) -> bytes:
        if not is_remote(item.where):
            return Path(item.where).read_bytes()
        fs, path = self.storage.filesystem(item.where)
        return fs.cat_file(path)

    def _list_local(self) -> Iterator[tuple[str, Found]]:
        root = Path(self.origin)
        if not root.exists():
            raise NotFoundError(
                f"there is no folder {root}", hint="check the path; a bucket is written gs://… or s3://…"
            )
        if not root.is_dir():
            raise NotFoundError(
                f"{root} is a file; expected a folder of images", hint=f"give its folder: {root.parent}"
            )
        yield from self._walk(root, root.resolve())

    def _walk(self, folder: Path, real_root: Path) -> Iterator[tuple[str, Found]]:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
        except PermissionError as error:
            self._cannot_list(folder, "unreadable", str(error))
            return
        for entry in entries:
            path = Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(path, real_root)
                continue
            if path.suffix.lower() not in images.IMAGE_SUFFIXES and not entry.is_symlink():
                self._ignored[_printable(path.suffix.lower())] += 1
                continue
            try:
                os.fspath(path).encode()
            except UnicodeEncodeError:
                self._cannot_list(path, "bad_name", "the file name is not UTF-8")
                continue
            if entry.is_symlink() and not path.resolve().is_relative_to(real_root):
                self._cannot_list(path, "link_outside", f"it points to {path.resolve()}")
                continue
            about = path.stat()
            if not stat.S_ISREG(about.st_mode):
                if not stat.S_ISDIR(about.st_mode):
                    self._cannot_list(path, "not_a_file", "it is a pipe, socket or device")
                continue
            etag = f"{about.st_size}-{about.st_mtime_ns}"
            changed = datetime.fromtimestamp(about.st_mtime, UTC)
            yield path.relative_to(self.origin).as_posix(), Found(str(path), about.st_size, etag, changed)

    def _cannot_list(self, path: Path, reason: str, detail: str) -> None:
        key = _printable(os.path.relpath(path, self.origin))
        self._unlistable.append(Reject(key, "", reason, detail))

    def _list_remote(self) -> Iterator[tuple[str, Found]]:
        fs, root = self.storage.filesystem(self.origin)
        try:
            listing = fs.find(root, detail=True)
        except FileNotFoundError as error:
            raise NotFoundError(f"there is nothing at {redact(self.origin)}") from error
        except PermissionError as error:
            raise CredentialsError(
                f"listing {redact(self.origin)}: {redact(str(error))}",
                hint="pass --anonymous for a public bucket, or set the credentials your cloud's own tools read",
            ) from error
        prefix = f"{scheme(self.origin)}://"
        for path in sorted(listing):
            about = listing[path]
            relative = path.removeprefix(root).lstrip("/")
            where = f"{prefix}{path}" if "://" not in path else path
            yield relative, Found(where, int(about.get("size") or 0), etag_of(about), _mtime_of(about))


def image_record(item: Item, data: bytes, limits: images.ImageLimits) -> dict[str, Any]:
    """The row of one image.

    Raises:
        ImageRefused: it does not decode, or breaks a limit.
    """
    header = images.check(data, limits)
    return {
        **item.extra,
        "path": item.key,
        "filename": item.key.rsplit("/", 1)[-1],
        "uri": item.where,
        "image": data,
        "format": header.format,
        "width": header.width,
        "height": header.height,
        "bytes": len(data),
        "etag": item.etag,
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def in_order(pool: ThreadPoolExecutor, work: Any, items: Iterable[Any], *, ahead: int) -> Iterator[Any]:
    """Results in the order of the items, with a bounded number under way."""
    waiting: deque[Future[Any]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def etag_of(about: dict[str, Any]) -> str:
    """What tells one content from another, in whichever store's words."""
    for word in ("etag", "ETag", "generation", "md5Hash", "VersionId"):
        if about.get(word):
            return str(about[word]).strip('"')
    return f"{about.get('size')}-{about.get('mtime') or about.get('LastModified') or about.get('updated') or ''}"


def _mtime_of(about: dict[str, Any]) -> datetime | None:
    moment = about.get("LastModified") or about.get("mtime") or about.get("last_modified") or about.get("updated")
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError:
            return None
    return moment if isinstance(moment, datetime) else None


def _printable(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")
