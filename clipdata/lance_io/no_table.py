"""No table: what lies where a table was expected, and what to type for it. It looks at names of files, and in none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from clipdata import hints
from clipdata.errors import NotFoundError, UsageError
from clipdata.images.formats import IMAGE_SUFFIXES
from clipdata.objects.local_places import kind_at

_ROWS = (".parquet", ".pq", ".csv", ".tsv", ".jsonl", ".ndjson", ".json")
_LOOKED_AT = 2_000  # files of a folder


def require_table(location: str, uri: str | os.PathLike[str]) -> None:
    """Hold a local place to a folder that can be a table.

    Args:
        location: absolute.
        uri: as the person named it.

    Raises:
        UsageError: its path is no UTF-8.
        NotFoundError: it is none; the hint says what to type for what lies there.
        CredentialsError: a folder above it may not be looked into.
    """
    if any("\ud800" <= letter <= "\udfff" for letter in location):
        raise UsageError(
            f"{location} is no UTF-8, and Lance opens no table at such a path",
            hint=f"give it another name: mv {hints.typed(os.fspath(uri))} NAME" if kind_at(location) else None,
        )
    named, path, kind = os.fspath(uri), Path(location), kind_at(location)
    if kind == "file":
        raise NotFoundError(
            f"{location} is a file; expected a Lance table, which is a folder", hint=hints.ingest_file(named)
        )
    if kind is None:
        raise NotFoundError(f"there is no table at {location}", hint=f"make one: {hints.ingest(named)}")
    if (path / "_versions").is_dir():
        return
    if table := next(path.glob("*/_versions"), None):
        raise NotFoundError(
            f"{location} is a folder of tables; expected one", hint=f"such as {hints.typed(str(table.parent))}"
        )
    kinds = {file.suffix.lower() for file in islice(_files(path), _LOOKED_AT)}
    if kinds & IMAGE_SUFFIXES and not kinds & set(_ROWS[:2]):
        raise NotFoundError(
            f"{location} is a folder of pictures; expected a Lance table", hint=hints.ingest_folder(named, "images")
        )
    if kinds & set(_ROWS):
        raise NotFoundError(
            f"{location} is a folder of files of rows; expected a Lance table",
            hint=hints.ingest_folder(named, "parquet"),
        )


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(place, name) for name in sorted(names))
