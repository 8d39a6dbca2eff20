"""Hints that several errors share: what to type next. A command can be pasted as it stands, whatever a path holds.

It knows the words of the command line, and nothing of what went wrong.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from clipdata.printable import shell_word
from clipdata.storage import redact

AGAIN = "run the same command again; it continues where it stopped"
UNREACHABLE = (
    "nobody answers there: check the endpoint (--storage-option endpoint=…), the network and https_proxy; "
    "the same command continues where it stopped"
)
CREDENTIALS = "pass --anonymous for a public bucket, or set the credentials your cloud's own tools read"
WRITABLE = "choose a folder that can be written"
_ROWS = (".parquet", ".pq", ".csv", ".tsv", ".tab", ".jsonl", ".ndjson")
_PACKED = (".gz", ".bz2", ".xz", ".zst")
_NAMING = (
    "filename", "file_name", "file", "path", "image_path", "filepath", "file_path", "image_file", "image_filename",
    "image_name", "image_id", "image", "img", "picture",
)  # fmt: skip
ROOM = f"free some space, or {WRITABLE}"


def typed(location: str) -> str:
    """A location as it is typed in a shell, without a secret."""
    return shell_word(redact(location))


def table_beside(location: str) -> str:
    """Where a table of what lies at a location may be written; here, where the location has no name of its own."""
    name = os.path.basename(location.rstrip("/"))
    return f"{location.rstrip('/')}.lance" if name.strip(".") else "TABLE.lance"


def log(location: str) -> str:
    """The command that lists a table's versions."""
    return f"clipdata log {typed(location)}"


def check(location: str) -> str:
    """The command that finds damaged files of a table."""
    return f"clipdata check {typed(location)}"


def refresh(location: str, columns: Sequence[str] = ()) -> str:
    """The command that makes columns again that are not what their steps would make."""
    return f"clipdata refresh {typed(location)}" + "".join(f" {shell_word(name)}" for name in columns)


def tags(location: str) -> str:
    """The command that lists a table's tags."""
    return f"clipdata tag {typed(location)} --list"


def tag(location: str) -> str:
    """The command that names a table's newest version."""
    return f"clipdata tag {typed(location)} NAME"


def select(location: str, name: str) -> str:
    """The command that gives rows of a table a name, but for how they are chosen."""
    return f"clipdata select {typed(location)} {shell_word(name)}"


def export(location: str) -> str:
    """The command that writes a table's rows elsewhere."""
    return f"clipdata export {typed(location)} --out DIR"


def compact(location: str) -> str:
    """The command that makes large fragments of a table's small ones."""
    return f"clipdata compact {typed(location)}"


def ingest(location: str) -> str:
    """The command that makes a table of images."""
    return f"clipdata ingest images DIR --into {typed(location)}"


def is_file_of_rows(location: str) -> bool:
    """Whether a file is by its name one that `ingest parquet` reads."""
    name = location.casefold()
    unpacked = next((name.removesuffix(packed) for packed in _PACKED if name.endswith(packed)), name)
    return unpacked.endswith(_ROWS)


def ingest_file(location: str) -> str:
    """The commands that make a table of the rows of a file, and that look at them as they lie."""
    into = table_beside(os.path.splitext(location.rstrip("/"))[0])
    look = f"; or look at it as it lies: clipdata view {typed(location)}" if location.endswith(".parquet") else ""
    makes = "makes a table of parquet, CSV, TSV or JSONL"
    return f"clipdata ingest parquet {typed(location)} --into {typed(into)} --required '' {makes}{look}"


def ingest_folder(location: str, what: str) -> str:
    """The commands that make a table of a folder, and that look at it as it lies.

    Args:
        what: "images" or "parquet".
    """
    into, more = table_beside(location), " --required ''" if what == "parquet" else ""
    made = f"make a table of it: clipdata ingest {what} {typed(location)} --into {typed(into)}{more}"
    return f"{made}; or look at it as it lies: clipdata view {typed(location)}"


def query(location: str, sql: str) -> str:
    """The command that asks a table in SQL."""
    return f"clipdata query {typed(location)} {shell_word(sql)}"


def index(location: str, column: str) -> str:
    """The command that makes an index of a column, or brings it up to date."""
    return f"clipdata index {typed(location)} {shell_word(column)}"


def bench(location: str, model: str | None = None) -> str:
    """The command that tells what limits the rate of a table's rows."""
    return f"clipdata bench {typed(location)}" + (f" --model {shell_word(model)}" if model else "")


def embed(location: str) -> str:
    """The command that makes a column that can be searched."""
    return f"clipdata map {typed(location)} image-embedding image_embedding --model starter"


def naming_column(columns: Sequence[str]) -> str | None:
    """The column of metadata that by its name says which picture a row is of, "filename" before others."""
    usual = [name for name in columns if name.casefold() in _NAMING]
    return "filename" if "filename" in usual else next(iter(usual), None)


def merge_pictures(
    location: str,
    columns: Sequence[str],
    naming: str | None = None,
    *,
    images: str = "IMAGES.lance",
    into: str = "MERGED.lance",
) -> str:
    """The command that joins a table of metadata to the pictures that it names.

    Args:
        columns: of the table.
        naming: one that every row has; without it, or where another one has a usual name for it, that names pictures.
        images, into: as they are typed.
    """
    if naming is None or naming.casefold() not in _NAMING:
        naming = naming_column(columns) or naming or "COLUMN"
    joined = "" if naming == "filename" else f" --metadata-on {shell_word(naming)}"
    return f"clipdata merge {images} {typed(location)}{joined} --into {into}"


def merge_again(location: str) -> str:
    """The command that brings a merged table up to date."""
    return f"clipdata merge IMAGES METADATA --into {typed(location)}"


def drop_columns(location: str, names: list[str]) -> str:
    """The command that removes columns."""
    return f"clipdata drop {typed(location)} {' '.join(map(shell_word, names))} --yes"
