"""One process at a time in a folder, by a lock that the system lets go of when the process ends, however it ends.

The lock file says who holds it, for the message of whoever comes second; that it exists means nothing. This module
knows files, and nothing of what is done in the folder.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from clipdata.errors import StorageError, TransientError, UsageError
from clipdata.json_parsing import parse_json

FILE = ".clipdata.lock"


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
    descriptor = _opened(path)
    try:
        _write(descriptor, doing)
        yield
        os.ftruncate(descriptor, 0)
    except BaseException:
        _remove_unused(path, made)
        raise
    finally:
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


def _opened(path: Path) -> int:
    """The lock file, held by this process."""
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise StorageError(
                f"cannot write to {path.parent}: {error.strerror or error}", hint="choose a folder that can be written"
            ) from error
        try:
            _take(descriptor, path.parent)
        except BaseException:
            os.close(descriptor)
            raise
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        os.close(descriptor)  # whoever held it removed it


def _remove_unused(path: Path, made: Sequence[Path]) -> None:
    """Remove folders that were made for the lock, the innermost first, where nothing but the lock is in them."""
    with suppress(OSError):
        if made and [one.name for one in path.parent.iterdir()] == [FILE]:
            path.unlink()
            for folder in made:
                folder.rmdir()


def _take(descriptor: int, folder: Path) -> None:
    if os.name != "posix":
        return
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise TransientError(
            f"{_holder(descriptor)} is at work in {folder}",
            hint="wait until it is done, or use another folder: --out DIR",
        ) from error
    except OSError as error:
        raise StorageError(
            f"{folder} cannot be locked: {error.strerror or error}", hint="use a folder on a disk of this machine"
        ) from error


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
    except (ValueError, KeyError, TypeError):  # it is just being written, or by something else
        return "another process"
