"""A file or a folder on disk that an export writes aside and renames at the end. It knows no format."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from clipdata.disk import sync, sync_above, sync_below
from clipdata.exports.folder_record import RECORD


class _Local:
    """What files and folders on disk share: a name aside, which is only this process's where no lock keeps others out.

    Args:
        out: where to.
        is_alone: whether a lock does, so that what lies under the name aside is of one who was killed.
    """

    def __init__(self, out: str, *, is_alone: bool) -> None:
        self.out = Path(out)
        own = "" if is_alone else f".{uuid.uuid4().hex[:8]}"
        self.aside, self.former = (self.out.parent / f".{self.out.name}{own}.{word}" for word in ("part", "former"))
        self.num_files = self.num_bytes = 0

    def discard(self) -> None:
        """Remove what was written."""
        shutil.rmtree(self.aside, ignore_errors=True)
        with suppress(OSError):
            self.aside.unlink(missing_ok=True)


class LocalFile(_Local):
    """One file on disk."""

    @contextmanager
    def open(self, name: str = "") -> Iterator[IO[bytes]]:
        """A stream into the file aside."""
        self.aside.parent.mkdir(parents=True, exist_ok=True)
        with self.aside.open("wb") as stream:
            yield stream
        self.num_files, self.num_bytes = 1, self.aside.stat().st_size

    def publish(self, record: Mapping[str, Any]) -> None:
        """Rename it."""
        sync(self.aside)
        self.aside.replace(self.out)
        sync_above(self.out)


class LocalFolder(_Local):
    """A folder on disk."""

    def __init__(self, out: str, *, is_alone: bool) -> None:
        super().__init__(out, is_alone=is_alone)
        self._begun = False

    @contextmanager
    def open(self, name: str = "") -> Iterator[IO[bytes]]:
        """A stream into a file of the folder aside."""
        file = self._file(name)
        with file.open("wb") as stream:
            yield stream
        self.num_files, self.num_bytes = self.num_files + 1, self.num_bytes + file.stat().st_size

    def put(self, name: str, data: bytes) -> None:
        """Write a small file."""
        self._file(name).write_bytes(data)
        self.num_files, self.num_bytes = self.num_files + 1, self.num_bytes + len(data)

    def begin(self) -> Path:
        """The folder aside, empty at first."""
        if not self._begun:
            shutil.rmtree(self.aside, ignore_errors=True)  # of one who was killed
            self._begun = True
        return self.aside

    def publish(self, record: Mapping[str, Any]) -> None:
        """Put the folder in the place of the one that is there; a kill in between leaves the old one beside it."""
        self._file(RECORD).write_text(
            json.dumps({**record, "complete": True}, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        sync_below(self.aside)
        shutil.rmtree(self.former, ignore_errors=True)
        if self.out.exists():
            self.out.rename(self.former)
        self.aside.rename(self.out)
        sync_above(self.out)
        shutil.rmtree(self.former, ignore_errors=True)

    def _file(self, name: str) -> Path:
        file = self.begin() / name
        file.parent.mkdir(parents=True, exist_ok=True)
        return file
