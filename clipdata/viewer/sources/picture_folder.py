"""A folder of pictures as a source of the viewer: a row for each file that its name says is one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from clipdata.errors import ImageRefused, NotFoundError
from clipdata.images import IMAGE_SUFFIXES
from clipdata.viewer.sources.filterable import Filterable

_PICTURE = "image"


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
        found = sorted(_pictures(str(folder), ""))
        if not found:
            suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
            raise NotFoundError(f"there is no picture below {folder}; expected files named {suffixes}")
        paths = [path for path, *_ in found]
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
        path = self._rows.column("path")[position].as_py()
        try:
            return (self._root / path).read_bytes()
        except OSError as error:
            raise ImageRefused("missing", f"the file cannot be read: {error.strerror}") from error


def _pictures(root: str, below: str) -> Iterator[tuple[str, int, float]]:
    """Path, size and time of every file that is called as a picture is."""
    with os.scandir(os.path.join(root, below)) as entries:
        for entry in entries:
            path = f"{below}/{entry.name}" if below else entry.name
            if entry.name.startswith(".") or not entry.name.isprintable():
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _pictures(root, path)
            elif entry.is_file(follow_symlinks=False) and os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES:
                about = entry.stat()
                yield path, about.st_size, about.st_mtime
