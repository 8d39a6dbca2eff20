"""A walk through a local folder: its regular files with a suffix, and why other things that bear it are refused.

Links that lead out of the folder, pipes and devices are refused, and so is a name that is not UTF-8, because no table
could hold it. It knows the file system, and nothing of what the files hold.
"""

from __future__ import annotations

import os
import stat
from collections import Counter as Tally
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path

from clipdata.errors import NotFoundError
from clipdata.objects.stamps import Stamp
from ingest.updating.source import Reject


class FolderWalk:
    """Files below a folder, sorted folder by folder.

    Args:
        root: absolute path.
        suffixes: lower case; other files are counted in `ignored`.
    """

    def __init__(self, root: str, suffixes: Collection[str]) -> None:
        self._root, self._suffixes = Path(root), suffixes
        self.ignored: Tally[str] = Tally()
        self.refused: list[Reject] = []

    def __iter__(self) -> Iterator[tuple[str, Stamp]]:
        """Yield (path, stamp) of each file.

        Raises:
            NotFoundError: the root is no folder.
        """
        if not self._root.exists():
            raise NotFoundError(
                f"there is no folder {self._root}", hint="check the path; a bucket is written gs://… or s3://…"
            )
        if not self._root.is_dir():
            raise NotFoundError(
                f"{self._root} is a file; expected a folder of images", hint=f"give its folder: {self._root.parent}"
            )
        yield from self._walk(self._root, self._root.resolve())

    def _walk(self, folder: Path, real_root: Path) -> Iterator[tuple[str, Stamp]]:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
        except PermissionError as error:
            self.refused.append(self._refusal(folder, "unreadable", str(error)))
            return
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(Path(entry.path), real_root)
            else:
                found = self._file(entry, real_root)
                if isinstance(found, Reject):
                    self.refused.append(found)
                elif found is not None:
                    yield entry.path, found

    def _file(self, entry: os.DirEntry[str], real_root: Path) -> Stamp | Reject | None:
        path = Path(entry.path)
        if path.suffix.lower() not in self._suffixes and not entry.is_symlink():
            self.ignored[printable(path.suffix.lower())] += 1
            return None
        try:
            os.fspath(path).encode()
        except UnicodeEncodeError:
            return self._refusal(path, "bad_name", "the file name is not UTF-8")
        if entry.is_symlink() and not path.resolve().is_relative_to(real_root):
            return self._refusal(path, "link_outside", f"it points to {path.resolve()}")
        try:
            about = path.stat()
        except OSError as error:
            return self._refusal(path, "missing" if isinstance(error, FileNotFoundError) else "unreadable", str(error))
        if stat.S_ISDIR(about.st_mode):  # a link to a folder inside: its files are met where they are
            return None
        if not stat.S_ISREG(about.st_mode):
            return self._refusal(path, "not_a_file", "it is a pipe, socket or device")
        if path.suffix.lower() not in self._suffixes:
            self.ignored[printable(path.suffix.lower())] += 1
            return None
        return stamp_of_file(about)

    def _refusal(self, path: Path, reason: str, detail: str) -> Reject:
        return Reject(printable(os.path.relpath(path, self._root)), "", reason, printable(detail))


def stamp_of_file(about: os.stat_result) -> Stamp:
    """The stamp of a local file."""
    changed = datetime.fromtimestamp(about.st_mtime, UTC)
    return Stamp(f"{about.st_size}-{about.st_mtime_ns}", about.st_size, changed)


def read_file(path: str, stop: int | None = None) -> tuple[bytes, Stamp]:
    """Read a file, or its first bytes, with the stamp of exactly what was read.

    Raises:
        OSError: it cannot be read, or does not hold still.
    """
    for _ in range(3):
        with open(path, "rb") as file:
            before = os.fstat(file.fileno())
            data = file.read() if stop is None else file.read(stop)
            after = os.fstat(file.fileno())
        expected = after.st_size if stop is None else min(stop, after.st_size)
        if len(data) == expected and (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns):
            return data, stamp_of_file(after)
    raise OSError(f"{path} changes while it is read")


def printable(name: str) -> str:
    """A file's name as text, whatever its bytes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
