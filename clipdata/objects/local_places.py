"""Local places: whether a path is a folder, a file or nothing, where one may not even look being none of the three.

`os.path.isdir` and its like say of a place behind a locked folder that nothing is there, and whoever believes it makes
a second table, or tells a person to.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Literal

from clipdata.errors import CredentialsError, StorageError

_NOTHING = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EINVAL, errno.ENAMETOOLONG}


def kind_at(path: str | os.PathLike[str]) -> Literal["folder", "file"] | None:
    """What a path leads to, links followed; None where nothing is.

    Raises:
        CredentialsError: a folder above it may not be looked into.
        StorageError: the disk, or what it is mounted from, does not say.
    """
    try:
        mode = os.stat(path).st_mode
    except ValueError:  # a NUL in it
        return None
    except PermissionError as error:
        raise CredentialsError(
            f"{os.fspath(path)} may not be looked at: {error.strerror}",
            hint="ask its owner for the right to read the folders above it",
        ) from error
    except OSError as error:
        if error.errno in _NOTHING:
            return None
        raise StorageError(f"{os.fspath(path)} cannot be looked at: {error.strerror}") from error
    return "folder" if stat.S_ISDIR(mode) else "file"
