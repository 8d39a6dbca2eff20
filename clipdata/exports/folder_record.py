"""The record by which a folder says that an export wrote it, and whether it is complete. It knows no format."""

from __future__ import annotations

from typing import Any

from clipdata.json_parsing import parse_json
from clipdata.storage import Storage, join

RECORD = ".clipdata-export.json"  # a name that readers of folders pass over


def has_entries(fs: Any, path: str) -> bool:
    """Whether anything is in a folder, or below a prefix."""
    try:
        return bool(fs.ls(path, detail=False))
    except (FileNotFoundError, NotADirectoryError):
        return False


def record_of(out: str, storage: Storage) -> dict[str, Any] | None:
    """What an export left in a folder to say what it is; None where there is none."""
    fs, path = storage.filesystem(join(out, RECORD))
    try:
        found = parse_json(fs.cat_file(path))
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None
