"""Which kind of source a location is: a Lance table, parquet, or a folder of pictures."""

from __future__ import annotations

import os
from pathlib import Path

from clipdata.errors import NotFoundError, UsageError
from clipdata.lance_io.table import AnyTable, Table, open_table
from clipdata.storage import Storage, is_remote
from clipdata.viewer.sources.lance_table import LanceTable
from clipdata.viewer.sources.parquet_file import ParquetFile
from clipdata.viewer.sources.picture_folder import PictureFolder
from clipdata.viewer.sources.protocol import Source

_PARQUET = (".parquet", ".pq")


def open_source(what: AnyTable, *, version: int | str | None = None, storage: Storage | None = None) -> Source:
    """Open what is to be looked at.

    Args:
        what: a table, or the location of one; a parquet file, a folder of such files, or a folder of pictures.
        version: number or tag, of a table.
        storage: how to reach it.

    Raises:
        NotFoundError: there is nothing there that can be looked at.
        UsageError: a version was given of what has none.
    """
    if isinstance(what, Table):
        return LanceTable(what if version is None else what.pinned(version))  # type: ignore[arg-type]
    location = os.fspath(what)
    path = Path(location)
    if is_remote(location) or _is_lance(path) or not path.exists():
        return LanceTable(open_table(location, version=version, storage=storage))
    if version is not None:
        raise UsageError(f"{location} is no Lance table, so it has no version {version!r}", hint="leave --version out")
    if path.is_file():
        if path.suffix.lower() in _PARQUET:
            return ParquetFile(location, [path])
        raise NotFoundError(f"{location} is a file; expected a Lance table, a .parquet file or a folder of pictures")
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in _PARQUET and file.is_file())
    return ParquetFile(location, files) if files else PictureFolder(path)


def _is_lance(path: Path) -> bool:
    return (path / "_versions").is_dir()
