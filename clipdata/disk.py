"""The disk: have it hold what an operating system still holds back.

What names a file is forced to the disk behind that file, and a file that takes another's name before it does. Else a
loss of power may keep the name and lose what was in it. It knows files, and not what they hold.
"""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_NOTHING_TO_HOLD = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF}
"""What file systems answer whose folders cannot be forced: those in memory, of networks, or that are never written."""
_LOST = {errno.EIO, errno.ENOSPC, errno.EDQUOT}
_AT_ONCE = 16


def sync(path: str | Path) -> None:
    """Have the disk hold what was written to a file, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NOTHING_TO_HOLD or not os.path.isdir(path):
            raise
    finally:
        os.close(descriptor)


def sync_below(path: Path) -> None:
    """Have the disk hold a file, or all files of a folder and then their names."""
    if not path.is_dir():
        sync(path)
        return
    with ThreadPoolExecutor(_AT_ONCE) as pool:  # a disk takes many for little more than one
        for folder, _, names in os.walk(path, topdown=False):
            list(pool.map(sync, [os.path.join(folder, name) for name in names]))
            sync(folder)


def sync_above(path: Path) -> None:
    """Have the disk hold the name of a file or folder, and those of folders above it, as far as they can be read."""
    for folder in path.absolute().parents:
        try:
            sync(folder)
        except OSError as error:
            if error.errno in _LOST:
                raise
