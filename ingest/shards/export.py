"""WebDataset shards out: what open_clip's own reader streams, and what `TarShards` takes in again without loss.

The bytes of a shard depend on nothing but the rows, so an export that was killed goes on where it stopped. A shard is
written aside and renamed (or uploaded whole), never seen half done. Image bytes are those of the table.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
import tempfile
from collections import Counter as Tally
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from clipdata.errors import SchemaError, UsageError
from clipdata.lance_io.pictures import place_columns
from clipdata.lance_io.referring import referred_by
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.objects.references import References
from clipdata.objects.removing import remove
from clipdata.progress import Counter, Progress, Silent
from clipdata.schema import require_columns
from clipdata.storage import Storage, absolute, is_remote, join, redact
from ingest.metadata.json_fields import dump, is_writable
from ingest.shards.manifest import NAME, SIZES, Manifest, load_manifest

ROWS_PER_SHARD = 1000
_CHUNK_ROWS = 64
_IMAGE_COLUMNS = ("image", "format", "uri", "bytes")
_SUFFIXES = {"jpeg": "jpg", "png": "png", "webp": "webp", "gif": "gif", "bmp": "bmp", "tiff": "tif"}
_READ_BY_OPEN_CLIP = ("jpg", "png", "webp")
_MAX_VECTOR = 16


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Args:
        out: folder of the shards.
        num_shards: shards there are now.
        num_new_shards: of these, written by this call.
        num_samples: samples in all shards.
        num_bytes: bytes of all shards.
        num_without_caption: samples that open_clip will pass over, because they have no text.
        num_other_formats: samples that open_clip will pass over, because it reads jpg, png and webp only.
        num_without_image: rows left out, because their image is neither in the table nor where `uri` says.
        columns: fields in the JSON of each sample.
        left_out: columns that JSON cannot hold, or that are long vectors.
        pictures_from: other tables that the rows refer to for their pictures, and of which these were read.
    """

    out: str
    num_shards: int
    num_new_shards: int
    num_samples: int
    num_bytes: int
    num_without_caption: int
    num_other_formats: int
    num_without_image: int
    columns: tuple[str, ...]
    left_out: tuple[str, ...]
    pictures_from: tuple[str, ...] = ()

    def __str__(self) -> str:
        size = f"{self.num_samples:,} samples in {self.num_shards:,} shards, {self.num_bytes:,} bytes"
        lines = [f"{redact(self.out)}: {size} ({self.num_new_shards:,} shards written now)"]
        counts = {
            "without a caption, passed over by open_clip": self.num_without_caption,
            "neither jpg, png nor webp, passed over by open_clip": self.num_other_formats,
            "without an image, left out": self.num_without_image,
        }
        lines += [f"  {count:,} {words}" for words, count in counts.items() if count]
        if self.left_out:
            lines.append(f"  columns left out: {', '.join(self.left_out)}")
        if self.pictures_from:
            lines.append(f"  pictures read from {', '.join(self.pictures_from)}")
        return "\n".join(lines)


def export_shards(
    table: AnyTable,
    out: str | os.PathLike[str],
    *,
    where: str | None = None,
    rows_per_shard: int = ROWS_PER_SHARD,
    columns: Sequence[str] | None = None,
    caption: str | None = None,
    overwrite: bool = False,
    storage: Storage | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Write rows as tar shards of image, txt and json.

    Args:
        table: a table with image rows.
        out: folder or URL; empty, or that of an export with the same arguments, which is then completed.
        where: clause that selects the rows.
        rows_per_shard: rows a shard.
        columns: columns for the JSON; by default all but images, other bytes, and vectors of more than 16 numbers.
        caption: column for the txt: text, or a list of texts, of which the first is taken; by default `caption`, else
            `captions`.
        overwrite: replace another export in that folder.
        storage: how to reach the folder; by default as the table.
        progress: watches the rows go by.

    Raises:
        SchemaError: a column does not exist, or holds what JSON cannot.
        UsageError: the folder holds something else; or there is no caption column.
    """
    table = as_table(table, storage=storage)
    job = _Export(table, absolute(out), storage or table.storage, where, rows_per_shard, columns, caption)
    return job.run(progress or Silent(), overwrite=overwrite)


class _Export:
    def __init__(
        self,
        table: Table,
        out: str,
        storage: Storage,
        where: str | None,
        rows_per_shard: int,
        columns: Sequence[str] | None,
        caption: str | None,
    ) -> None:
        if rows_per_shard < 1:
            raise UsageError(f"rows_per_shard is {rows_per_shard}; expected at least 1")
        require_columns(table.schema, ["image", "format"], verb="export shards", where=redact(table.uri))
        self.table, self.out, self.storage, self.where = table, out, storage, where
        self.rows_per_shard = rows_per_shard
        self.columns, self.left_out = _fields(table, columns)
        self.caption = _caption_column(table, caption)
        self.request = {
            "table": redact(table.uri),
            "version": table.version,
            "where": where,
            "rows_per_shard": rows_per_shard,
            "columns": self.columns,
            "caption": self.caption,
        }
        self.fs, self.folder = storage.filesystem(out)

    def run(self, progress: Progress, *, overwrite: bool) -> Exported:
        schema = self.table.schema.empty_table().select(self.columns).schema.remove_metadata()
        manifest = self._start(Manifest(self.request, schema), overwrite=overwrite)
        offsets = self.table.offsets(self.where)
        num_shards = -(-len(offsets) // self.rows_per_shard)
        names = [f"{number:05d}.tar" for number in range(num_shards)]
        num_new = 0
        with progress.task("export shards", len(offsets), "rows") as counter:
            for number, name in enumerate(names):
                mine = offsets[number * self.rows_per_shard : (number + 1) * self.rows_per_shard]
                if self._is_done(name, manifest):
                    counter.advance(len(mine))
                    continue
                counts = self._write_shard(name, number, mine, counter)
                num_new += 1
                manifest = replace(manifest, shards={**manifest.shards, name: counts})
                self._put(NAME, manifest.to_json())
        sizes = {name: manifest.shards[name]["samples"] for name in names}
        self._put(SIZES, json.dumps(sizes, indent=1) + "\n")
        self._put(NAME, replace(manifest, complete=True).to_json())
        return self._report(manifest, num_new)

    def _start(self, fresh: Manifest, *, overwrite: bool) -> Manifest:
        """The manifest to go on with: that of the same export, or a fresh one in an empty folder."""
        present = load_manifest(self.out, self.storage)
        if present is not None and present.request == fresh.request:
            return present
        if present is not None and overwrite:
            for name in (*present.shards, SIZES, NAME):
                remove(self.storage, join(self.out, name))
        elif present is not None:
            differing = [word for word in fresh.request if fresh.request[word] != present.request.get(word)]
            raise UsageError(
                f"{redact(self.out)} holds another export; {', '.join(differing)} differ",
                hint="export to another folder, or with overwrite",
            )
        elif self.fs.exists(self.folder) and self.fs.ls(self.folder):
            raise UsageError(
                f"{redact(self.out)} is not empty and holds no export; expected an empty folder",
                hint="export to another folder",
            )
        self.fs.makedirs(self.folder, exist_ok=True)
        self._put(NAME, fresh.to_json())
        return fresh

    def _is_done(self, name: str, manifest: Manifest) -> bool:
        counts, place = manifest.shards.get(name), join(self.folder, name)
        return counts is not None and self.fs.exists(place) and self.fs.info(place)["size"] == counts["bytes"]

    def _write_shard(self, name: str, number: int, offsets: np.ndarray, counter: Counter) -> dict[str, int]:
        aside = Path(self.folder) / f".{name}.part" if not is_remote(self.out) else None
        with tempfile.TemporaryDirectory() as scratch:
            written = aside or Path(scratch) / name
            try:
                with written.open("wb") as stream:
                    counts = self._fill(stream, number, offsets, counter)
                counts["bytes"] = written.stat().st_size
                if aside:
                    aside.replace(Path(self.folder) / name)
                else:
                    self.fs.put_file(str(written), join(self.folder, name))
            finally:
                written.unlink(missing_ok=True)
        return counts

    def _fill(self, stream: IO[bytes], number: int, offsets: np.ndarray, counter: Counter) -> dict[str, int]:
        tally: Tally[str] = Tally({"samples": 0, "without_caption": 0, "other_formats": 0, "without_image": 0})
        digits = len(str(self.rows_per_shard - 1))
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for place, row in enumerate(self._rows(offsets)):
                members = self._members(row, tally)
                for suffix, data in members.items():
                    _add(archive, f"{number:05d}{place:0{digits}d}.{suffix}", data)
                counter.advance()
        return dict(tally)

    def _rows(self, offsets: np.ndarray) -> Iterator[dict[str, Any]]:
        wanted = [*_IMAGE_COLUMNS, *self.columns, *([self.caption] if self.caption else [])]
        names = [name for name in dict.fromkeys(wanted) if name in self.table.schema.names]
        starts = range(0, len(offsets), _CHUNK_ROWS)
        chunks = ((start, self.table.take(offsets[start : start + _CHUNK_ROWS], names)) for start in starts)
        for _, rows in References(self.table.storage).filled(chunks):
            yield from rows.to_pylist()

    def _members(self, row: Mapping[str, Any], tally: Tally[str]) -> dict[str, bytes]:
        """The files of one sample by suffix; none when there is no image."""
        data = row["image"]
        if data is None:
            tally["without_image"] += 1
            return {}
        suffix = _SUFFIXES.get(row["format"] or "", "bin")
        members = {suffix: data, "json": dump({name: row[name] for name in self.columns}).encode()}
        text = row[self.caption] if self.caption else None
        text = text[0] if isinstance(text, list) and text else text
        if isinstance(text, str):
            members["txt"] = text.encode()
        tally["samples"] += 1
        tally["without_caption"] += "txt" not in members
        tally["other_formats"] += suffix not in _READ_BY_OPEN_CLIP
        return members

    def _put(self, name: str, text: str) -> None:
        place = join(self.folder, name)
        if is_remote(self.out):
            self.fs.pipe_file(place, text.encode())
            return
        aside = Path(f"{place}.part")
        aside.write_text(text, encoding="utf-8")
        aside.replace(place)

    def _report(self, manifest: Manifest, num_new: int) -> Exported:
        total: Tally[str] = Tally()
        for counts in manifest.shards.values():
            total.update(counts)
        return Exported(
            out=self.out,
            num_shards=len(manifest.shards),
            num_new_shards=num_new,
            num_samples=total["samples"],
            num_bytes=total["bytes"],
            num_without_caption=total["without_caption"],
            num_other_formats=total["other_formats"],
            num_without_image=total["without_image"],
            columns=tuple(self.columns),
            left_out=tuple(self.left_out),
            pictures_from=tuple(referred.words for referred in referred_by(self.table, look=False)),
        )


def _fields(table: Table, columns: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """Columns for the JSON, and those left out of it."""
    if columns is not None:
        table.require(columns, verb="export shards")
        wrong = [name for name in columns if not is_writable(table.schema.field(name).type)]
        if wrong:
            kinds = ", ".join(f"{name!r} ({table.schema.field(name).type})" for name in wrong)
            raise SchemaError(
                f"export shards: JSON cannot hold {kinds}; expected text, numbers, times or lists of them"
            )
        return list(columns), []
    aside = ("image", "etag", *place_columns(table.schema))
    own = [column for column in table.schema if column.name not in aside]
    kept = [c.name for c in own if is_writable(c.type) and getattr(c.type, "list_size", 0) <= _MAX_VECTOR]
    return kept, [column.name for column in own if column.name not in kept]


def _caption_column(table: Table, caption: str | None) -> str | None:
    if caption is not None:
        table.require([caption], verb="export shards")
        return caption
    return next((name for name in ("caption", "captions") if name in table.schema.names), None)


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    info.mode = 0o644
    archive.addfile(info, io.BytesIO(data))
