"""A disk that loses power: it has what was forced to it, and nothing else.

The strictest reading of POSIX: of a file the bytes that it had when it was forced, of a folder the names that it had
then. Names that were added since are not there; what was forced by name alone is empty; what was removed since and not
forced is there again. It sees what Python forces, and nobody else here does.
"""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

Inode = tuple[int, int]


class Disk:
    """Remembers what was forced under a folder, from now on; what is there now counts as forced.

    Args:
        folder: below which files are looked at.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: dict[Inode, dict[str, Inode]] = {}
        self._bytes: dict[Inode, bytes] = {}
        self._lock = threading.Lock()
        for path in filter(Path.exists, (folder, *folder.rglob("*"))):
            self._keep(path)
        forced = os.fsync

        def fsync(descriptor: int) -> None:
            forced(descriptor)
            path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
            if path == folder or folder in path.parents:
                self._keep(path)

        os.fsync = fsync

    def leave(self, target: Path) -> None:
        """Write what the disk has to another folder."""
        with self._lock:
            self._leave(_inode(self._folder), target)

    def _keep(self, path: Path) -> None:
        with self._lock:
            inode = _inode(path)
            if path.is_dir():
                there = [entry for entry in os.scandir(path) if os.path.exists(entry.path)]  # some lead nowhere
                self._names[inode] = {entry.name: _inode(Path(entry.path)) for entry in there}
            else:
                self._bytes[inode] = path.read_bytes()

    def _leave(self, inode: Inode, target: Path) -> None:
        if not stat.S_ISDIR(inode[1]):
            target.write_bytes(self._bytes.get(inode, b""))
            return
        target.mkdir()
        for name, inner in self._names.get(inode, {}).items():
            self._leave(inner, target / name)


def _inode(path: Path) -> Inode:
    about = path.stat()
    return about.st_ino, stat.S_IFMT(about.st_mode)
