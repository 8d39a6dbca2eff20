"""WebDataset shards out: what open_clip's own reader streams, and what `TarShards` takes in again without loss.

The bytes of a shard depend on nothing but the rows, so an export that was killed goes on where it stopped. A shard is
written aside and renamed (or uploaded whole), never seen half done. Image bytes are those of the table.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
import tempfile
from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata.arguments import check_count
from clipdata.disk import sync, sync_above
from clipdata.errors import ConcurrentChangeError, UsageError
from clipdata.exports.bucket_places import AGAIN
from clipdata.exports.outcome import Exported
from clipdata.exports.places import alone
from clipdata.exports.selection import NO_PICTURE, Selection
from clipdata.exports.shard_manifest import NAME, SIZES, Manifest, load_manifest
from clipdata.exports.shard_members import COUNTED, SampleMembers
from clipdata.lance_io.referring import referred_by
from clipdata.objects.references import References
from clipdata.objects.removing import remove
from clipdata.progress import Counter, Progress
from clipdata.storage import Storage, is_remote, join, redact

ROWS_PER_SHARD = 1000
BLOCK = 512  # of a tar
REFUSED = {"without_image": NO_PICTURE, "not_an_image": "what the row holds is no picture"}
NOTED = {
    "without_caption": "samples without a caption, passed over by open_clip",
    "other_formats": "samples neither jpg, png nor webp, passed over by open_clip",
}
"""What a shard counts, in the words of the report."""
_CHUNK_ROWS = 64
_LOOKED_AT = 64  # rows from which a dry run tells the size of all
_OURS = re.compile(r"\d{5,}\.tar|\.\d{5,}\.tar\.part")


def export_shards(
    selection: Selection,
    out: str,
    storage: Storage,
    progress: Progress,
    *,
    columns: Sequence[str] | None = None,
    rows_per_shard: int = ROWS_PER_SHARD,
    caption: str | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
) -> Exported:
    """Write rows as tar shards of image, txt and json.

    Args:
        selection: of rows of a table with a column of images, whoever made it.
        out: folder or URL; empty, or that of an export with the same arguments, which is then completed.
        storage: how to reach the folder.
        progress: watches the rows go by.
        columns: columns for the JSON; by default all but images, other bytes, and vectors of more than 16 numbers.
        rows_per_shard: rows a shard.
        caption: column for the txt: text, or a list of texts, of which the first is taken; by default `caption`, else
            `captions`; "" for no txt.
        overwrite: replace another export in that folder: its shards go, and nothing else.
        dry_run: write nothing, and say what would be written.

    Raises:
        SchemaError: there is no column of images; or a column does not exist, or holds what JSON cannot.
        UsageError: the folder holds something else.
        TransientError: another process writes there.
        ConcurrentChangeError: another one wrote other rows there meanwhile, in a bucket or on a disk without locks.
        StorageError: the disk is full, or the folder cannot be written.
    """
    members = SampleMembers.of(selection.table, columns, caption)
    job = _Export(selection, out, storage, rows_per_shard, members)
    if dry_run:
        return job.tried(overwrite=overwrite)
    with alone(out, storage, "export"):
        return job.run(progress, overwrite=overwrite)


class _Export:
    def __init__(
        self, selection: Selection, out: str, storage: Storage, rows_per_shard: int, members: SampleMembers
    ) -> None:
        check_count(rows_per_shard, "export: rows_per_shard", least=1)
        self.selection, self.table, self.out, self.storage = selection, selection.table, out, storage
        self.rows_per_shard, self.members = rows_per_shard, members
        self.request = {
            "table": redact(self.table.uri),
            "version": self.table.version,
            "where": selection.where,
            "limit": selection.limit,
            "sample": selection.sample,
            "seed": selection.seed,
            "rows_per_shard": rows_per_shard,
            "columns": list(members.columns),
            "caption": members.caption,
        }
        self.fs, self.folder = storage.filesystem(out)

    def run(self, progress: Progress, *, overwrite: bool) -> Exported:
        offsets = self.selection.offsets()
        if not len(offsets):  # no folder is made for nothing, nor one emptied
            return self._report(self._fresh(()), 0)
        manifest = self._start(overwrite=overwrite)
        names = self._names(len(offsets))
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
                self._check_ours(name)
                self._put(NAME, manifest.to_json())
        self._remove(name for name in manifest.replaces if name not in names)
        if not any(manifest.shards[name]["samples"] for name in names):
            return self._withdrawn(manifest, names)
        self._check_ours()
        if gone := [name for name in names if not self._is_done(name, manifest)]:
            found = f"{redact(self.out)} holds {', '.join(gone[:3])} not as it was written"
            raise ConcurrentChangeError(f"{found}: another export wrote there at the same time", hint=AGAIN)
        sizes = {name: manifest.shards[name]["samples"] for name in names}
        self._put(SIZES, json.dumps(sizes, indent=1) + "\n")
        self._put(NAME, replace(manifest, replaces=(), complete=True).to_json())
        return self._report(manifest, num_new)

    def _check_ours(self, written: str = "") -> None:
        """Make sure that the record there is still that of this export. Another one's no longer holds.

        Args:
            written: shard that was just written, over whatever was there.

        Raises:
            ConcurrentChangeError: another export began there.
        """
        present = load_manifest(self.out, self.storage)
        if present is None or present.request != self.request:
            if present is not None and present.complete:
                shards = {name: counts for name, counts in present.shards.items() if name != written}
                self._put(NAME, replace(present, shards=shards, complete=False).to_json())
            raise ConcurrentChangeError(f"another export writes to {redact(self.out)} at the same time", hint=AGAIN)

    def _withdrawn(self, manifest: Manifest, names: Sequence[str]) -> Exported:
        """Leave nothing of an export that has no sample, so that nobody takes an empty folder for one."""
        self._remove([*names, NAME])
        if not is_remote(self.out):
            with suppress(OSError):
                Path(self.folder).rmdir()
        return replace(self._report(manifest, 0), num_files=0, num_bytes=0)

    def tried(self, *, overwrite: bool) -> Exported:
        """What `run` would write, as far as a look at the rows tells."""
        present = self._present(overwrite=overwrite)
        offsets = self.selection.offsets()
        names = self._names(len(offsets))
        manifest = present if present is not None and present.request == self.request else self._fresh(())
        num_new = sum(not self._is_done(name, manifest) for name in names)
        counts: dict[str, dict[str, int]] = {name: {} for name in names}
        counts[""] = {"samples": len(offsets), "bytes": self._size_of(offsets) + 2 * BLOCK * len(names)}
        report = self._report(replace(manifest, shards=counts), num_new)
        return replace(report, num_files=len(names), dry_run=True)

    def _names(self, num_rows: int) -> list[str]:
        return [f"{number:05d}.tar" for number in range(-(-num_rows // self.rows_per_shard))]

    def _size_of(self, offsets: np.ndarray) -> int:
        """Bytes of the samples: the images' as the table has them, where it has, and of the rest what some rows say."""
        sizes = self.table.schema.names.count("bytes") and self.table.schema.field("bytes").type
        is_told = bool(sizes) and pa.types.is_integer(sizes)
        looked_at = offsets[np.linspace(0, len(offsets) - 1, min(len(offsets), _LOOKED_AT)).astype(np.int64)]
        names = [name for name in self.members.read if name != self.members.image or not is_told]
        rows = self.table.take(looked_at, names).to_pylist() if len(offsets) else []
        beside = [self.members.told(row) if is_told else self.members.of_row(row, Tally()) for row in rows]
        each = [sum(BLOCK + _padded(len(data)) for data in one.values()) for one in beside]
        whole = int(len(offsets) * np.mean(each)) if each else 0
        if is_told:
            chunks = (offsets[start : start + 65_536] for start in range(0, len(offsets), 65_536))
            whole += sum(pc.sum(self.table.take(chunk, ["bytes"]).column(0)).as_py() or 0 for chunk in chunks)
            whole += 3 * BLOCK // 2 * len(offsets)
        return whole

    def _start(self, *, overwrite: bool) -> Manifest:
        """The manifest to go on with: that of the same export, or a fresh one.

        A former export is first of all no longer a whole one; then its shards go; so whoever is killed meanwhile leaves
        no shard that looks like one of the new export's.
        """
        present = self._present(overwrite=overwrite)
        if present is not None and present.request == self.request:
            return present
        self.fs.makedirs(self.folder, exist_ok=True)
        replaced = self._former(present) if present is not None else ()
        fresh = self._fresh(replaced)
        self._put(NAME, fresh.to_json())
        self._remove((*replaced, *([SIZES] if replaced else [])))
        return fresh

    def _fresh(self, replaced: Sequence[str]) -> Manifest:
        schema = self.table.schema.empty_table().select(list(self.members.columns)).schema.remove_metadata()
        return Manifest(self.request, schema, replaces=tuple(replaced))

    def _present(self, *, overwrite: bool) -> Manifest | None:
        """The manifest that is there.

        Raises:
            UsageError: the folder holds another export, or something else.
        """
        present = load_manifest(self.out, self.storage)
        if present is not None and present.request != self.request and not overwrite:
            differing = [word for word in self.request if self.request[word] != present.request.get(word)]
            raise UsageError(
                f"{redact(self.out)} holds another export; {', '.join(differing)} differ",
                hint="export to another folder, or with overwrite",
            )
        if present is None and self.fs.exists(self.folder) and not self._is_empty():
            raise UsageError(
                f"{redact(self.out)} is not empty and holds no export; expected an empty folder",
                hint="export to another folder",
            )
        return present

    def _is_empty(self) -> bool:
        """Whether nothing is in the folder but what an export left that was killed before it recorded anything."""
        return all(place.endswith(f"/{NAME}.part") for place in self.fs.ls(self.folder, detail=False))

    def _former(self, manifest: Manifest) -> tuple[str, ...]:
        """Names of the shards that a former export left: those it recorded, and those that it was killed before."""
        there = {place.rstrip("/").rpartition("/")[2] for place in self.fs.ls(self.folder, detail=False)}
        ours = {name for name in there if _OURS.fullmatch(name)}
        return tuple(sorted(ours | (there & {*manifest.shards, *manifest.replaces})))

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            remove(self.storage, join(self.out, name))

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
                    sync(aside)
                    aside.replace(Path(self.folder) / name)
                else:
                    self.fs.put_file(str(written), join(self.folder, name))
            finally:
                written.unlink(missing_ok=True)
        return counts

    def _fill(self, stream: IO[bytes], number: int, offsets: np.ndarray, counter: Counter) -> dict[str, int]:
        tally: Tally[str] = Tally(dict.fromkeys(COUNTED, 0))
        digits = len(str(self.rows_per_shard - 1))
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for place, row in enumerate(self._rows(offsets)):
                members = self.members.of_row(row, tally)
                for suffix, data in members.items():
                    _add(archive, f"{number:05d}{place:0{digits}d}.{suffix}", data)
                counter.advance()
        return dict(tally)

    def _rows(self, offsets: np.ndarray) -> Iterator[dict[str, Any]]:
        starts = range(0, len(offsets), _CHUNK_ROWS)
        chunks = ((start, self.table.take(offsets[start : start + _CHUNK_ROWS], self.members.read)) for start in starts)
        for _, rows in References(self.table.storage).filled(chunks):
            yield from rows.to_pylist()

    def _put(self, name: str, text: str) -> None:
        place = join(self.folder, name)
        if is_remote(self.out):
            self.fs.pipe_file(place, text.encode())
            return
        aside = Path(f"{place}.part")
        aside.write_text(text, encoding="utf-8")
        sync(aside)
        aside.replace(place)
        sync_above(Path(place))

    def _report(self, manifest: Manifest, num_new: int) -> Exported:
        total: Tally[str] = Tally()
        for counts in manifest.shards.values():
            total.update(counts)
        return Exported(
            out=redact(self.out),
            format="shards",
            version=self.table.version,
            num_rows=total["samples"],
            num_bytes=total["bytes"],
            num_files=len(manifest.shards),
            num_new_files=num_new,
            refused={words: total[name] for name, words in REFUSED.items() if total[name]},
            columns=self.members.columns,
            left_out=self.members.left_out,
            notes={words: total[name] for name, words in NOTED.items() if total[name]},
            pictures_from=tuple(referred.words for referred in referred_by(self.table, look=False)),
        )


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    info.mode = 0o644
    archive.addfile(info, io.BytesIO(data))


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
