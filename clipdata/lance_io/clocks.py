"""Clocks: how far this machine's runs ahead of the one that stamps the files of a table.

Ages are told by two clocks, and whoever's own runs ahead takes what is being written now for something old. It knows
storages, and nothing of what ages are for.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from clipdata.errors import ClipdataError
from clipdata.lance_io.state import StateFolder, state_uri
from clipdata.lance_io.table import Table
from clipdata.objects.removing import remove
from clipdata.storage import is_remote, join

FOLDER = "clock"


def ahead_of_storage(table: Table) -> timedelta:
    """How far this machine's clock is ahead of the storage's; negative where it is behind, nothing where nobody tells.

    An empty record is written beside the table, looked at and removed, with what folders were made for it.
    """
    records, name = StateFolder(table, FOLDER), f"{uuid.uuid4().hex}.tmp"  # of one who is killed here it is cleaned up
    place = join(records.uri, name)
    fs, path = table.storage.filesystem(place)
    made = [] if is_remote(table.uri) else [one for one in (records.uri, state_uri(table)) if not os.path.exists(one)]
    try:
        before = datetime.now(UTC)
        _write_empty(fs, path)
        fs.invalidate_cache()
        stamped = moment_of(fs.info(path))
    except Exception:  # a full disk, a bucket that lets nobody write: what follows says so, if it matters there
        return timedelta(0)
    finally:
        with suppress(ClipdataError):
            remove(table.storage, place)
        with suppress(OSError):  # somebody else is at work there
            for folder in made:
                os.rmdir(folder)
    return before - stamped if stamped is not None else timedelta(0)


def _write_empty(fs: Any, path: str) -> None:
    for is_last in (False, False, True):
        try:
            fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            fs.pipe_file(path, b"")
        except FileNotFoundError:  # another process looked at its clock, and just removed the folder
            if is_last:
                raise
        else:
            return


def moment_of(about: Mapping[str, Any]) -> datetime | None:
    """When a file was changed, as a storage tells it; None where it does not."""
    found = next((about[name] for name in ("LastModified", "last_modified", "updated", "mtime") if name in about), None)
    if isinstance(found, int | float):
        return datetime.fromtimestamp(found, UTC)
    if isinstance(found, str):
        found = datetime.fromisoformat(found)
    return found if isinstance(found, datetime) and found.tzinfo is not None else None
