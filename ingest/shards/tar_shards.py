"""WebDataset shards in: each sample of a tar becomes an image row with its caption and the fields of its JSON.

Shards are streamed from wherever fsspec reaches and never unpacked to disk. What a hostile archive can hold is dealt
with in `members` and `inflating`; what a drifting JSON can hold, in `json_fields`.
"""

from __future__ import annotations

import os
import stat
from collections import Counter as Tally
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from itertools import islice
from typing import Any, Literal

import pyarrow as pa

from clipdata import images, retries
from clipdata.errors import ClipdataError, ImageRefused, SchemaError
from clipdata.json_values import is_writable
from clipdata.lance_io.table import exists, open_table
from clipdata.lineage import Lineage
from clipdata.objects.faults import PATIENCE, as_clipdata_error, verdict_on, words_of
from clipdata.prefetch import map_ordered
from clipdata.schema import image_schema
from clipdata.storage import Storage, absolute, is_remote, redact
from ingest.metadata.json_fields import JsonColumns
from ingest.pictures.image_reading import CHECK_THREADS
from ingest.shards.blocks import ArchiveBroken, Readable, WholeStream
from ingest.shards.manifest import Exports
from ingest.shards.members import TarLimits, read_members
from ingest.shards.places import Found, Places, said
from ingest.shards.sample_rows import IMAGE_MEMBERS, READ_MEMBERS, TAKEN, image_row, row_of
from ingest.shards.samples import CAPTION, Sample, group_samples
from ingest.updating.batches import batches_of
from ingest.updating.job import ingest
from ingest.updating.outcome import Ingested
from ingest.updating.source import BrokenFile, Item, Refuse, Reject, source_storage

INFERRED_FROM = 64
_READ_AHEAD = 4 << 20
_TOLD_BY_THE_IMAGE = ("format", "width", "height", "bytes", "sha256")


class TarShards:
    """Samples of tar shards: jpg (png, webp, gif, bmp, tiff) beside txt and json of the same name.

    Args:
        where: a shard, a folder of shards, a glob, a brace pattern such as `gs://b/{00000..00099}.tar`, or several.
        storage: how to reach them.
        limits: of one image.
        tar_limits: of one archive.
        columns: json fields that become columns, with their types; by default the export's own record beside the
            shards, else what the first samples have.
        known: columns that are there already. A field of such a name keeps that type; a value that does not fit stays
            in `json`.

    Raises:
        NotFoundError: there is no shard there.
    """

    kind = "shards"
    grain: Literal["file"] = "file"
    key = "path"

    def __init__(
        self,
        where: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        storage: Storage | None = None,
        limits: images.ImageLimits | None = None,
        tar_limits: TarLimits | None = None,
        columns: pa.Schema | None = None,
        known: pa.Schema | None = None,
    ) -> None:
        named = [where] if isinstance(where, str | os.PathLike) else list(where)
        self.storage = storage or Storage()
        self.places = Places([absolute(name) for name in named], self.storage)
        self.origin = ", ".join(self.places.patterns[:3]) + (" …" if len(self.places.patterns) > 3 else "")
        self.limits = limits or images.ImageLimits()
        self.tar_limits = tar_limits or TarLimits()
        unreadable = [str(column) for column in columns or () if not is_writable(column.type)]
        if unreadable:
            listed = ", ".join(unreadable)
            raise SchemaError(f"JSON has no values for {listed}; expected text, numbers, times, or lists of them")
        self._given = columns
        self._known = {column.name: column.type for column in known or () if is_writable(column.type)}
        self._schema: pa.Schema | None = None
        self._columns: JsonColumns | None = None
        self._found: Found | None = None
        self._exports: Exports | None = None
        self._ignored: Tally[str] = Tally()

    @property
    def options(self) -> Mapping[str, Any]:
        """What shapes or refuses rows beside the shards themselves."""
        given = {column.name: str(column.type) for column in self._given} if self._given is not None else None
        return {"columns": given, "limits": asdict(self.limits), "tar_limits": asdict(self.tar_limits)}

    def covers(self, where: str) -> bool:
        """Whether a shard that was there is one that this source names."""
        return self.places.covers(where)

    def notes(self) -> dict[str, Any]:
        """Files and members of kinds that are not read, and what the exports beside the shards say of them."""
        notes: dict[str, Any] = {}
        if self._found is not None and self._found.left_out:
            notes["other files, left out"] = said(self._found.left_out)
        if self._ignored:
            notes["other members, ignored"] = said(Tally({f".{end}": n for end, n in self._ignored.items()}))
        if self._exports is not None:
            notes |= self._exports.notes(self.covers)
        return notes

    def tally(self) -> Mapping[str, int]:
        """Members of kinds that are not read, by suffix."""
        return self._ignored

    def add(self, tally: Mapping[str, int]) -> None:
        """Count in the members that another process met."""
        self._ignored.update(tally)

    def schema(self) -> pa.Schema:
        """The contract's image row, the caption, and the columns made of JSON fields."""
        if self._schema is None:
            self._schema = image_schema([pa.field(CAPTION, pa.string()), *self._json_columns().fields()])
        return self._schema

    def items(self) -> Iterator[Item]:
        """The shards, sorted by key."""
        if self._found is None:
            self._found = self.places.find()
        return iter(self._found.items)

    def read_file(self, item: Item, refuse: Refuse) -> Iterator[pa.RecordBatch]:
        """Read a shard from front to back, decoding several samples at a time.

        Raises:
            BrokenFile: it is not there, cannot be read, ends early, or is no tar; what came before is given first.
            TransientError: the store failed again and again; the shard may be good.
            CredentialsError: the store lets the shard be listed and not read.
        """
        yield from batches_of(self._outcomes(item, refuse), self.schema(), refuse)

    def _outcomes(self, item: Item, refuse: Refuse) -> Iterator[dict[str, Any] | Reject]:
        """A row or a reject for each sample of a shard."""
        refuse_once = _once(refuse)
        patience = PATIENCE if is_remote(item.where) else replace(PATIENCE, attempts=1)
        try:
            yield from retries.resumed(patience, lambda num_done: self._attempt(item, refuse_once, skip=num_done))
        except ArchiveBroken as error:
            raise BrokenFile(error.reason, error.detail) from error
        except OSError as error:
            if isinstance(error, ClipdataError):
                raise
            verdict = verdict_on(error)
            if verdict not in ("missing", "hopeless") and is_remote(item.where):
                raise as_clipdata_error(error, f"reading {redact(item.where)}", self.storage) from error
            reason = "missing" if verdict == "missing" else "unreadable"
            raise BrokenFile(reason, words_of(error, self.storage), passing=True) from error

    def _attempt(self, item: Item, refuse: Refuse, *, skip: int) -> Iterator[dict[str, Any] | Reject]:
        """The outcomes of one reading, without the first `skip`."""
        columns = self._json_columns()
        with self._open(item) as stream:
            samples = self._samples(WholeStream(stream, item.size), item, refuse)
            wanted = self._tallied(islice(samples, skip, None))
            yield from map_ordered(
                lambda sample: row_of(item, sample, columns, self.limits), wanted, num_threads=CHECK_THREADS
            )

    def _samples(self, stream: Readable, item: Item, refuse: Refuse) -> Iterator[Sample]:
        def refuse_member(name: str, reason: str, detail: str) -> None:
            refuse(Reject(f"{item.key}/{name}", item.etag, reason, detail))

        return group_samples(read_members(stream, self.tar_limits, refuse_member), refuse_member)

    def _tallied(self, samples: Iterator[Sample]) -> Iterator[Sample]:
        """The same samples; counts the members that are not read."""
        for sample in samples:
            image = sample.first(IMAGE_MEMBERS)
            self._ignored.update(s for s, m in sample.members.items() if m is not image and s not in READ_MEMBERS)
            yield sample

    def _open(self, item: Item) -> Any:
        fs, path = self.storage.filesystem(item.where)
        if is_remote(item.where):
            return fs.open(path, "rb", block_size=_READ_AHEAD, cache_type="readahead")
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise OSError(f"{path} is a folder, pipe, socket or device; expected a file")
        return fs.open(path, "rb")

    def _json_columns(self) -> JsonColumns:
        if self._columns is None:
            found = self._choose_columns()
            types = {name: self._known.get(name, kind) for name, kind in found.types.items()}
            self._columns = found if self._given is not None else replace(found, types=types)
        return self._columns

    def _choose_columns(self) -> JsonColumns:
        shards = list(self.items())
        self._exports = Exports.beside(shards, self.storage)
        if self._given is not None:
            return JsonColumns.of({column.name: column.type for column in self._given}, TAKEN)
        recorded: dict[str, pa.DataType] = {}
        for manifest in self._exports.manifests.values():
            repeated = {*_TOLD_BY_THE_IMAGE, *({CAPTION} if manifest.request.get("caption") == CAPTION else ())}
            recorded = {c.name: c.type for c in manifest.columns if c.name not in repeated} | recorded
        if self._exports.manifests:
            return JsonColumns.of(recorded, TAKEN)
        for item in shards:
            looked_at = self._look(item)
            if looked_at:
                return JsonColumns.infer(looked_at, TAKEN)
        return JsonColumns(taken=TAKEN)

    def _look(self, item: Item) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Fields and row of a shard's first good samples. What is wrong with the others is said when it is read."""
        found: list[tuple[dict[str, Any], dict[str, Any]]] = []
        with suppress(OSError, ArchiveBroken), self._open(item) as stream:
            for sample in self._samples(stream, item, _ignore):
                if sample.first(IMAGE_MEMBERS) is not None:
                    try:
                        row, fields = image_row(item, sample, self.limits)
                    except ImageRefused:
                        continue
                    found.append((fields, row))
                if len(found) >= INFERRED_FROM:
                    break
        return found


def _once(refuse: Refuse) -> Refuse:
    """Refuse each key once, however often a shard is read."""
    told: set[str] = set()

    def refuse_new(reject: Reject) -> None:
        if reject.key not in told:
            told.add(reject.key)
            refuse(reject)

    return refuse_new


def _ignore(_: Reject) -> None:
    """The same refusal comes again when the shard is read."""


def from_shards(
    shards: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
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
    reached = source_storage(storage, anonymous=anonymous)
    source = TarShards(shards, columns=columns, known=_columns_of(into, storage), storage=reached)
    return ingest(source, into, storage=storage, **options)


def _columns_of(into: str | os.PathLike[str], storage: Storage | None) -> pa.Schema | None:
    """The columns of the table that is there, but those that a step made."""
    if not exists(into, storage=storage):
        return None
    return pa.schema([column for column in open_table(into, storage=storage).schema if Lineage.of(column) is None])
