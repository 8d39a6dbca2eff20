"""Merge: join a table of images with a table of metadata into one that is trained and scored on.

One output row for each metadata row, sorted so that the rows of one image are neighbours; `group=True` makes one row
an image instead, with lists. The key of a merged row is a digest of the image's path and the metadata row; so merging
again after either side changed writes the new and changed rows only, and what was derived from the others stays.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter as Tally
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from clipdata.errors import UsageError
from clipdata.lance_io import rows
from clipdata.lance_io.history import Properties
from clipdata.lance_io.rows import Written
from clipdata.lance_io.table import Table, open_table
from clipdata.progress import Progress, Silent
from clipdata.schema import key_field
from clipdata.storage import Storage, redact
from ingest.parquet_files import ROW_KEY, row_digests
from ingest.rejects import Rejects
from ingest.source import Reject

KEY = "id"
UNIT_BYTES = 128 << 20
UNIT_ROWS = 4096
EXAMPLES = 5
_INTERNAL = (ROW_KEY, "source")


@dataclass(frozen=True)
class Merged:
    """What a merge did.

    Args:
        table: at the version that holds the rows.
        num_rows: rows of the merged table.
        written: rows inserted, updated and deleted in this run.
        unmatched_metadata: keys of metadata rows without an image.
        unmatched_images: paths of images without metadata.
        renamed: metadata columns that bear an image column's name, and what they are called.
        seconds: wall time.
    """

    table: Table
    num_rows: int
    written: Written
    unmatched_metadata: Sequence[str]
    unmatched_images: Sequence[str]
    renamed: Mapping[str, str]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "table": self.table.uri,
            "version": self.table.version,
            "rows": self.num_rows,
            **asdict(self.written),
            "unmatched_metadata": list(self.unmatched_metadata),
            "unmatched_images": list(self.unmatched_images),
            "renamed": dict(self.renamed),
            "seconds": self.seconds,
        }

    def __str__(self) -> str:
        counts = f"{self.written.inserted:,} new, {self.written.updated:,} replaced, {self.written.deleted:,} removed"
        lines = [f"{redact(self.table.uri)}: {self.num_rows:,} rows merged (version {self.table.version}); {counts}"]
        for what, keys in (("metadata rows without an image", self.unmatched_metadata),):
            if keys:
                lines.append(f"  {what}: {len(keys):,} ({_examples(keys)}); all are listed in the rejects table")
        if self.unmatched_images:
            lines.append(
                f"  images without metadata: {len(self.unmatched_images):,} ({_examples(self.unmatched_images)})"
            )
        lines += [f"  metadata column {old!r} is {new!r} here" for old, new in self.renamed.items()]
        return "\n".join(lines)


def merge(
    images: Table | str | os.PathLike[str],
    metadata: Table | str | os.PathLike[str],
    *,
    into: str | os.PathLike[str],
    on: str = "filename",
    metadata_on: str | None = None,
    group: bool = False,
    storage: Storage | None = None,
    progress: Progress | None = None,
) -> Table:
    """Join images and metadata; see `merge_report` for the counts as well.

    Returns:
        The merged table, at the version that holds the rows.
    """
    return merge_report(
        images, metadata, into=into, on=on, metadata_on=metadata_on, group=group, storage=storage, progress=progress
    ).table


def merge_report(
    images: Table | str | os.PathLike[str],
    metadata: Table | str | os.PathLike[str],
    *,
    into: str | os.PathLike[str],
    on: str = "filename",
    metadata_on: str | None = None,
    group: bool = False,
    storage: Storage | None = None,
    progress: Progress | None = None,
) -> Merged:
    """Join images and metadata, and say what matched.

    Args:
        images: table of image rows.
        metadata: table of metadata rows.
        into: location of the merged table; made when it is not there.
        on: column of the images to join on ("filename", "path", …).
        metadata_on: column of the metadata; by default the same name.
        group: one row an image, with lists of the metadata's values, instead of one row a metadata row.
        storage: how to reach the tables.
        progress: watches the rows go by.

    Raises:
        UsageError: a key that the metadata names belongs to several images.
        SchemaError: a column to join on does not exist.
    """
    started = time.monotonic()
    left, right = (t if isinstance(t, Table) else open_table(t, storage=storage) for t in (images, metadata))
    plan = _Plan(left, right, on, metadata_on or on, group=group)
    table = rows.create_table(into, plan.schema, storage=storage or left.storage)
    first_version = table.version
    table.move_to(rows.add_columns(table, list(plan.schema)[1:]))
    written = _write(table, plan, progress or Silent())
    rejects = Rejects(table)
    for key, count in Tally(plan.unmatched_metadata).items():
        rejects.add(Reject(f"metadata:{key}", "", "no_image", f"{count} metadata rows name {on} {key!r}"))
    rejects.flush()
    table.move_to(table.latest())
    if written.any:
        counts = {"inserted": written.inserted, "updated": written.updated, "deleted": written.deleted}
        origin = {"images": f"{left.uri}@{left.version}", "metadata": f"{right.uri}@{right.version}", "on": on}
        properties = Properties("merge", {**origin, "group": group}, counts, first_version=first_version)
        table.move_to(rows.close_verb(table, properties))
    return Merged(
        table=table,
        num_rows=table.num_rows,
        written=written,
        unmatched_metadata=plan.unmatched_metadata,
        unmatched_images=plan.unmatched_images,
        renamed=plan.renamed,
        seconds=time.monotonic() - started,
    )


class _Plan:
    """Which metadata row goes with which image, decided from the small columns alone."""

    def __init__(self, images: Table, metadata: Table, on: str, metadata_on: str, *, group: bool) -> None:
        images.require([on, "path", "image"], verb="merge")
        metadata.require([metadata_on], verb="merge")
        self.images, self.group = images, group
        self.metadata = metadata.to_table([c for c in metadata.schema.names if c not in _INTERNAL])
        self.renamed = self._renamed(metadata_on, on)
        self.metadata = self.metadata.rename_columns([self.renamed.get(n, n) for n in self.metadata.schema.names])
        names = self.metadata.schema.names
        self.added = [
            name for name in names if name != (self.renamed.get(metadata_on, metadata_on) if metadata_on == on else "")
        ]
        small = images.to_table(list(dict.fromkeys(["path", on, "etag", "bytes"])))
        self.paths, self.etags = small.column("path").to_pylist(), small.column("etag").to_pylist()
        self.sizes = [size or 0 for size in small.column("bytes").to_pylist()]
        keys = self.metadata.column(self.renamed.get(metadata_on, metadata_on)).to_pylist()
        self._match(small.column(on).to_pylist(), keys, on)
        self.schema = self._schema(images)
        self._name_rows()

    def _renamed(self, metadata_on: str, on: str) -> dict[str, str]:
        """New names of metadata columns that clash with a column of the images."""
        taken = set(self.images.schema.names) | {KEY}
        clash = [n for n in self.metadata.schema.names if n in taken and not (n == metadata_on == on)]
        return {name: f"meta_{name}" for name in clash}

    def _match(self, image_keys: Sequence[Any], metadata_keys: Sequence[Any], on: str) -> None:
        """Find the image of each metadata row.

        Raises:
            UsageError: a key is ambiguous on the image side.
        """
        places: dict[Any, list[int]] = {}
        for place, key in enumerate(image_keys):
            places.setdefault(key, []).append(place)
        named = set(metadata_keys)
        ambiguous = {key: found for key, found in places.items() if len(found) > 1 and key in named}
        if ambiguous:
            listed = "".join(
                f"\n  {key}: {', '.join(self.paths[place] for place in found[:3])}"
                for key, found in list(ambiguous.items())[:EXAMPLES]
            )
            raise UsageError(
                f"{len(ambiguous):,} values of {on!r} that the metadata names belong to several images:{listed}",
                hint="merge on a column that is unique among the images: --on path (the metadata must have it too)",
            )
        found = [(places[key][0], row) for row, key in enumerate(metadata_keys) if key in places]
        self.pairs = sorted(found, key=lambda pair: (self.paths[pair[0]], pair[1]))
        self.unmatched_metadata = [str(key) for key in metadata_keys if key not in places]
        matched = {place for place, _ in found}
        self.unmatched_images = [path for place, path in enumerate(self.paths) if place not in matched]

    def _schema(self, images: Table) -> pa.Schema:
        carried = [column.with_nullable(True).remove_metadata() for column in images.schema if _carried(column)]
        fields = [self.metadata.schema.field(name).remove_metadata() for name in self.added]
        fresh = [pa.field(f.name, pa.list_(f.type) if self.group else f.type) for f in fields]
        return pa.schema([key_field(KEY), *carried, *fresh])

    def _name_rows(self) -> None:
        """Keys and etags of the output rows, in order. An output row is (place of the image, rows of the metadata)."""
        digests = row_digests_of(self.metadata)
        if self.group:
            together: dict[int, list[int]] = {}
            for place, row in self.pairs:
                together.setdefault(place, []).append(row)
            self.outputs = list(together.items())
        else:
            self.outputs = [(place, [row]) for place, row in self.pairs]
        self.keys, self.output_etags = [], []
        seen: Tally[str] = Tally()
        for place, members in self.outputs:
            content = [digests[row] for row in members]
            base = _digest(self.paths[place], *([] if self.group else content))
            seen[base] += 1
            self.keys.append(base if seen[base] == 1 else _digest(base, str(seen[base])))
            etag = str(self.etags[place])
            self.output_etags.append(_digest(etag, *content) if self.group else etag)

    def units(self, wanted: Sequence[int]) -> Iterator[Sequence[int]]:
        """Outputs in runs bounded by rows and bytes."""
        unit: list[int] = []
        size = 0
        for number in wanted:
            unit.append(number)
            size += self.sizes[self.outputs[number][0]]
            if len(unit) >= UNIT_ROWS or size >= UNIT_BYTES:
                yield unit
                unit, size = [], 0
        if unit:
            yield unit

    def build(self, unit: Sequence[int]) -> pa.Table:
        """Read what the rows of a unit need: each image once."""
        places = sorted({self.outputs[number][0] for number in unit})
        carried = [name for name in self.schema.names if name in self.images.schema.names and name not in self.added]
        pictures = self.images.take(np.array(places, np.int64), carried)
        row_of = {place: row for row, place in enumerate(places)}
        take = pa.array([row_of[self.outputs[number][0]] for number in unit], pa.int64())
        columns: dict[str, Any] = {name: pictures.column(name).take(take) for name in carried}
        for name in self.added:
            values = self.metadata.column(name)
            if self.group:
                flat = values.take(pa.array([row for number in unit for row in self.outputs[number][1]], pa.int64()))
                ends = np.cumsum([0, *(len(self.outputs[number][1]) for number in unit)])
                columns[name] = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), flat.combine_chunks())
            else:
                columns[name] = values.take(pa.array([self.outputs[number][1][0] for number in unit], pa.int64()))
        columns[KEY] = pa.array([self.keys[number] for number in unit], pa.string())
        columns["etag"] = pa.array([self.output_etags[number] for number in unit], pa.string())
        return pa.table([columns[name] for name in self.schema.names], schema=self.schema)


def row_digests_of(table: pa.Table) -> list[str]:
    """A digest of each row of a table; equal rows get different ones."""
    counts: Tally[str] = Tally()
    return [digest for batch in table.to_batches() for digest in row_digests(batch, equal_rows=counts)]


def _write(table: Table, plan: _Plan, progress: Progress) -> Written:
    """Write new and changed rows by key, then remove the rows that the two sides no longer give."""
    present: dict[str, str] = {}
    for batch in table.scan([KEY, "etag"], batch_rows=65_536):
        present.update(zip(batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True))
    pairs = enumerate(zip(plan.keys, plan.output_etags, strict=True))
    wanted = [number for number, (key, etag) in pairs if present.get(key) != etag]
    written = Written()
    with progress.task("merge", len(wanted)) as counter:
        for unit in plan.units(wanted):
            written += rows.upsert(table, plan.build(unit), changed="etag")
            counter.advance(len(unit))
    current = set(plan.keys)
    return written + rows.delete_keys(table, [key for key in present if key not in current])


def _carried(column: pa.Field) -> bool:
    """Columns of the images that a merged row carries; what a step derived from them is derived anew."""
    return b"clipdata.lineage" not in (column.metadata or {}) and column.name not in _INTERNAL


def _digest(*parts: str) -> str:
    return hashlib.blake2b("\x00".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _examples(keys: Sequence[str]) -> str:
    return ", ".join(keys[:3]) + (" …" if len(keys) > 3 else "")
