"""No table: what lies where a table was expected, and what to type for it. It looks at names of files, and in none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from clipdata import hints
from clipdata.errors import NotFoundError, UsageError
from clipdata.file_kinds import kind_of_file
from clipdata.images.formats import IMAGE_SUFFIXES
from clipdata.objects.local_places import kind_at
from clipdata.printable import shell_word

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
            f"{location} is a file; expected a Lance table, which is a folder", hint=_hint_of_file(named, path)
        )
    if kind is None:
        hint = _hint_of_version(named, location) or f"make one: {hints.ingest(named)}"
        raise NotFoundError(f"there is no table at {location}", hint=hint)
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


def _hint_of_file(named: str, path: Path) -> str | None:
    """What takes a file; None where nothing does."""
    if hints.is_file_of_rows(named):
        return hints.ingest_file(named)
    found = kind_of_file(path)
    return f"it is {found.name}: {found.mend}" if found is not None else None


def _hint_of_version(named: str, location: str) -> str | None:
    """How a version is named, where what was typed is a table and a version as they are printed: t.lance@3."""
    version = location.rpartition("@")[2]
    table = named.removesuffix(f"@{version}")
    if table == named or not version or not Path(location.removesuffix(f"@{version}"), "_versions").is_dir():
        return None
    return (
        f"a version is named apart from its table: clipdata show {hints.typed(table)} --version {shell_word(version)}; "
        "diff and restore take it as a word after the table"
    )


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(place, name) for name in sorted(names))
