"""WebDataset shards in: each sample of a tar becomes an image row with its caption and the fields of its JSON.

Shards are streamed from wherever fsspec reaches and never unpacked to disk. What a hostile archive can hold is dealt
with in `tar_members`; what a drifting JSON can hold, in `json_fields`.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter as Tally
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Literal

import pyarrow as pa

from clipdata import images, retries
from clipdata.errors import ImageRefused, SchemaError
from clipdata.objects.faults import PATIENCE, as_clipdata_error, verdict_on, words_of
from clipdata.prefetch import map_ordered
from clipdata.schema import IMAGE_FIELDS, image_schema
from clipdata.storage import Storage, absolute, is_remote, redact
from ingest.metadata.json_fields import LEFTOVER, JsonColumns, is_writable
from ingest.pictures.image_files import CHECK_THREADS
from ingest.pictures.image_rows import image_record
from ingest.shards.blocks import ArchiveBroken, Readable, WholeStream
from ingest.shards.manifest import read_manifest
from ingest.shards.members import TarLimits, read_members
from ingest.shards.places import find_shards
from ingest.shards.samples import CAPTION, Sample, caption_of, fields_of, group_samples
from ingest.updating.batches import batches_of
from ingest.updating.job import ingest
from ingest.updating.outcome import Ingested
from ingest.updating.source import BrokenFile, Item, Refuse, Reject, source_storage

INFERRED_FROM = 64
IMAGE_MEMBERS = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff")
_READ_MEMBERS = ("txt", "json", "cls")
_READ_AHEAD = 4 << 20
_TOLD_BY_THE_IMAGE = ("format", "width", "height", "bytes", "sha256")
_TAKEN = frozenset({*(column.name for column in IMAGE_FIELDS), CAPTION, LEFTOVER, "source"})


class TarShards:
    """Samples of tar shards: jpg (png, webp, gif, bmp, tiff) beside txt and json of the same name.

    Args:
        where: a shard, a folder of shards, a glob, a brace pattern such as `gs://b/{00000..00099}.tar`, or several.
        storage: how to reach them.
        limits: of one image.
        tar_limits: of one archive.
        columns: json fields that become columns, with their types; by default the export's own record beside the
            shards, else what the first samples have.

    Raises:
        NotFoundError: there is no shard there.
    """

    kind = "shards"
    grain: Literal["file"] = "file"
    key = "path"

    def __init__(
        self,
        where: str | os.PathLike[str] | Sequence[str],
        *,
        storage: Storage | None = None,
        limits: images.ImageLimits | None = None,
        tar_limits: TarLimits | None = None,
        columns: pa.Schema | None = None,
    ) -> None:
        named = [where] if isinstance(where, str | os.PathLike) else list(where)
        self.patterns = [absolute(name) for name in named]
        self.origin = absolute(named[0])
        self.storage = storage or Storage()
        self.limits = limits or images.ImageLimits()
        self.tar_limits = tar_limits or TarLimits()
        unreadable = [str(column) for column in columns or () if not is_writable(column.type)]
        if unreadable:
            listed = ", ".join(unreadable)
            raise SchemaError(f"JSON has no values for {listed}; expected text, numbers, times, or lists of them")
        self._given = columns
        self._columns: JsonColumns | None = None
        self._shards: list[Item] | None = None
        self._ignored: Tally[str] = Tally()

    def notes(self) -> dict[str, Any]:
        """Members of kinds that are not read."""
        if not self._ignored:
            return {}
        kinds = ", ".join(f"{count:,} .{suffix}" for suffix, count in self._ignored.most_common(5))
        return {"other members, ignored": f"{self._ignored.total():,} ({kinds})"}

    def schema(self) -> pa.Schema:
        """The contract's image row, the caption, and the columns made of JSON fields."""
        return image_schema([pa.field(CAPTION, pa.string()), *self._json_columns().fields()])

    def items(self) -> Iterator[Item]:
        """The shards, sorted by name."""
        if self._shards is None:
            self._shards = find_shards(self.patterns, self.storage)
        return iter(self._shards)

    @property
    def options(self) -> dict[str, Any]:
        """What shapes and refuses rows."""
        return {"columns": str(self._given), "limits": repr(self.limits)}

    def covers(self, where: str) -> bool:
        """Whether a shard there would be listed."""
        return any(where.startswith(pattern.split("*")[0].split("{")[0]) for pattern in self.patterns)

    def read_file(self, item: Item, refuse: Refuse) -> Iterator[pa.RecordBatch]:
        """Read a shard from front to back, decoding several samples at a time."""
        broken: list[Reject] = []

        def told(reject: Reject) -> None:
            if reject.key == item.key:
                broken.append(reject)
            else:
                refuse(reject)

        yield from batches_of(self._outcomes(item, told), self.schema(), told)
        if broken:
            raise BrokenFile(broken[0].reason, broken[0].detail)

    def _outcomes(self, item: Item, refuse: Refuse) -> Iterator[dict[str, Any] | Reject]:
        """A row or a reject for each sample of a shard; one more reject when the shard is broken.

        Raises:
            TransientError: the store failed again and again; the shard may be good.
            CredentialsError: the store lets the shard be listed and not read.
        """
        refuse_once = _once(refuse)
        patience = PATIENCE if is_remote(item.where) else replace(PATIENCE, attempts=1)
        try:
            yield from retries.resumed(patience, lambda num_done: self._attempt(item, refuse_once, skip=num_done))
        except OSError as error:
            verdict = verdict_on(error)
            if verdict not in ("missing", "hopeless") and is_remote(item.where):
                raise as_clipdata_error(error, f"reading {redact(item.where)}", self.storage) from error
            reason = "missing" if verdict == "missing" else "unreadable"
            yield Reject(item.key, item.etag, reason, words_of(error, self.storage))

    def _attempt(self, item: Item, refuse: Refuse, *, skip: int) -> Iterator[dict[str, Any] | Reject]:
        """The outcomes of one reading, without the first `skip`."""
        columns = self._json_columns()

        def record(sample: Sample) -> dict[str, Any] | Reject:
            return self._record(item, sample, columns)

        with self._open(item) as stream:
            whole = WholeStream(stream, item.size)
            samples = _until_broken(self._samples(whole, item, refuse), item, refuse)
            wanted = self._tallied(islice(samples, skip, None))
            yield from map_ordered(record, wanted, num_threads=CHECK_THREADS)

    def _samples(self, stream: Readable, item: Item, refuse: Refuse) -> Iterator[Sample]:
        def refuse_member(name: str, reason: str, detail: str) -> None:
            refuse(Reject(f"{item.key}/{name}", item.etag, reason, detail))

        return group_samples(read_members(stream, self.tar_limits, refuse_member), refuse_member)

    def _tallied(self, samples: Iterator[Sample]) -> Iterator[Sample]:
        """The same samples; counts the members that are not read."""
        for sample in samples:
            image = sample.first(IMAGE_MEMBERS)
            self._ignored.update(s for s, m in sample.members.items() if m is not image and s not in _READ_MEMBERS)
            yield sample

    def _open(self, item: Item) -> Any:
        fs, path = self.storage.filesystem(item.where)
        if not is_remote(item.where):
            return fs.open(path, "rb")
        return fs.open(path, "rb", block_size=_READ_AHEAD, cache_type="readahead")

    def _record(self, item: Item, sample: Sample, columns: JsonColumns) -> dict[str, Any] | Reject:
        image = sample.first(IMAGE_MEMBERS)
        if image is None:
            found = ", ".join(sample.members)
            return Reject(f"{item.key}/{sample.key}", item.etag, "missing", f"the sample has no image; it has {found}")
        name = f"{item.key}/{image.name}"
        try:
            row, fields = self._image_row(item, sample)
        except ImageRefused as error:
            return Reject(name, item.etag, error.reason, error.detail)
        return {**row, **columns.values(fields, row)}

    def _image_row(self, item: Item, sample: Sample) -> tuple[dict[str, Any], dict[str, Any]]:
        """The row of a sample without its JSON columns, and the fields for them.

        Raises:
            ImageRefused: a part of the sample cannot be used.
        """
        image = sample.first(IMAGE_MEMBERS)
        assert image is not None, "the caller looked"
        fields = fields_of(sample)
        digest = hashlib.sha256()
        for suffix in sorted(sample.members):
            member = sample.members[suffix]
            digest.update(f"{suffix}\0{len(member.data)}\0".encode())
            digest.update(member.data)
        name = f"{item.key}/{image.name}"
        where = f"tar://{image.name}::{item.where}"
        changed = {"mtime": _moment(image.mtime)}
        row = image_record(Item(name, digest.hexdigest()[:32], None, where, changed), image.data, self.limits)
        return {**row, CAPTION: caption_of(sample, fields)}, fields

    def _json_columns(self) -> JsonColumns:
        if self._columns is None:
            self._columns = self._choose_columns()
        return self._columns

    def _choose_columns(self) -> JsonColumns:
        shards = list(self.items())
        if self._given is not None:
            return JsonColumns.of({column.name: column.type for column in self._given}, _TAKEN)
        manifest = read_manifest(shards[0].where, self.storage)
        if manifest is not None:
            repeated = {*_TOLD_BY_THE_IMAGE, *({CAPTION} if manifest.request.get("caption") == CAPTION else ())}
            return JsonColumns.of({c.name: c.type for c in manifest.columns if c.name not in repeated}, _TAKEN)
        for item in shards:
            looked_at = self._look(item)
            if looked_at:
                return JsonColumns.infer(looked_at, _TAKEN)
        return JsonColumns(taken=_TAKEN)

    def _look(self, item: Item) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Fields and row of a shard's first good samples. What is wrong with the others is said when it is read."""
        found: list[tuple[dict[str, Any], dict[str, Any]]] = []
        try:
            with self._open(item) as stream:
                for sample in _until_broken(self._samples(stream, item, _ignore), item, _ignore):
                    if sample.first(IMAGE_MEMBERS) is not None:
                        try:
                            row, fields = self._image_row(item, sample)
                        except ImageRefused:
                            continue
                        found.append((fields, row))
                    if len(found) >= INFERRED_FROM:
                        break
        except OSError:
            return []
        return found


def _until_broken(samples: Iterator[Sample], item: Item, refuse: Refuse) -> Iterator[Sample]:
    """Samples up to the place where the archive breaks, which is refused by the shard's name."""
    try:
        yield from samples
    except ArchiveBroken as error:
        refuse(Reject(item.key, item.etag, error.reason, error.detail))


def _once(refuse: Refuse) -> Refuse:
    """Refuse each key once, however often a shard is read."""
    said: set[str] = set()

    def refuse_new(reject: Reject) -> None:
        if reject.key not in said:
            said.add(reject.key)
            refuse(reject)

    return refuse_new


def _ignore(_: Reject) -> None:
    """The same refusal comes again when the shard is read."""


def _moment(seconds: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, UTC) if seconds else None
    except (OverflowError, ValueError, OSError):
        return None


def from_shards(
    shards: str | os.PathLike[str] | Sequence[str],
    *,
    into: str | os.PathLike[str],
    columns: pa.Schema | None = None,
    anonymous: bool = False,
    storage: Storage | None = None,
    **options: Any,
) -> Ingested:
    """Take in WebDataset tar shards.

    Args:
        shards: a shard, a folder, a glob, a pattern such as `{00000..00099}.tar`, or several.
        into: location of the table.
        columns: JSON fields that become columns; by default those that keep one type.
        anonymous: the source is public.
        storage: how to reach both.
        options: of `ingest.updating.job.ingest`.
    """
    source = TarShards(shards, columns=columns, storage=source_storage(storage, anonymous=anonymous))
    return ingest(source, into, storage=storage, **options)
