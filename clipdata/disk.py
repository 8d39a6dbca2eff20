"""The disk: have it hold what an operating system still holds back.

A record that names a file is forced to the disk after that file. Else a loss of power may keep the record and lose what
it names. It knows files, and not what is in them.
"""

from __future__ import annotations

import os
from pathlib import Path


def sync(path: str | Path) -> None:
    """Have the disk hold what was written to a file or folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
