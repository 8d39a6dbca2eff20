"""The rows a run trains on: which can be used, how many cannot and why, their texts, keys, pictures, and a digest.

One pass over the columns that are cheap to read, before the first step; it keeps 24 bytes a row. It knows tables and
Arrow, and nothing of models.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata.errors import SchemaError, UsageError
from clipdata.lance_io.data_files import Places
from clipdata.lance_io.table import Table
from clipdata.schema import error_column, image_column, is_of
from clipdata.storage import redact
from clipdata.stream.assembly import fill_command
from clipdata.trained_rows import (
    TrainedRows,
    digests_or_0,
    images_behind,
    kinds_used,
    picture_columns,
    picture_texts,
)
from clipdata.training.objectives import Objective
from clipdata.training.portion import Portion
from clipdata.training.rows_digest import RowsDigest, content_texts


@dataclass(frozen=True)
class ChosenRows:
    """Rows that can be trained on.

    Args:
        offsets: int64, ascending, among the live rows of the table's version.
        refused: number of rows left out, by reason.
        texts: their distinct texts in sorted order, or None when there are more than asked for.
        digest: over what is read of the rows; equal for equal rows, in any version of a table.
        keys_N: uint64, digest of each row's key; empty for a table without a key.
        pictures_N: uint64, digest of what each row's picture is known by; 0 where nothing tells.
        pictures_by: what these are digests of; see `TrainedRows`.
        images: columns of the pictures; none in particular stands for the table's own.
        num_usable: rows that can be trained on, those that a `Portion` leaves out among them.
    """

    offsets: np.ndarray
    refused: Mapping[str, int]
    texts: tuple[str, ...] | None
    digest: str
    keys_N: np.ndarray = field(repr=False)
    pictures_N: np.ndarray = field(repr=False)
    pictures_by: frozenset[str] = frozenset()
    images: tuple[str, ...] = ()
    num_usable: int = 0

    def trained(self, table: Table, where: str | None) -> TrainedRows:
        """The record that a model trained on these rows carries; the filter is told, not applied."""
        return TrainedRows.of(
            self.keys_N if len(self.keys_N) else np.zeros(len(self.offsets), np.uint64),
            self.pictures_N,
            pictures_by=self.pictures_by,
            images=self.images,
            table=redact(table.uri),
            version=table.version,
            where=where,
        )

    def none(self) -> ChosenRows:
        """No row of the same table."""
        return replace(self, offsets=self.offsets[:0], keys_N=self.keys_N[:0], pictures_N=self.pictures_N[:0])

    def describe(self) -> str:
        """One line for people."""
        refused = ", ".join(f"{count:,} with {reason}" for reason, count in self.refused.items())
        part = f" of {self.num_usable:,} usable" if self.num_usable > len(self.offsets) else ""
        return f"{len(self.offsets):,}{part} rows" + (f"; left out {refused}" if refused else "")


def choose_rows(
    table: Table,
    objective: Objective,
    *,
    image: str = "image",
    where: str | None = None,
    features: str | None = None,
    max_texts: int = 0,
    portion: Portion | None = None,
) -> ChosenRows:
    """Find the rows that an objective can use.

    Args:
        objective: says which columns it reads, and which rows it cannot use.
        image: column of pictures, of which nothing is read here.
        where: SQL condition.
        features: column that `map` has filled, to be read instead of pictures; rows on which it failed are left out.
        max_texts: most distinct texts to collect.
        portion: which of these rows; all by default.

    Raises:
        SchemaError: a column is missing, of another type, or not filled yet.
        UsageError: no row is left.
    """
    objective.check(table)
    images = images_behind(table.schema, features or image)
    found = _Found(table, objective, _ImageSide(table, image, features), images, max_texts)
    refused = _without_features(table, features, where) if features else {}
    condition = _both(where, f"`{features}` is not null") if features else where
    usable = _Usable(table, objective, condition)
    taken = usable.taken(portion) if portion is not None and portion.to_json() else None
    num_usable = 0
    for kept in usable.batches(found.columns, refused):
        num_usable += kept.num_rows
        if taken is not None:
            kept = kept.filter(pa.array(np.isin(kept.column("_rowoffset").to_numpy(), taken)))
        found.add(kept)
    chosen = replace(found.chosen(dict(sorted(refused.items()))), num_usable=num_usable)
    _require_some(table, chosen, where)
    return chosen


def own_columns(objective: Objective) -> list[str]:
    """The columns that an objective reads, beside the pictures."""
    return [*objective.text_columns, *objective.columns, *objective.columns_of_texts]


@dataclass(frozen=True)
class _Usable:
    """The rows of a table that an objective can use."""

    table: Table
    objective: Objective
    condition: str | None

    def batches(self, columns: Sequence[str], refused: dict[str, int]) -> Iterator[pa.RecordBatch]:
        """Yield some columns of the rows, their offsets among them; the others are counted in `refused`, by reason."""
        names = list(dict.fromkeys([*own_columns(self.objective), *columns, "_rowoffset"]))
        for batch in self.table.scan(names, where=self.condition):
            reason_B = self.objective.reasons(batch)
            for counted in pc.value_counts(reason_B.drop_null()).to_pylist():
                refused[counted["values"]] = refused.get(counted["values"], 0) + counted["counts"]
            yield batch.filter(pc.is_null(reason_B))

    def taken(self, portion: Portion) -> np.ndarray:
        """Offsets of the rows of a portion, int64 [n]; 16 bytes a row are kept for it."""
        key = self.table.key
        offsets, keys = [np.empty(0, np.int64)], [np.empty(0, np.uint64)]
        for batch in self.batches([key] if key else [], {}):
            offsets.append(batch.column("_rowoffset").to_numpy().astype(np.int64))
            if key:
                keys.append(digests_or_0(batch.column(key), batch.num_rows))
        return portion.of(np.concatenate(offsets), np.concatenate(keys))


class _ImageSide:
    """What tells whether the image side of rows is still the same, batch by batch.

    Features are read, so their values tell. Pictures are too much to read only for that: a digest, or an etag with a
    location, stands for one in the column that the table declares as its image; for any other picture, the place in the
    table's files does.

    Args:
        columns: to be scanned for it.
        is_told: False once there was a row for which nothing tells.
    """

    def __init__(self, table: Table, image: str, features: str | None) -> None:
        self._features, self._is_own = features, image == image_column(table.schema)
        self._places = Places(table, image)
        self.columns = (features,) if features else ("_rowaddr",)
        self.is_told = True

    def of(self, kept: pa.RecordBatch, pictures: Mapping[str, pa.Array]) -> pa.Array:
        """Values that differ wherever another image side is read.

        Args:
            pictures: columns that identify the table's own image.
        """
        if self._features:
            return kept.column(self._features)
        known = content_texts(pictures if self._is_own else {}, kept.num_rows)
        if not known.null_count:
            return known
        # The file at a location may be another one, and no place in the table would change with it.
        self.is_told &= not (self._is_own and "uri" in pictures)
        return pc.coalesce(known, self._places.of(kept.column("_rowaddr")))


class _Found:
    """What one pass over the rows gathers."""

    def __init__(
        self, table: Table, objective: Objective, image_side: _ImageSide, images: frozenset[str], max_texts: int
    ) -> None:
        self._own, self._read_texts = own_columns(objective), objective.text_columns
        self._version, self._key, self._image_side = table.version, table.key, image_side
        self._pictures = picture_columns(table.schema, images)
        self._images, self._kinds = tuple(sorted(images)), set[str]()
        self.columns = [*([self._key] if self._key else []), *self._pictures, *image_side.columns]
        self._digest, self._texts = RowsDigest(), _Texts(max_texts)
        self._texts.add(pa.array(objective.prompts, pa.string()))
        self._offsets, self._keys, self._seen = ([np.empty(0, kind)] for kind in (np.int64, np.uint64, np.uint64))

    def add(self, kept: pa.RecordBatch) -> None:
        """Take in rows that can be used."""
        pictures = {name: kept.column(name) for name in self._pictures}
        self._digest.add([*map(kept.column, self._own), self._image_side.of(kept, pictures)])
        self._offsets.append(kept.column("_rowoffset").to_numpy().astype(np.int64))
        for name in self._read_texts:
            self._texts.add(kept.column(name))
        if self._key:
            self._keys.append(digests_or_0(kept.column(self._key), kept.num_rows))
        self._kinds |= kinds_used(pictures)
        self._seen.append(digests_or_0(picture_texts(pictures) if pictures else None, kept.num_rows))

    def chosen(self, refused: Mapping[str, int]) -> ChosenRows:
        """All of it, after the last batch."""
        if not self._image_side.is_told:
            self._digest.note(f"version {self._version}")
        joined = (np.concatenate(parts) for parts in (self._offsets, self._keys, self._seen))
        offsets, keys, pictures = joined
        kinds = frozenset(self._kinds)
        return ChosenRows(
            offsets, refused, self._texts.sorted(), self._digest.hex(), keys, pictures, kinds, self._images
        )


def _without_features(table: Table, features: str, where: str | None) -> dict[str, int]:
    """Count the rows on which a map failed.

    Raises:
        SchemaError: there are rows that it has not reached.
    """
    table.require([features], verb="train")
    missing, failed = f"`{features}` is null", "false"
    if error_column(features) in table.schema.names:
        failed = f"`{error_column(features)}` is not null"
    num_missing = table.count_rows(_both(where, missing))
    num_failed = table.count_rows(_both(_both(where, missing), failed)) if num_missing else 0
    if num_missing > num_failed:
        raise SchemaError(
            f"train: {num_missing - num_failed:,} of {table.count_rows(where):,} rows hold no {features!r} yet",
            hint=fill_command(table, features),
        )
    return {f"no {features}": num_failed} if num_failed else {}


def _require_some(table: Table, chosen: ChosenRows, where: str | None) -> None:
    # A scan yields rows in ascending order; a stream relies on it.
    assert np.all(np.diff(chosen.offsets) > 0)
    if not len(chosen.offsets):
        listed = ", ".join(f"{count:,} with {reason}" for reason, count in chosen.refused.items())
        found = f"left out {listed}" if chosen.refused else "none passes the filter"
        filtered = f" where {where}" if where else ""
        raise UsageError(f"train: {redact(table.uri)} has no row to train on{filtered}: {found}")


def _both(first: str | None, second: str) -> str:
    return f"({first}) and {second}" if first else second


class _Texts:
    """Distinct texts, up to a number."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._found: set[str] | None = set() if most else None

    def add(self, texts: pa.Array) -> None:
        if self._found is None:
            return
        flat = texts if is_of("text", texts.type) else texts.flatten()
        self._found.update(flat.unique().to_pylist())
        if len(self._found) > self._most:
            self._found = None

    def sorted(self) -> tuple[str, ...] | None:
        return None if self._found is None else tuple(sorted(self._found))
