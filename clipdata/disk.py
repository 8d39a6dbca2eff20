"""The disk: have it hold what an operating system still holds back.

What names a file is forced to the disk behind that file, and a file that takes another's name before it does. Else a
loss of power may keep the name and lose what was in it. It knows files, and not what they hold.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def sync(path: str | Path) -> None:
    """Have the disk hold what was written to a file, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_below(path: Path) -> None:
    """Have the disk hold a file, or all files of a folder and then their names."""
    for folder, _, names in os.walk(path, topdown=False):
        for name in names:
            sync(Path(folder, name))
        sync(folder)
    if not path.is_dir():
        sync(path)


def sync_above(path: Path) -> None:
    """Have the disk hold under what name a file or folder lies, and the folders above it."""
    for folder in path.absolute().parents:
        with suppress(PermissionError):  # it may be passed through, and not be read
            sync(folder)
