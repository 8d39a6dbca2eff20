"""The current folder: where relative paths begin, and what is said once it is gone. Knows paths alone."""

from __future__ import annotations

import os
from pathlib import Path

from clipdata.errors import NotFoundError
from clipdata.printable import shell_word


def absolute_path(path: str | os.PathLike[str]) -> Path:
    """A path of this machine that does not depend on the current folder; `~` is the home folder.

    Raises:
        NotFoundError: it begins at the current folder, which is gone.
    """
    try:
        return Path(path).expanduser().absolute()
    except FileNotFoundError as error:
        raise _gone(f", so nothing says where {os.fspath(path)!r} is") from error


def require_current_folder() -> None:
    """Say so where the current folder is gone, in which some libraries end the program without a word.

    Raises:
        NotFoundError: it was removed, by this machine or another one.
    """
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise _gone("") from error


def _gone(so: str) -> NotFoundError:
    was = os.environ.get("PWD", "")
    there = next((place for place in (Path(was), *Path(was).parents) if place.is_dir()), Path.home()) if was else None
    told = f" (it was {was})" if was else ""
    return NotFoundError(
        f"the current folder is gone{told}{so}",
        hint=f"change into one that exists: cd {shell_word(str(there)) if there else 'FOLDER'}",
    )
