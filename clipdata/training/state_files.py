"""State files of a run: written so that a crash leaves the old one or the new one, and named in every error about them.

It knows files and errors, and nothing of what a run is.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from clipdata.disk import sync
from clipdata.errors import StorageError
from clipdata.folder_lock import in_turn
from clipdata.json_parsing import json_kind, parse_json

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NEARLY_NOTHING_BYTES = 1 << 16
_SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)")  # as Rust writes it
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Tell a failure to write a file or folder as one: where, why, and what to do.

    Raises:
        StorageError: the disk is full, may only be read, or failed.
    """
    try:
        yield
    except StorageError as error:
        if error.hint is None and isinstance(error.__cause__, (OSError, SafetensorError)):
            error.hint = _hint(path, _number_of(error.__cause__, path))
        raise
    except (OSError, SafetensorError, RuntimeError) as error:
        number = _number_of(error, path)
        if number is None and not (isinstance(error, OSError) or _is_about_files(error)):
            raise
        why = os.strerror(number) if number else str(error).splitlines()[0]
        raise StorageError(f"cannot write {path}: {why}", hint=_hint(path, number)) from error


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; of several who do so at once, the last one's stays.

    Raises:
        StorageError: it cannot be written.
    """
    aside = path.with_name(f".{path.name}.writing")
    with writing(path), in_turn(path.parent):
        try:
            aside.write_bytes(data)
            sync(aside)
            aside.rename(path)
        finally:
            aside.unlink(missing_ok=True)  # it would hold what little room a full disk has
        sync(path.parent)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file whole or not at all.

    Raises:
        StorageError: it cannot be written.
    """
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def read_json(path: Path, *, hint: str) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        hint: what to do where it cannot be read.

    Raises:
        FileNotFoundError, NotADirectoryError: there is no such file.
        StorageError: it cannot be read, or holds something else.
    """
    try:
        value = parse_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise
    except (OSError, ValueError) as error:  # UnicodeDecodeError is a ValueError
        raise StorageError(f"{path} cannot be read: {error}", hint=hint) from error
    if not isinstance(value, dict):
        raise StorageError(f"{path} holds {json_kind(value)}; expected a JSON object", hint=hint)
    return value


def _number_of(error: Exception, path: Path) -> int | None:
    """The system's number of an error, also where a library tells it in words of its own or leaves it out."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    said = _SYSTEM_ERROR.search(str(error))
    if said:
        return int(said[1])
    folder = next((parent for parent in path.parents if parent.is_dir()), path)
    if _is_about_files(error) and shutil.disk_usage(folder).free < _NEARLY_NOTHING_BYTES:
        return errno.ENOSPC
    return None


def _is_about_files(error: Exception) -> bool:
    """Tell whether a library's own error is about writing, by what it says."""
    said = str(error)
    return isinstance(error, SafetensorError) or "PytorchStreamWriter" in said or "unexpected pos" in said


def _hint(path: Path, number: int | None) -> str:
    if number in _READ_ONLY:
        another, again = (
            "choose a folder that can be written: another --out",
            "the same command goes on where it stopped",
        )
        return another if number == errno.EROFS else f"let this user write to {path.parent}, and {again}; or {another}"
    if number in _FULL:
        return f"make room on the disk of {path.parent}; then the same command goes on where it stopped"
    return "the same command goes on where it stopped"
