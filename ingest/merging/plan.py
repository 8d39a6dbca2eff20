"""The plan of a merge: the rows that the merged table is to have, their keys, and how to build them.

Sixteen bytes stand for a key, a row or an image, so a plan takes about a hundred bytes a row whatever the rows hold. It
reads the two sides and writes nothing.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from clipdata.errors import SchemaError, UsageError
from clipdata.lance_io.dropped_columns import dropped_columns
from clipdata.lance_io.table import Table
from clipdata.schema import is_list, is_text, key_field
from ingest.merging.advice import refuse_swapped, told_apart
from ingest.merging.alike_names import Alike, Doubt, find_alike
from ingest.merging.column_names import ETAG, KEY, ColumnNames, named
from ingest.merging.image_side import DERIVED, ImageSide, etags_of, hexadecimal
from ingest.merging.join_keys import is_number
from ingest.merging.matching import Found, arranged, find, keys_of, keys_of_groups
from ingest.merging.metadata_side import MetadataSide
from ingest.merging.outcome import LISTED, Joined
from ingest.merging.picture_rows import Outputs, PictureRows
from ingest.updating.batches import UNIT_BYTES, unit_rows
from ingest.updating.digests import digests_of_texts
from ingest.updating.sampling import Sampling

EXAMPLES = 5


class Plan:
    """Rows of a merged table.

    Args:
        images: and `on`, the column of theirs to join on.
        metadata: and `metadata_on`, the column of theirs.
        group: one row an image.
        copies: rows hold their pictures, and do not refer to them.
        present: the table as it is, or None; a column keeps the name, and the type, that it has there.
        before: the names that an earlier merge gave.
        sampling: which of the rows; whole rows of the merged table, by the place of their metadata or by their keys.

    Attributes:
        left_out: columns of the merged table that were dropped by hand, and are not brought back.

    Raises:
        SchemaError: a column does not exist, or its type is not that of the table.
    """

    def __init__(
        self,
        images: Table,
        metadata: Table,
        *,
        on: str,
        metadata_on: str,
        group: bool,
        copies: bool,
        present: Table | None,
        before: ColumnNames,
        sampling: Sampling | None = None,
    ) -> None:
        refuse_swapped(images, metadata)
        self.images, self.metadata = ImageSide(images, on), MetadataSide(metadata, metadata_on)
        self.on, self.group, self._sampling = on, group, sampling or Sampling()
        is_joined_by_name = metadata_on == on and on in self.images.columns
        added = [name for name in self.metadata.columns if not (is_joined_by_name and name == on)]
        kept = [] if present is None else [column.name for column in present.schema if _is_mapped(column)]
        self.names = named(self.images.columns, added, kept=kept, before=before)
        name = self.names.images.get(self.images.image)
        dropped = dropped_columns(present) if present is not None else frozenset()
        self.left_out = sorted(dropped & {*self.names.images.values(), *self.names.metadata.values()})
        self._carried = self.names.without(self.left_out)
        self.pictures = PictureRows(self.images, name, copies=copies, present=present)
        fields = [*self.images.fields(dict(self._carried.images)), *self.pictures.fields]
        if not self.images.has_etags:
            fields.append(pa.field(ETAG, pa.string()))
        fields += self.metadata.fields(dict(self._carried.metadata), group=group)
        types = {} if present is None else {column.name: column.type for column in present.schema}
        self.schema = pa.schema([key_field(KEY), *[_fitted(column, types.get(column.name)) for column in fields]])

    def match(self) -> pa.Array:
        """Find the image of each metadata row, and name the rows.

        Returns:
            keys of the metadata rows without an image, large_string, one for each row.

        Raises:
            UsageError: nobody can say which image a key means.
        """
        self.images.load()
        self.metadata.load()
        images, metadata = self.images, self.metadata
        found = find(images.keys, metadata.keys, named=images.named, naming=metadata.naming)
        if found.ambiguous:
            self._refuse_ambiguous(found)
        alike, unmatched = self._join_alike(found.images)
        self.matches = arranged(found.images, images.rank, group=self.group)
        if self.group:
            args = images.identities, images.etags, metadata.digests
            self.keys, self._tags = keys_of_groups(self.matches, *args)
        else:
            self.keys = keys_of(self.matches, images.identities, metadata.digests, metadata.numbers)
        self.joined = self._joined(found.images, alike, unmatched)
        self._take_part()
        images.forget_keys()
        metadata.forget_keys()
        return unmatched

    def _take_part(self) -> None:
        """Leave out the rows that are not asked for, after all have found their partners."""
        self.num_whole = len(self.keys)
        if self._sampling.is_whole:
            return
        outputs = self._sampling.of_places(self.matches.first_members(), hexadecimal(self.keys).to_pylist)
        self.matches = self.matches.only(outputs)
        self.keys = self.keys[outputs]
        if self.group:
            self._tags = self._tags[outputs]

    @property
    def outputs(self) -> Outputs:
        """The rows that the table is to have, and the places of their images."""
        return Outputs(self.keys, self.etags_of, self.matches.images)

    def etags_of(self, outputs: np.ndarray) -> np.ndarray:
        """Digests of the etags of some outputs, uint8 [B, 16]; of all they would be as much as the keys."""
        if self.group:
            return digests_of_texts(hexadecimal(self._tags[outputs]))
        return self.images.etags[self.matches.images[outputs]]

    def units(self, wanted: np.ndarray, num_present: int) -> Iterator[tuple[np.ndarray, pa.Table]]:
        """Rows of outputs in what is written at once: bounded by rows, and by their bytes as far as these are known.

        Args:
            wanted: int32 or int64, outputs.
            num_present: rows that the table has before the first of them is written.

        Yields:
            outputs [B], and their rows.
        """
        is_read = self.images.image in self.pictures.reads
        first, most = 0, unit_rows(0)
        while first < len(wanted):
            stop = min(first + most, len(wanted))
            if is_read:
                ends = np.cumsum(self.images.sizes[self.matches.images[wanted[first:stop]]])
                stop = min(first + int(np.searchsorted(ends, UNIT_BYTES)) + 1, stop)  # what makes it full belongs to it
            built = self._build(wanted[first:stop])
            yield wanted[first:stop], built
            fitting = UNIT_BYTES * built.num_rows // max(built.nbytes, 1)
            most = max(min(unit_rows(num_present + stop), 4 * most, fitting), 1)
            first = stop

    def _build(self, unit: np.ndarray) -> pa.Table:
        """Read what the rows of a unit need: each image once."""
        columns = self._pictures(self.matches.images[unit].astype(np.int64))
        members, starts = self.matches.members_of(unit)
        facts = self.metadata.take(members, list(self._carried.metadata))
        for name, new in self._carried.metadata.items():
            target = self.schema.field(new).type
            values = _cast(facts[name], target.value_type if self.group else target, new)
            if self.group:
                values = pa.ListArray.from_arrays(pa.array(starts, pa.int32()), _one_array(values))
            columns[new] = values
        columns[KEY] = hexadecimal(self.keys[unit])
        if self.group:
            columns[ETAG] = hexadecimal(self._tags[unit])
        return pa.table([columns[name] for name in self.schema.names], schema=self.schema)

    def _pictures(self, places: np.ndarray) -> dict[str, pa.Array | pa.ChunkedArray]:
        """What rows carry of their images, in the table's names."""
        distinct, which = np.unique(places, return_inverse=True)
        read = self.images.take(distinct, self.pictures.reads)
        rows = pa.array(which)
        columns: dict[str, Any] = self.pictures.columns(places)
        for own, new in self._carried.images.items():
            if new not in columns:
                columns[new] = _cast(read[own].take(rows), self.schema.field(new).type, new)
        if not self.images.has_etags:
            columns[ETAG] = etags_of(read, self.images).take(rows)
        return columns

    def _join_alike(self, images: np.ndarray) -> tuple[Alike, pa.Array]:
        """Give metadata rows whose key no image bears the image with a name like it, where there is exactly one.

        Args:
            images: int64 [R], position of each metadata row's image; -1 is replaced where one is found.

        Returns:
            what was found, and the keys of the rows that are left.
        """
        self._rules: Tally[str] = Tally()
        kinds = (self.images.table.schema.field(self.on).type, self.metadata.table.schema.field(self.metadata.key).type)
        num_equal = int((images >= 0).sum())
        if num_equal and is_number(kinds[0]) != is_number(kinds[1]):
            self._rules["number type"] = num_equal
        is_left = images < 0
        if not is_left.any():
            return Alike(), pa.array([], pa.large_string())
        left = self.metadata.keys_at(is_left)
        taken = np.zeros(len(self.images.sizes), np.bool_)
        taken[images[~is_left]] = True
        found = find_alike(
            left.drop_null().unique(), self.images.key_batches(), taken, across_folders=self.on != "path"
        )
        if found.doubts:
            self._refuse_doubts(found.doubts)
        if not found.images:
            return found, left
        positions = np.array([found.images.get(name, -1) for name in left.to_pylist()], np.int64)
        images[is_left] = positions
        self._rules.update(found.rule_of[name] for name in left.to_pylist() if name in found.rule_of)
        return found, left.filter(pa.array(positions < 0))

    def _joined(self, images: np.ndarray, alike: Alike, unmatched: pa.Array) -> Joined:
        with_metadata = np.zeros(len(self.images.sizes), np.bool_)
        with_metadata[self.matches.images] = True
        without = np.flatnonzero(~with_metadata)
        examples = alike.examples
        names = self.images.keys_of([image for _, image, _ in examples]) if examples else []
        return Joined(
            num_matched=int((images >= 0).sum()),
            unmatched_metadata=[name or "" for name in unmatched[:LISTED].to_pylist()],
            num_unmatched_metadata=len(unmatched),
            unmatched_images=self.images.called(without[:LISTED]) if len(without) else [],
            num_unmatched_images=len(without),
            alike=dict(self._rules),
            alike_examples=[(name, own, rule) for (name, _, rule), own in zip(examples, names, strict=True)],
        )

    def _refuse_ambiguous(self, found: Found) -> None:
        examples = ""
        for row, places in found.ambiguous[:EXAMPLES]:
            key = self.metadata.keys_at(np.arange(len(self.metadata.keys)) == row)[0].as_py()
            examples += f"\n  {key}: {', '.join(self.images.called(places[:3]))}"
        raise UsageError(
            f"{len(found.ambiguous):,} values of {self.on!r} that the metadata names belong to several images:"
            f"{examples}",
            hint=told_apart(self.images, self.metadata, found.ambiguous[:EXAMPLES]),
        )

    def _refuse_doubts(self, doubts: list[Doubt]) -> None:
        examples, rows = "", []
        for doubt in doubts[:EXAMPLES]:
            named = digests_of_texts(pa.array(doubt.names[:1], pa.large_string()))
            rows.append((int(np.flatnonzero((self.metadata.keys == named).all(axis=1))[0]), doubt.images))
            names, images = doubt.names[:3], self.images.keys_of(list(doubt.images[:3]))
            meant = " or ".join(map(ascii, images))
            examples += f"\n  {' and '.join(map(ascii, names))}: {meant} ({doubt.rule})"
        hint = (
            "write in the metadata what the images are called, or name other columns: --on COLUMN --metadata-on COLUMN"
        )
        raise UsageError(
            f"{len(doubts):,} names of the metadata are like those of images, and which is meant is not sure:"
            f"{examples}",
            hint=told_apart(self.images, self.metadata, rows) if self.images.identity != self.on else hint,
        )


def _is_mapped(column: pa.Field) -> bool:
    """Columns that `map` alone writes: what a step made, and the reasons why it did not."""
    return any(name in (column.metadata or {}) for name in DERIVED)


def _fitted(column: pa.Field, present: pa.DataType | None) -> pa.Field:
    """A column in the type that the table has for it.

    Raises:
        SchemaError: the table holds something else under that name.
    """
    if present is None or present == column.type:
        return column
    if not _is_alike(column.type, present):
        raise SchemaError(
            f"column {column.name!r} is {column.type} and {present} in the merged table",
            hint="merge into another table, or give the column another name",
        )
    return column.with_type(present)


def _is_alike(kind: pa.DataType, other: pa.DataType) -> bool:
    """Whether two types hold the same things, one perhaps more of them."""
    if is_list(kind) and is_list(other):
        return _is_alike(kind.value_type, other.value_type)
    if pa.types.is_null(kind):
        return True
    tests = (is_number, is_text, pa.types.is_timestamp, pa.types.is_date, pa.types.is_duration)
    return any(test(kind) and test(other) for test in tests) or kind == other


def _cast(values: pa.Array | pa.ChunkedArray, kind: pa.DataType, name: str) -> pa.Array | pa.ChunkedArray:
    if values.type == kind:
        return values
    try:
        return values.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SchemaError(
            f"column {name!r} holds {values.type}, the merged table's is {kind}: {error}",
            hint="merge into another table",
        ) from error


def _one_array(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
