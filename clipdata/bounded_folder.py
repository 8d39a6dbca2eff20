"""A folder of this machine that keeps bytes under names, up to a bound, for any number of processes at once.

    folder/ledger                       bytes that are kept or about to be, under a lock
    folder/claims                       locks of its bytes say which names some process is fetching
    folder/<owner>/<ab>/<name>.kept     what is kept: a header with the size and a checksum, then the bytes

A file is written aside and renamed, so that a kill leaves none that is torn; what a crash of the machine tears, size
and checksum tell. Room is booked before a byte is written, so the bound holds at every moment.

When the bound is reached, what was used least recently goes first: of other owners, and nothing that was used since
this handle was made. What one owner keeps never gives way to more of the same: an owner that asks for each thing once
a round, in another order each time, would by least recent use alone find 15 % in a folder that holds half of it.
This module knows files and bytes, and nothing of what they are.
"""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import struct
import time
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from clipdata.errors import StorageError

_HEADER = struct.Struct("<8sQI44x")  # 64 bytes, so that what follows lies as Arrow wants it
_MAGIC = b"clipkept"
_ENDING, _ASIDE = ".kept", ".aside"
_CLUSTER = 4096  # a file takes whole ones
_ABANDONED_S = 600.0  # a file that is written takes no longer
_LEDGER_PATIENCE_S = 5.0
_SPARE = 0.02  # of the bound: made free beyond need, because looking for the oldest takes a look at all
_LEFT_FREE = 2**30  # of the disk, or a twentieth of a small one: whoever works here writes more than this
_numbers = itertools.count()


@dataclass(frozen=True)
class _Entry:
    used_s: float
    num_bytes: int
    path: Path


class BoundedFolder:
    """One owner's handle.

    Args:
        folder: made when it is not there.
        max_bytes: most to keep in it, of all owners together.
        owner: a word; what another owner keeps under the same name is taken over when it is asked for. A name, always
            of the same bytes, is hexadecimal and has 15 digits or more.

    Raises:
        StorageError: the folder cannot be made.
    """

    def __init__(self, folder: Path, max_bytes: int, owner: str) -> None:
        self._folder, self._max_bytes, self._owner = folder, max_bytes, owner
        self._since_s = time.time()
        self._full_until_s = 0.0
        self._proved: set[tuple[str, int]] = set()
        self._told = False
        try:
            (folder / owner).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"cannot keep anything in {folder}: {error.strerror or error}",
                hint="name a folder that can be written, on a disk of this machine",
            ) from error

    def is_full(self) -> bool:
        """Whether there was no room for more when last it was tried, a little while ago."""
        return time.monotonic() < self._full_until_s

    def get(self, name: str) -> pa.Buffer | None:
        """What is kept under a name, as a view of the file; None when there is nothing, or nothing whole."""
        path = self._path(self._owner, name)
        found = self._read(path)
        if found is None and self._take_over(name, path):
            found = self._read(path)
        return found

    def put(self, name: str, data: pa.Buffer) -> bool:
        """Keep bytes under a name, if there is room; tell whether they are kept.

        A disk that is full is told once in a process, as a warning; whoever works with this goes on without.
        """
        path = self._path(self._owner, name)
        num_bytes = _charged(_HEADER.size + data.size)
        if path.exists():
            return True
        if self.is_full() or not self._book(num_bytes):
            return False
        aside = path.with_name(f"{name}.{os.getpid()}-{next(_numbers)}{_ASIDE}")
        try:
            self._check_disk(num_bytes)
            path.parent.mkdir(parents=True, exist_ok=True)
            with aside.open("wb") as file:
                file.write(_HEADER.pack(_MAGIC, data.size, zlib.crc32(data)))
                file.write(data)
            aside.replace(path)
        except OSError as error:
            with suppress(OSError):
                aside.unlink()
            self._book(-num_bytes)
            self._pause(60.0)
            self._tell(error)
            return False
        return True

    def _check_disk(self, num_bytes: int) -> None:
        disk = shutil.disk_usage(self._folder)
        if disk.free - num_bytes < min(_LEFT_FREE, disk.total // 20):
            raise OSError(errno.ENOSPC, f"only {disk.free / 1e9:.1f} GB of the disk are free")

    def _tell(self, error: OSError) -> None:
        """Say once that the folder takes no more; that someone else removes folders in it is nothing to tell."""
        if not self._told and error.errno != errno.ENOENT:
            self._told = True
            warnings.warn(
                f"nothing more is kept in {self._folder}: {error.strerror or error}; what is not there is read from "
                "its source each time",
                stacklevel=2,
            )

    @contextmanager
    def claiming(self, names: Sequence[str]) -> Iterator[set[str]]:
        """Claim names while the block runs; yields those that nobody else holds, in this process or another.

        A process that ends, however it ends, lets go of what it claimed.
        """
        if not _has_range_locks():
            yield set(names)
            return
        try:
            descriptor = os.open(self._folder / "claims", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError:
            yield set(names)  # two may then fetch the same, which does no harm
            return
        try:
            yield {name for name in names if _lock_byte(descriptor, int(name[:15], 16))}
        finally:
            os.close(descriptor)

    def _path(self, owner: str, name: str) -> Path:
        return self._folder / owner / name[:2] / f"{name}{_ENDING}"

    def _read(self, path: Path) -> pa.Buffer | None:
        try:
            with pa.memory_map(str(path)) as file:
                whole = file.read_buffer()
        except (OSError, pa.ArrowInvalid):  # an empty file cannot be mapped
            return None
        if not self._is_whole(path, whole):
            with suppress(OSError):
                path.unlink()
            return None
        with suppress(OSError):
            os.utime(path)
        return whole.slice(_HEADER.size)

    def _is_whole(self, path: Path, whole: pa.Buffer) -> bool:
        """Whether a file holds what was written; its checksum is computed once in a process."""
        if whole.size < _HEADER.size:
            return False
        magic, num_bytes, checksum = _HEADER.unpack(whole.slice(0, _HEADER.size))
        if magic != _MAGIC or num_bytes != whole.size - _HEADER.size:
            return False
        mark = (path.name, checksum)
        if mark not in self._proved:
            if zlib.crc32(whole.slice(_HEADER.size)) != checksum:
                return False
            self._proved.add(mark)
        return True

    def _take_over(self, name: str, path: Path) -> bool:
        with suppress(OSError):
            for owner in os.listdir(self._folder):
                other = self._path(owner, name)
                if owner != self._owner and other.exists():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    other.replace(path)
                    return True
        return False

    def _book(self, num_bytes: int) -> bool:
        """Count bytes that will be written, making room for them; tell whether there is room."""
        with suppress(OSError), self._ledger() as file:
            total = _total(file)
            if total is None or (num_bytes > 0 and total + num_bytes > self._max_bytes):
                begun_s = time.monotonic()
                total = self._make_room(num_bytes)
                if total + num_bytes > self._max_bytes:
                    self._pause(max(10.0, 50 * (time.monotonic() - begun_s)))
                    num_bytes = 0
            os.ftruncate(file, 0)
            os.pwrite(file, str(max(total + num_bytes, 0)).encode(), 0)
            return num_bytes != 0
        self._pause(10.0)
        return False

    def _pause(self, seconds: float) -> None:
        self._full_until_s = time.monotonic() + seconds

    @contextmanager
    def _ledger(self) -> Iterator[int]:
        file = os.open(self._folder / "ledger", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _lock_whole(file)
            yield file
        finally:
            os.close(file)

    def _make_room(self, num_bytes: int) -> int:
        """Remove what may go until there is room; returns the bytes that are there then."""
        entries = sorted(self._entries(), key=lambda entry: entry.used_s)
        total = sum(entry.num_bytes for entry in entries)
        for entry in entries:
            over = total > self._max_bytes  # the bound was lower before, and then everybody's goes
            if not over and total + num_bytes <= self._max_bytes * (1 - _SPARE):
                break
            own = entry.path.parent.parent.name == self._owner
            if entry.path.suffix == _ENDING and (over or not (own or entry.used_s >= self._since_s)):
                with suppress(OSError):
                    entry.path.unlink()
                    total -= entry.num_bytes
        return total

    def _entries(self) -> Iterator[_Entry]:
        for path in self._folder.glob("*/??/*"):
            with suppress(OSError):
                found = path.stat()
                if path.suffix == _ASIDE and found.st_mtime < time.time() - _ABANDONED_S:
                    path.unlink()
                elif path.suffix in (_ENDING, _ASIDE):
                    yield _Entry(found.st_mtime, _charged(found.st_size), path)


def _charged(num_bytes: int) -> int:
    return -(-num_bytes // _CLUSTER) * _CLUSTER


def _total(file: int) -> int | None:
    text = os.pread(file, 32, 0)
    return int(text) if text.isdigit() else None  # who was killed between two writes leaves it empty


def _has_range_locks() -> bool:
    if os.name != "posix":
        return False
    import fcntl

    return hasattr(fcntl, "F_OFD_SETLK")


def _lock_byte(file: int, place: int) -> bool:
    """Lock one byte of a file for this descriptor; False when another has it."""
    import fcntl

    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, place, 1, 0))
    except OSError as error:
        return error.errno not in (errno.EAGAIN, errno.EACCES)  # where nothing can be locked, nobody holds it
    return True


def _lock_whole(file: int) -> None:
    """Lock a file for this descriptor, waiting a while.

    Raises:
        OSError: another process kept it, or it cannot be locked.
    """
    if os.name != "posix":
        return
    import fcntl

    until_s = time.monotonic() + _LEDGER_PATIENCE_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > until_s:
                raise
            time.sleep(0.002)
