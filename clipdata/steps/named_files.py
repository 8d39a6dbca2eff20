"""Named files: what a step was given as a file, told in its lineage by the file's name and the digest of its bytes.

So a file may move, and the column is gone on with; another file of the same name is another parameter. A step takes
what its lineage tells in place of a path, and finds the file by it. This module knows files, and no step.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any

from clipdata.errors import NotFoundError, UsageError

_TOLD = re.compile(r"(?P<name>.+)@sha256:(?P<digest>[0-9a-f]{64})")


def is_told(given: Any) -> bool:
    """Whether it is a file as a lineage tells it."""
    return isinstance(given, str) and _TOLD.fullmatch(given) is not None


def read_named(given: Any, *, asker: str, argument: str) -> tuple[Path, bytes, str]:
    """Read a file.

    Args:
        given: its path; or what a lineage tells of it, and then it lies in the current folder under its name.
        asker: who was given it, for messages.
        argument: as which.

    Returns:
        its path, its bytes, and what a lineage tells of it: "concepts.txt@sha256:…".

    Raises:
        NotFoundError: there is no such file.
        UsageError: it is no path, or another file lies in its place.
    """
    if not isinstance(given, str | os.PathLike):
        raise UsageError(f"{asker}: {argument} is {given!r:.80}; expected a file")
    told = _TOLD.fullmatch(os.fspath(given)) if is_told(given) else None
    path = Path(told["name"] if told else given)
    try:
        data = path.read_bytes()
    except OSError as error:
        found = "there is no such file" if isinstance(error, FileNotFoundError) else error.strerror
        where = f"; it is looked for in {Path.cwd()}" if not path.is_absolute() else ""
        raise NotFoundError(f"{asker}: {argument} is {str(path)!r}: {found}{where}") from error
    digest = hashlib.sha256(data).hexdigest()
    if told and told["digest"] != digest:
        raise UsageError(
            f"{asker}: {argument} {path} is another file than the one the column was made with "
            f"(sha256 {digest[:12]}… instead of {told['digest'][:12]}…)",
            hint=f"put the file of that digest in its place: {told['digest']}",
        )
    return path, data, f"{path.name}@sha256:{digest}"
