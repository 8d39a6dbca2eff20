"""A folder of pictures as a source of the viewer: a row for each file that its name says is one.

A file that an ingest would refuse is a row, too, with the reason in place of the picture. A name that is no UTF-8 is
shown with those bytes spelled out.
"""

from __future__ import annotations

import os
from collections import Counter as Tally
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from clipdata.errors import ImageRefused, NotFoundError
from clipdata.images import IMAGE_SUFFIXES, OTHER_SUFFIXES
from clipdata.plurals import counted
from clipdata.printable import storable
from clipdata.viewer.sources.filterable import Filterable

_PICTURE = "image"
_SUFFIXES = IMAGE_SUFFIXES | OTHER_SUFFIXES.keys()


class PictureFolder:
    """Pictures below a folder, sorted by their path; links are not followed.

    Args:
        folder: of them.

    Raises:
        NotFoundError: no file below it is called as a picture is.
    """

    kind = "folder"
    version: int | None = None
    key: str | None = "path"

    def __init__(self, folder: Path) -> None:
        self.location = str(folder)
        self._root = folder
        walk = _Walk(folder)
        found = sorted(walk.pictures())
        if not found:
            suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
            raise NotFoundError(f"there is no picture below {folder}; expected files named {suffixes}")
        self._files = [path for path, *_ in found]
        self.notes = tuple(f"{counted(num, kind)} left out" for kind, num in walk.left_out.items())
        paths = [storable(path) for path in self._files]
        self._rows = pa.table(
            {
                "path": paths,
                "filename": [path.rpartition("/")[2] for path in paths],
                "folder": [path.rpartition("/")[0] for path in paths],
                "bytes": pa.array([size for _, size, _ in found], pa.int64()),
                "mtime": pa.array([datetime.fromtimestamp(at, UTC) for *_, at in found], pa.timestamp("s", tz="UTC")),
            }
        )
        self.num_rows = len(found)
        self.picture: str | None = _PICTURE
        self.schema = pa.schema([*self._rows.schema, pa.field(_PICTURE, pa.binary())])
        self._filterable = Filterable(self.schema, self.read)

    def positions(self, where: str | None) -> np.ndarray:
        """See `Source`."""
        return np.arange(self.num_rows, dtype=np.uint32) if where is None else self._filterable.positions(where)

    def read(self, columns: Sequence[str]) -> pa.Table:
        """See `Source`."""
        return self._rows.select(list(columns))

    def take(self, positions: np.ndarray, columns: Sequence[str]) -> pa.Table:
        """See `Source`."""
        return self._rows.select(list(columns)).take(pa.array(positions))

    def picture_of(self, position: int) -> bytes | None:
        """See `Source`."""
        try:
            return (self._root / self._files[position]).read_bytes()
        except OSError as error:
            raise ImageRefused("missing", f"the file cannot be read: {error.strerror}") from error


class _Walk:
    """The files below a folder that `clipdata ingest images` would look at, whatever their names are made of.

    Args:
        root: of them.

    Attributes:
        left_out: what is not among them, by kind.
    """

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self.left_out: Tally[str] = Tally()

    def pictures(self, below: str = "") -> Iterator[tuple[str, int, float]]:
        """Path, size and time of every file."""
        try:
            with os.scandir(os.path.join(self._root, below)) as found:
                entries = list(found)
        except PermissionError:
            self.left_out["folder that may not be read"] += 1
            return
        for entry in entries:
            path = f"{below}/{entry.name}" if below else entry.name
            if entry.name.startswith("."):
                continue
            is_named = os.path.splitext(path)[1].lower() in _SUFFIXES
            if entry.is_dir(follow_symlinks=False):
                yield from self.pictures(path)
            elif entry.is_symlink() and (is_named or entry.is_dir()):
                self.left_out["link"] += 1
            elif is_named and not entry.is_file(follow_symlinks=False):
                self.left_out["pipe, socket or device"] += 1
            elif is_named:
                about = entry.stat()
                yield path, about.st_size, about.st_mtime
