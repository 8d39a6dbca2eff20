"""Export: rows of a table as files, in the format that was asked for. It knows all formats, and no other verb."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from clipdata.errors import UsageError
from clipdata.exports import lance_copy
from clipdata.exports.delimited import Delimited
from clipdata.exports.formats import About, Format, check_columns, choose
from clipdata.exports.image_folder import ImageFolder
from clipdata.exports.json_lines import JsonLines
from clipdata.exports.outcome import Exported
from clipdata.exports.parquet import Parquet
from clipdata.exports.places import alone, check_free, opened
from clipdata.exports.selection import Selection
from clipdata.exports.shards import export_shards
from clipdata.lance_io.pictures import place_columns
from clipdata.lance_io.referring import referred_by
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.progress import Counter, Progress, Silent
from clipdata.schema import picture_column
from clipdata.storage import Storage, absolute, redact

FORMATS = ("parquet", "csv", "tsv", "jsonl", "folder", "shards", "lance")
SUFFIXES = {
    ".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl",
    ".lance": "lance",
}  # fmt: skip
_OWN_OPTIONS = {
    "shards": ("rows_per_shard", "caption"),
    "folder": ("split_column",),
    "csv": ("bom",),
    "tsv": ("bom",),
}


def export(
    table: AnyTable,
    out: str | os.PathLike[str],
    *,
    format: str | None = None,  # noqa: A002 - the command line's word
    where: str | None = None,
    columns: Sequence[str] | None = None,
    limit: int | None = None,
    sample: int | None = None,
    seed: int = 0,
    rows_per_shard: int | None = None,
    caption: str | None = None,
    split_column: str | None = None,
    bom: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    storage: Storage | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Write rows of a table as files that other tools read.

    Pictures keep their bytes; those that rows only refer to are read. Whatever ends an export, nothing is left that
    looks whole; shards alone go on where they stopped.

    Args:
        table: read at its version; with or without pictures, whoever made it.
        out: file, or folder, or URL of either.
        format: "parquet", "csv", "tsv", "jsonl", "folder" (of pictures, with `metadata.jsonl`), "shards" (WebDataset)
            or "lance"; by default what the suffix of `out` says, and shards for a folder without any.
        where: SQL condition on the rows.
        columns: to write; by default all that the format can hold.
        limit: the first so many rows only.
        sample: so many rows only, drawn evenly; the same ones every time.
        seed: of the draw.
        rows_per_shard: of shards; 1,000 by default.
        caption: of shards, the column of the txt; "" for none.
        split_column: of a folder, the column whose values ("train", "test") become its folders.
        bom: of CSV, begin with a byte order mark, for Excel.
        overwrite: replace the file or the export that is there. A folder that holds anything else is never replaced; a
            Lance table gets a new version.
        dry_run: write nothing, and say what would be written.
        storage: how to reach `out`; by default as the table.
        progress: watches the rows go by.

    Raises:
        SchemaError: a column does not exist, or the format cannot hold it.
        UsageError: something is at `out` already, or an argument belongs to another format.
    """
    table = as_table(table, storage=storage).pinned()
    place, settings = absolute(out), storage or table.storage
    if place == table.uri:
        raise UsageError(f"export: {redact(place)} is the table itself; expected another place")
    kind = format_of(place, format)
    given = {"rows_per_shard": rows_per_shard, "caption": caption, "split_column": split_column, "bom": bom or None}
    own = _own_options(kind, given)
    rows: dict[str, Any] = {"where": where, "limit": limit, "sample": sample, "seed": seed}
    if kind == "shards":
        selection = Selection(table, (), **rows)
        return export_shards(
            selection,
            place,
            settings,
            progress or Silent(),
            columns=columns,
            overwrite=overwrite,
            dry_run=dry_run,
            **own,
        )
    if kind == lance_copy.NAME:
        return _copied(
            table, place, settings, progress or Silent(), columns, rows, overwrite=overwrite, dry_run=dry_run
        )
    found = file_format(kind, place, own)
    chosen, left_out = _columns(table, found, columns)
    selection = Selection(table, tuple(chosen), needs_picture=found.needs_picture, **rows)
    job = _FileExport(selection, found, place, settings, tuple(left_out))
    if dry_run:
        check_free(place, settings, is_folder=found.is_folder, overwrite=overwrite)
        return job.tried()
    return job.run(progress or Silent(), overwrite=overwrite)


def format_of(out: str, named: str | None) -> str:
    """The format that was named, or that the name of what is to be written tells.

    Raises:
        UsageError: there is no such format, or no telling which.
    """
    listed = ", ".join(FORMATS)
    if named is not None:
        if named not in FORMATS:
            raise UsageError(f"export: there is no format {named!r}; expected one of {listed}")
        return named
    suffix = os.path.splitext(out.rstrip("/"))[1].lower()
    if suffix in SUFFIXES:
        return SUFFIXES[suffix]
    if suffix:
        raise UsageError(
            f"export: nothing tells the format of {redact(out)}; expected a suffix such as .parquet, or --format",
            hint=f"--format (format=…) takes {listed}",
        )
    return "shards"


def _own_options(kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of one format.

    Raises:
        UsageError: one belongs to another.
    """
    own = {name: value for name, value in given.items() if value is not None}
    for name in own:
        if name not in _OWN_OPTIONS.get(kind, ()):
            others = " and ".join(other for other, names in _OWN_OPTIONS.items() if name in names)
            raise UsageError(f"export: {name} belongs to {others}, and the format is {kind}")
    return own


def file_format(kind: str, out: str, own: Mapping[str, Any]) -> Format:
    """The writer of a format of files; `own` holds its options."""
    makers: dict[str, Callable[[], Format]] = {
        "parquet": lambda: Parquet(is_folder=os.path.splitext(out)[1].lower() not in SUFFIXES),
        "csv": lambda: Delimited(bom=own.get("bom", False)),
        "tsv": lambda: Delimited(delimiter="\t", bom=own.get("bom", False)),
        "jsonl": JsonLines,
        "folder": lambda: ImageFolder(split=own.get("split_column")),
    }
    return makers[kind]()


def _columns(table: Table, found: Format, named: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """The columns to write, and those that are left out of them."""
    if named is None:
        chosen, left_out = choose(found, table.schema, place_columns(table.schema))
    else:
        table.require(named, verb="export")
        if len(set(named)) < len(named) or not named:
            raise UsageError(f"export: columns are {', '.join(named) or 'none'}; expected names, each once")
        check_columns(found, table.schema, named)
        chosen, left_out = list(named), []
    found.check(table.schema, chosen)
    return chosen, left_out


def _copied(
    table: Table,
    out: str,
    storage: Storage,
    progress: Progress,
    columns: Sequence[str] | None,
    rows: Mapping[str, Any],
    *,
    overwrite: bool,
    dry_run: bool,
) -> Exported:
    """An export as another Lance table."""
    if columns is not None:
        table.require(columns, verb="export")
    aside = place_columns(table.schema)
    chosen = tuple(columns) if columns is not None else tuple(n for n in table.schema.names if n not in aside)
    selection = Selection(table, chosen, **rows)
    report = _report(selection, out, lance_copy.NAME, ())
    if dry_run:
        lance_copy.check_free(out, storage, overwrite=overwrite)
        return replace(report, num_rows=selection.num_rows(), num_bytes=selection.size(), num_files=1, dry_run=True)
    record = _record(selection, lance_copy.NAME)
    with alone(out, storage, "export"):
        lance_copy.check_free(out, storage, overwrite=overwrite)
        with progress.task("export lance", selection.num_rows()) as counter:
            made = lance_copy.copy_table(selection, out, record, storage, counter)
    if made is None:
        return replace(report, refused=dict(selection.refused))
    sizes = [file.file_size_bytes or 0 for f in made.dataset.get_fragments() for file in f.metadata.files]
    num_rows, refused = made.num_rows, dict(selection.refused)
    return replace(
        report, num_rows=num_rows, num_bytes=sum(sizes), num_files=len(sizes), num_new_files=len(sizes), refused=refused
    )


class _FileExport:
    """An export as files of our own writing."""

    def __init__(
        self, selection: Selection, found: Format, out: str, storage: Storage, left_out: tuple[str, ...]
    ) -> None:
        self.selection, self.format, self.out, self.storage = selection, found, out, storage
        self.empty = _report(selection, out, found.name, left_out)

    def run(self, progress: Progress, *, overwrite: bool) -> Exported:
        """Write all, and let it appear when it is whole."""
        notes: Mapping[str, Any] = {}
        num_read = 0
        with opened(self.out, self.storage, is_folder=self.format.is_folder, overwrite=overwrite) as place:
            num_rows = self.selection.num_rows()
            about = About(self.selection.picture, num_rows, _record(self.selection, self.format.name))
            with progress.task(f"export {self.format.name}", num_rows) as counter:
                batches = _Counted(self.selection.batches(), counter)
                if batches.first is not None:
                    notes = self.format.write(iter(batches), place, about)
                num_read = batches.num_rows
            not_written = dict(getattr(self.format, "left_out", {}))
            num_written = num_read - sum(not_written.values())
            if num_written:
                place.publish(dict(about.record))
            else:
                place.discard()
        refused = dict(self.selection.refused) | not_written
        files = place.num_files if num_written else 0
        return replace(
            self.empty, num_rows=num_written, num_bytes=place.num_bytes if num_written else 0, num_files=files,
            num_new_files=files, refused=refused, notes=dict(notes),
        )  # fmt: skip

    def tried(self) -> Exported:
        """What `run` would write, as far as a look at some rows tells."""
        num_rows = self.selection.num_rows()
        num_files = num_rows + 1 if self.format.name == "folder" else 1
        return replace(
            self.empty, num_rows=num_rows, num_bytes=self.selection.size(), num_files=num_files, dry_run=True
        )


class _Counted:
    """Batches that are counted as they go by, of which the first is there before anybody asks."""

    def __init__(self, batches: Iterator[pa.RecordBatch], counter: Counter) -> None:
        self.first = next(batches, None)
        self._rest, self._counter = batches, counter
        self.num_rows = 0

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for source in ([self.first] if self.first is not None else [], self._rest):
            for batch in source:
                yield batch
                self.num_rows += batch.num_rows
                self._counter.advance(batch.num_rows)


def _report(selection: Selection, out: str, kind: str, left_out: tuple[str, ...]) -> Exported:
    """A report of an export that wrote nothing yet."""
    table = selection.table
    has_pictures = picture_column(table.schema) in selection.columns
    referred = referred_by(table, look=False) if has_pictures else ()
    return Exported(
        redact(out), kind, table.version, 0, 0, 0, 0, columns=selection.columns, left_out=left_out,
        pictures_from=tuple(one.words for one in referred),
    )  # fmt: skip


def _record(selection: Selection, kind: str) -> dict[str, Any]:
    """What a file may say of where it came from: nothing of folders or buckets."""
    chosen = {name: getattr(selection, name) for name in ("where", "limit", "sample")}
    name = redact(selection.table.uri).rstrip("/").rpartition("/")[2]
    said = {name: value for name, value in chosen.items() if value is not None}
    return {"format": kind, "table": name, "version": selection.table.version, **said}
