"""Damage to the files of a real table, as disks and people do it."""

from __future__ import annotations

import os
from pathlib import Path

import clipdata as cd


def flip(path: Path, at: int, num_bytes: int = 1) -> None:
    """Turn all bits of some bytes over; `at` counts from the end where it is negative."""
    held = bytearray(path.read_bytes())
    start = at % len(held)
    for place in range(start, start + num_bytes):
        held[place] ^= 0xFF
    path.write_bytes(held)


def cut(path: Path, num_bytes: int | None = None) -> None:
    """Leave the first bytes of a file, half of them unless it is said how many."""
    os.truncate(path, path.stat().st_size // 2 if num_bytes is None else num_bytes)


def manifest(uri: str | Path, version: int) -> Path:
    """The file that makes a version."""
    return Path(uri) / "_versions" / f"{2**64 - 1 - version}.manifest"


def data_files(uri: str | Path, column: str, *, version: int | None = None) -> list[Path]:
    """The files with the values of a column, fragment by fragment."""
    dataset = cd.open_table(uri, version=version).dataset
    number = next(field.id() for field in dataset.lance_schema.fields() if field.name() == column)
    return [
        Path(uri) / "data" / file.path
        for fragment in dataset.get_fragments()
        for file in fragment.metadata.files
        if number in file.fields
    ]
