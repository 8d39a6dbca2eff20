"""One process at a time at the tags of a table on a disk, by a lock on the table's own folder, which leaves no file.

The system lets go of it when the process ends, however it ends. In a bucket, and on a disk that knows no locks, nobody
waits for anybody. It knows folders, and no tags.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from clipdata import hints
from clipdata.errors import TransientError
from clipdata.storage import is_remote, redact

_LOOK_S, _MOST_S = 0.01, 30.0


@contextmanager
def alone_with_tags(uri: str) -> Iterator[None]:
    """Keep other processes of this machine, and other threads, from the tags of a table while the block runs.

    Args:
        uri: absolute, of the table.

    Raises:
        TransientError: another one keeps them for half a minute.
    """
    descriptor = _folder(uri)
    try:
        if descriptor is not None:
            _take(descriptor, uri)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)  # lets go of the lock


def _folder(uri: str) -> int | None:
    """The table's folder, opened; None where it cannot be locked."""
    if is_remote(uri) or os.name != "posix":
        return None
    try:
        return os.open(uri, os.O_RDONLY)
    except OSError:  # whatever follows says what is wrong with it
        return None


def _take(descriptor: int, uri: str) -> None:
    import fcntl

    give_up = time.monotonic() + _MOST_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > give_up:
                raise TransientError(
                    f"another process has been at the tags of {redact(uri)} for {_MOST_S:.0f} seconds", hint=hints.AGAIN
                ) from error
            time.sleep(_LOOK_S)
        except OSError:  # a file system without locks on folders
            return
        else:
            return
