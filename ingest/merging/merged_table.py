"""Merge: join a table of images with a table of metadata into one that is trained and scored on.

One output row for each metadata row, sorted so that the rows of one image are neighbours; `group=True` makes one row
an image instead, with lists. The key of a merged row is a digest of the image's path and the metadata row; so merging
again after either side changed writes the new and changed rows only, and what was derived from the others stays.
"""

from __future__ import annotations

import os
import time
from collections import Counter as Tally
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata.lance_io import rows
from clipdata.lance_io.history import Properties
from clipdata.lance_io.pictures import ROW, TABLE
from clipdata.lance_io.rows import ROWS_PER_FRAGMENT, Written
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.progress import Progress, Silent
from clipdata.schema import key_field
from clipdata.storage import Storage, redact
from ingest.merging.matching import match, names_of
from ingest.merging.picture_rows import COPY_IMAGES, PictureRows
from ingest.metadata.metadata_files import ROW_KEY
from ingest.updating.digests import all_numbered, row_digests
from ingest.updating.reading_ahead import UNIT_BYTES, UNIT_ROWS
from ingest.updating.rejects import Rejects
from ingest.updating.source import Reject

KEY = "id"
# Metadata up to this size is kept in memory; of more, the rows are read when they are written.
HELD_BYTES = 256 << 20
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
        pictures: the version of the images that rows refer to, such as "images.lance@7"; None where they hold copies.
        changed: rows that were there and hold their picture otherwise now: referred to, copied, or of that version.
    """

    table: Table
    num_rows: int
    written: Written
    unmatched_metadata: Sequence[str]
    unmatched_images: Sequence[str]
    renamed: Mapping[str, str]
    seconds: float
    pictures: str | None = None
    changed: int = 0

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
            "pictures": self.pictures,
            "changed": self.changed,
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
        if self.pictures:
            lines.append(
                f"  pictures stay in {self.pictures}, where a tag keeps them; --copy-images writes them here too"
            )
        if self.changed:
            what = "refer to their picture there" if self.pictures else "have a copy of their picture"
            lines.append(f"  {self.changed:,} rows that were here before now {what}")
        return "\n".join(lines)


def merge(
    images: AnyTable,
    metadata: AnyTable,
    *,
    into: str | os.PathLike[str],
    on: str = "filename",
    metadata_on: str | None = None,
    group: bool = False,
    copy_images: bool = COPY_IMAGES,
    storage: Storage | None = None,
    progress: Progress | None = None,
) -> Table:
    """Join images and metadata; see `merge_report` for the counts as well.

    Returns:
        The merged table, at the version that holds the rows.
    """
    return merge_report(
        images,
        metadata,
        into=into,
        on=on,
        metadata_on=metadata_on,
        group=group,
        copy_images=copy_images,
        storage=storage,
        progress=progress,
    ).table


def merge_report(
    images: AnyTable,
    metadata: AnyTable,
    *,
    into: str | os.PathLike[str],
    on: str = "filename",
    metadata_on: str | None = None,
    group: bool = False,
    copy_images: bool = COPY_IMAGES,
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
        copy_images: write the pictures' bytes into the merged table, once for each of its rows, instead of which row of
            `images` holds them; the merged table can then be read without the images.
        storage: how to reach the tables.
        progress: watches the rows go by.

    Raises:
        UsageError: a key that the metadata names belongs to several images.
        SchemaError: a column to join on does not exist.
    """
    started = time.monotonic()
    left, right = as_table(images, storage=storage), as_table(metadata, storage=storage)
    plan = _Plan(left, right, on, metadata_on or on, group=group, copy_images=copy_images)
    table = rows.create_table(into, plan.schema, storage=storage or left.storage)
    first_version = table.version
    table.move_to(rows.add_columns(table, list(plan.schema)[1:]))
    plan.pictures.begin(table)
    written = _write(table, plan, progress or Silent())
    changed = plan.pictures.settle(table, plan.keys, plan.etags, plan.matches.images)
    rejects = Rejects(table)
    unmatched_metadata = [str(key) for key in plan.matches.unmatched_metadata.to_pylist()]
    for key, count in Tally(unmatched_metadata).items():
        rejects.add(Reject(f"metadata:{key}", "", "no_image", f"{count} metadata rows name {on} {key!r}"))
    rejects.flush()
    table.move_to(table.latest())
    if written.any or changed:
        counts = {**asdict(written), "pictures": changed}
        origin = {
            "images": f"{left.uri}@{left.version}",
            "metadata": f"{right.uri}@{right.version}",
            "on": on,
            "copy_images": copy_images,
        }
        properties = Properties("merge", {**origin, "group": group}, counts, first_version=first_version)
        table.move_to(rows.close_verb(table, properties))
    return Merged(
        table=table,
        num_rows=table.num_rows,
        written=written,
        unmatched_metadata=unmatched_metadata,
        unmatched_images=plan.matches.unmatched_images.to_pylist(),
        renamed=plan.renamed,
        seconds=time.monotonic() - started,
        pictures=plan.pictures.words,
        changed=changed,
    )


class _Plan:
    """What the merged table holds: the rows, their names, and how to build them."""

    def __init__(
        self, images: Table, metadata: Table, on: str, metadata_on: str, *, group: bool, copy_images: bool
    ) -> None:
        images.require([on, "path", "image"], verb="merge")
        metadata.require([metadata_on], verb="merge")
        self.images, self.group = images.pinned(), group
        self.pictures = PictureRows(self.images, copy_images)
        carried = [column.with_nullable(True).remove_metadata() for column in images.schema if _carried(column)]
        taken = {*images.schema.names, KEY, ROW, TABLE}
        joined_by_name = metadata_on if metadata_on == on else None
        columns = [c for c in metadata.schema.names if c not in _INTERNAL]
        self.renamed = {name: f"meta_{name}" for name in columns if name in taken and name != joined_by_name}
        self.metadata = _Metadata(metadata, columns, metadata_on, self.renamed)
        self.added = {name: self.renamed.get(name, name) for name in columns if name != joined_by_name}
        fresh = [metadata.schema.field(name).remove_metadata().with_name(new) for name, new in self.added.items()]
        fresh = [pa.field(f.name, pa.list_(f.type) if group else f.type) for f in fresh]
        self.carried = self.pictures.read([column.name for column in carried])
        self.schema = pa.schema([key_field(KEY), *self.pictures.fields(carried), *fresh])

        small = images.to_table(list(dict.fromkeys(["path", on, "etag", "bytes"]))).combine_chunks()
        paths, image_keys, etags = (small.column(name).combine_chunks() for name in ("path", on, "etag"))
        self.sizes = small.column("bytes").fill_null(0).to_numpy() * copy_images
        self.matches = match(paths, image_keys, self.metadata.keys, on=on, group=group)
        self.keys, self.etags = names_of(self.matches, paths, etags, self.metadata.digests, group=group)

    def units(self, wanted: np.ndarray) -> Iterator[np.ndarray]:
        """Outputs in runs bounded by rows and bytes."""
        sizes = self.sizes[self.matches.images[wanted]]
        first = size = 0
        for place in range(len(wanted)):
            size += sizes[place]
            if place + 1 - first >= UNIT_ROWS or size >= UNIT_BYTES:
                yield wanted[first : place + 1]
                first, size = place + 1, 0
        if first < len(wanted):
            yield wanted[first:]

    def build(self, unit: np.ndarray) -> pa.Table:
        """Read what the rows of a unit need: each image once."""
        places, image_of_row = np.unique(self.matches.images[unit], return_inverse=True)
        pictures = self.images.take(places, self.carried).take(pa.array(image_of_row))
        columns: dict[str, Any] = {name: pictures.column(name) for name in self.carried}
        columns |= self.pictures.columns(self.matches.images[unit], self.schema)
        members, starts = self.matches.members_of(unit)
        facts = self.metadata.take(members)
        for name, new in self.added.items():
            values = facts.column(name)
            if self.group:
                values = pa.ListArray.from_arrays(pa.array(starts, pa.int32()), values.combine_chunks())
            columns[new] = values
        columns[KEY], columns["etag"] = (names.take(pa.array(unit)) for names in (self.keys, self.etags))
        return pa.table([columns[name] for name in self.schema.names], schema=self.schema)


class _Metadata:
    """The metadata's rows: keys and digests in memory, the rest too while it is small, else read when it is needed."""

    def __init__(self, table: Table, columns: Sequence[str], key: str, renamed: Mapping[str, str]) -> None:
        self._table, self._columns = table, list(columns)
        keys, digests = [], []
        held: list[pa.RecordBatch] = []
        held_bytes = 0
        for batch in table.scan(self._columns, batch_rows=ROWS_PER_FRAGMENT):
            named = batch.rename_columns([renamed.get(name, name) for name in self._columns])
            digests.append(pa.array(row_digests(named), pa.string()))
            keys.append(batch.column(key))
            held_bytes += batch.nbytes
            if held_bytes <= HELD_BYTES:
                held.append(batch)
            else:
                held.clear()
        kind = table.schema.field(key).type
        self.keys: pa.Array = pa.chunked_array(keys, kind).combine_chunks()
        self.digests = all_numbered(pa.chunked_array(digests, pa.string()))
        schema = pa.schema([table.schema.field(name) for name in self._columns])
        self._held = pa.Table.from_batches(held, schema).combine_chunks() if held_bytes <= HELD_BYTES else None

    def take(self, rows: np.ndarray) -> pa.Table:
        """Rows at positions, in the order given."""
        return self._table.take(rows, self._columns) if self._held is None else self._held.take(pa.array(rows))


def _write(table: Table, plan: _Plan, progress: Progress) -> Written:
    """Write new and changed rows by key, then remove the rows that the two sides no longer give."""
    present = table.to_table([KEY, "etag"]).combine_chunks()
    present_keys, present_etags = present.column(KEY), present.column("etag")
    found = pc.index_in(plan.keys, value_set=present_keys)
    is_same = pc.equal(present_etags.take(found), plan.etags).fill_null(False)
    wanted = np.flatnonzero(~is_same.to_numpy())
    written = Written()
    with progress.task("merge", len(wanted)) as counter:
        for unit in plan.units(wanted):
            written += rows.upsert(table, plan.build(unit), changed="etag")
            counter.advance(len(unit))
    gone = present_keys.filter(pc.invert(pc.is_in(present_keys, value_set=plan.keys)))
    return written + rows.delete_keys(table, gone.to_pylist())


def _carried(column: pa.Field) -> bool:
    """Columns of the images that a merged row carries; what a step derived from them is derived anew."""
    return b"clipdata.lineage" not in (column.metadata or {}) and column.name not in (*_INTERNAL, KEY)


def _examples(keys: Sequence[str]) -> str:
    return ", ".join(keys[:3]) + (" …" if len(keys) > 3 else "")
