"""Pictures that a row names and that lie beside the row's file. Nothing outside the file's folder is read."""

from __future__ import annotations

import os
from pathlib import PurePosixPath

from clipdata.errors import ImageRefused
from clipdata.plurals import counted
from clipdata.storage import Storage, is_remote


def read_beside(where: str, path: str, storage: Storage, max_bytes: int) -> bytes:
    """Read a picture by its path relative to a file.

    Args:
        where: location of the file that names it.
        path: as the file gives it.
        storage: how to reach both.
        max_bytes: longest picture to read.

    Raises:
        ImageRefused: the row names none, it is not there, lies elsewhere, or is too long.
    """
    if not path:
        raise ImageRefused("missing", "the row holds no picture")
    plain = PurePosixPath(path.replace("\\", "/"))
    if plain.is_absolute() or ".." in plain.parts or "://" in path:
        raise ImageRefused("missing", f"it is kept elsewhere: {path}")
    fs, file = storage.filesystem(where)
    folder = file.rpartition("/")[0]
    place = f"{folder}/{plain}"
    if not is_remote(where) and not os.path.realpath(place).startswith(f"{os.path.realpath(folder)}{os.sep}"):
        raise ImageRefused("missing", f"it is kept elsewhere: {path}")
    try:
        size = fs.info(place)["size"]
        if size > max_bytes:
            raise ImageRefused("too_large", f"{counted(size, 'byte')}; the limit is {max_bytes:,}")
        data: bytes = fs.cat_file(place)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise ImageRefused("missing", f"it is kept elsewhere: {path}") from error
    return data
