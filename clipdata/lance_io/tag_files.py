"""Tag files on a disk: written aside and renamed, since Lance writes over them in place.

On a full disk Lance leaves an empty file where the tag was, says nothing, and no tag of the table can be read any more.
In a bucket an object is replaced whole, and Lance does it.
"""

from __future__ import annotations

import json
import os
import uuid
from datetime import UTC, datetime
from pathlib import Path

from clipdata import hints
from clipdata.errors import StorageError
from clipdata.lance_io.table import Table
from clipdata.lance_io.version_numbers import FOLDER, named_versions
from clipdata.storage import is_remote, redact

_TAGS = Path("_refs", "tags")


def move_tag(table: Table, name: str, version: int) -> None:
    """Let a tag that is there name another version.

    Raises:
        StorageError: the disk is full, or the folder cannot be written; the tag names what it named.
    """
    file = Path(table.uri) / _TAGS / f"{name}.json"
    if is_remote(table.uri) or not file.is_file():
        table.dataset.tags.update(name, version)
        return
    said = json.loads(file.read_bytes())
    manifest = Path(table.uri, FOLDER, named_versions(table.uri, table.storage)[version])
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    said |= {"version": version, "updatedAt": now, "manifestSize": manifest.stat().st_size}
    _replace(table, file, json.dumps(said, indent=2))


def _replace(table: Table, file: Path, text: str) -> None:
    aside = file.parent.parent / f".{file.name}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        try:
            aside.write_text(text, encoding="utf-8")
            os.replace(aside, file)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"tagging {redact(table.uri)}: {redact(str(error))}", hint=hints.ROOM) from error
