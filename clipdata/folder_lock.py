"""One process at a time in a folder, or at a place, by a lock that the system lets go of however a process ends.

The lock file says who holds it, for the message of whoever comes second; that it exists means nothing. This module
knows files, and nothing of what is done with them.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from clipdata.disk import sync
from clipdata.errors import StorageError, TransientError, UsageError
from clipdata.json_parsing import parse_json

FILE = ".clipdata.lock"
_MOST_TRIES = 100
_FULL = (errno.ENOSPC, errno.EDQUOT)
_WAIT = "wait until it is done, or"


@contextmanager
def alone_in(folder: Path, doing: str) -> Iterator[None]:
    """Keep other processes out of a folder while the block runs. The folder is made when it is not there.

    A folder that was made for a block which then fails, and left nothing in it, goes again.

    Args:
        folder: on this machine.
        doing: what the process is about there, as in "run caption-contest".

    Raises:
        TransientError: another process is at work there; it says which.
        UsageError: there is a file in the folder's place.
        StorageError: the folder cannot be written.
    """
    path = folder / FILE
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; expected a folder", hint="name a folder: --out DIR")
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        descriptor = _opened(path, f"is at work in {folder}", f"{_WAIT} use another folder: --out DIR")
    except _NoLocks as error:
        raise StorageError(
            f"{folder} cannot be locked: {error}", hint="use a folder on a disk of this machine"
        ) from error
    try:
        _write(descriptor, doing)
        yield
        os.ftruncate(descriptor, 0)
    except BaseException:
        _remove_unused(path, made)
        raise
    finally:
        os.close(descriptor)  # lets go of the lock


@contextmanager
def alone_at(place: Path, doing: str) -> Iterator[bool]:
    """Keep other processes from writing a file or a folder while the block runs, whether or not it is there yet.

    The lock is a file beside the place, and goes at the end. In a folder beside which nobody may write, the lock is on
    the folder itself. Folders above the place are made, and go again where the block leaves nothing in them.

    Args:
        place: on this machine.
        doing: what the process is about there, as in "export".

    Yields:
        whether others are kept out; they are not on a disk that knows no locks.

    Raises:
        TransientError: another process writes there; it says which.
        StorageError: nothing can be written there.
    """
    beside = place.parent / f".{place.name}.lock"
    is_beside = not place.is_dir() or os.access(place.parent, os.W_OK)
    made = [one for one in place.parents if not one.exists()]
    said = (f"is writing {place}", f"{_WAIT} name another place")
    descriptor = None
    try:
        try:
            descriptor = _opened(beside, *said) if is_beside else _opened_folder(place, *said)
            _write(descriptor, doing)
        except _NoLocks:
            _remove_lock(beside)
        yield descriptor is not None and os.name == "posix"
    finally:
        if descriptor is not None:
            if is_beside:
                _remove_lock(beside)
            os.close(descriptor)  # lets go of the lock
        with suppress(OSError):
            for folder in made:
                folder.rmdir()


@contextmanager
def in_turn(folder: Path) -> Iterator[None]:
    """Wait for other processes of this machine, and other threads, that are in the block with this folder.

    Where folders have no locks, the block runs beside theirs.
    """
    descriptor = None
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
    try:
        if descriptor is not None and os.name == "posix":
            import fcntl

            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)  # lets go of the lock


def is_taken(folder: Path) -> bool:
    """Whether a process on this machine is at work in a folder."""
    try:
        descriptor = os.open(folder / FILE, os.O_RDONLY)
    except OSError:
        return False
    try:
        if os.name != "posix":
            return False
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


class _NoLocks(Exception):  # noqa: N818 - it is a fact about the disk
    """The disk knows no locks."""


def _opened(path: Path, busy: str, hint: str) -> int:
    """The lock file, held by this process."""
    for tries in itertools.count():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = _open(path)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and tries < _MOST_TRIES:
                continue  # whoever made the folder, and was refused, removed it
            hint = "free some space" if error.errno in _FULL else "choose a folder that can be written"
            raise StorageError(f"cannot write to {path.parent}: {error.strerror or error}", hint=hint) from error
        _take(descriptor, busy, hint)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        os.close(descriptor)  # whoever held it removed it
    raise AssertionError("it is counted without end")


def _open(path: Path) -> int:
    """A lock file, made where there is none. One that another user left can be locked, if not written to."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except PermissionError:
        with suppress(OSError):
            return os.open(path, os.O_RDONLY)
        raise


def _opened_folder(folder: Path, busy: str, hint: str) -> int:
    """A folder that is there, held by this process."""
    descriptor = os.open(folder, os.O_RDONLY)
    _take(descriptor, busy, hint)
    return descriptor


def _remove_lock(path: Path) -> None:
    """Remove a lock file. Where nobody may write any more, it stays, and means nothing."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
        sync(path.parent)


def _remove_unused(path: Path, made: Sequence[Path]) -> None:
    """Remove folders that were made for the lock, the innermost first, where nothing but the lock is in them."""
    with suppress(OSError):
        if made and [one.name for one in path.parent.iterdir()] == [FILE]:
            path.unlink()
            for folder in made:
                folder.rmdir()


def _take(descriptor: int, busy: str, hint: str) -> None:
    """Lock what is open, or close it.

    Raises:
        TransientError: another process holds it.
    """
    if os.name != "posix":
        return
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = _holder(descriptor)
        os.close(descriptor)
        raise TransientError(f"{holder} {busy}", hint=hint) from error
    except OSError as error:
        os.close(descriptor)
        raise _NoLocks(error.strerror or str(error)) from error


def _write(descriptor: int, doing: str) -> None:
    record = {
        "doing": doing,
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    with suppress(OSError):  # on a full disk nobody is told who holds it, but it is held
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(record).encode(), 0)


def _holder(descriptor: int) -> str:
    """Who holds the lock, as far as the file says."""
    try:
        record = parse_json(os.pread(descriptor, 4096, 0))
        return f"{record['doing']} (process {record['pid']} on {record['host']}, since {record['since']})"
    except (OSError, ValueError, KeyError, TypeError):  # just being written, or by something else, or a folder
        return "another process"
