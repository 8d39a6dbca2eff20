"""A walk through a local folder: its files, and why things that look like files cannot be read.

A link is what it points to, as long as that lies inside the folder; what lies outside is taken on request only. Links
that go round in a circle, pipes and devices are refused, and so is a name that is not UTF-8, which no table could hold.
It knows the file system, and nothing of what the files hold.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from clipdata.errors import CredentialsError, NotFoundError
from clipdata.objects.local_places import kind_at
from clipdata.objects.stamps import Stamp
from ingest.pictures.left_out import LeftOut


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a thing in a folder cannot be read.

    Args:
        reason: as of a `Reject`.
        detail: what was found; the same as long as it is there.
    """

    reason: str
    detail: str


class FolderWalk:
    """Files below a folder, sorted folder by folder.

    Args:
        root: absolute path.
        left_out: decides by name, and counts.
        follow_links: take what links point to outside the folder; each folder is met once on a path, so a circle ends.
    """

    def __init__(self, root: str, left_out: LeftOut, *, follow_links: bool = False) -> None:
        self._root, self._left_out, self._follow_links = root, left_out, follow_links
        self._real_root = os.path.realpath(root)

    def __iter__(self) -> Iterator[tuple[str, Stamp | Refusal]]:
        """Yield (path, stamp or refusal) of each file.

        Raises:
            NotFoundError: the root is no folder.
            CredentialsError: the root may not be read.
        """
        root = Path(self._root)
        kind = kind_at(root)
        if kind is None:
            raise NotFoundError(
                f"there is no folder {root}", hint="check the path; a bucket is written gs://… or s3://…"
            )
        if kind == "file":
            raise NotFoundError(
                f"{root} is a file; expected a folder of images", hint=f"give its folder: {root.parent}"
            )
        try:
            waiting = [_Folder(self._root)]
        except PermissionError as error:
            raise CredentialsError(f"the folder {root} may not be read: {error.strerror}") from error
        while waiting:
            entry = next(waiting[-1].entries, None)
            if entry is None:
                waiting.pop()
                continue
            found = self._look(entry, waiting)
            if isinstance(found, _Folder):
                waiting.append(found)
            elif found is not None:
                yield entry.path, found

    def _look(self, entry: os.DirEntry[str], above: list[_Folder]) -> _Folder | Stamp | Refusal | None:
        """A folder, a file, why it cannot be read; None for what is left out."""
        try:
            if entry.is_symlink():
                return self._link(entry, above)
            if entry.is_dir(follow_symlinks=False):
                return _below(above, entry.path)
            return self._file(entry)
        except OSError as error:
            if not self._left_out.is_data(self._inside(entry)):
                return None
            return Refusal("missing" if isinstance(error, FileNotFoundError) else "unreadable", said(error))

    def _link(self, entry: os.DirEntry[str], above: list[_Folder]) -> _Folder | Stamp | Refusal | None:
        if not self._left_out.is_data(self._inside(entry)):
            return self._file(entry)
        try:
            about = os.stat(entry.path)
        except (FileNotFoundError, NotADirectoryError):
            return Refusal("broken_link", f"it points to {printable(os.readlink(entry.path))}, and nothing is there")
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            return Refusal("broken_link", "its links go round in a circle")
        is_folder = stat.S_ISDIR(about.st_mode)
        if not is_folder and not self._left_out.wants(self._inside(entry)):
            return self._file(entry)
        real = os.path.realpath(entry.path)
        if _is_inside(real, self._real_root):
            return None if is_folder else self._file(entry)  # the files of a folder inside are met where they are
        if not self._follow_links:
            return Refusal("link_outside", f"it points to {printable(real)}; {FOLLOW}")
        if not is_folder:
            return self._file(entry)
        return _below(above, entry.path)

    def _file(self, entry: os.DirEntry[str]) -> Stamp | Refusal | None:
        if not self._left_out.takes(self._inside(entry)):
            return None
        try:
            entry.path.encode()
        except UnicodeEncodeError:
            return Refusal("bad_name", "the file name is not UTF-8")
        about = entry.stat()
        if not stat.S_ISREG(about.st_mode):
            return Refusal("not_a_file", "it is a pipe, socket or device")
        return stamp_of_file(about)

    def _inside(self, entry: os.DirEntry[str]) -> str:
        return printable(entry.path[len(self._root) :].lstrip("/"))


class _Folder:
    """What is left of a folder to be looked at, and which folder it is, whatever links led to it."""

    def __init__(self, path: str) -> None:
        about = os.stat(path)
        self.identity = (about.st_dev, about.st_ino)
        with os.scandir(path) as entries:
            self.entries = iter(sorted(entries, key=lambda entry: os.fsencode(entry.name)))


def _below(above: list[_Folder], path: str) -> _Folder | None:
    """A folder to go into; None for one that we are in already, by whatever links."""
    folder = _Folder(path)
    return None if any(folder.identity == other.identity for other in above) else folder


FOLLOW = "--follow-links (follow_links=True) takes what such links point to"


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
        with open(path, "rb", buffering=0) as file:
            before = os.fstat(file.fileno())
            data = file.readall() if stop is None else file.read(stop)
            after = os.fstat(file.fileno())
        expected = after.st_size if stop is None else min(stop, after.st_size)
        if len(data) == expected and (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns):
            return data, stamp_of_file(after)
    raise OSError(f"{path} changes while it is read")


def printable(name: str) -> str:
    """A file's name as text, whatever its bytes."""
    return name if name.isascii() else os.fsencode(name).decode("utf-8", "backslashreplace")


def said(error: OSError) -> str:
    """What an error of the file system says, without the place where it was met."""
    return error.strerror or str(error)


def _is_inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")
