"""GroupSplit and PairSplit: training and test rows that share no picture and no right caption, or no caption at all.

It must know nothing of encoders or training; which rows hang together is read off two small columns of the table.
"""

from __future__ import annotations

import hashlib
from collections import Counter as Tally
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata.errors import UsageError
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.lineage import Lineage
from clipdata.step_protocol import CAPTIONS, INTEGER, TEXTS, BaseStep, Kind, check_types, require_names
from clipdata.steps.captions import alike, captions_of

SCAN_ROWS = 8192
_MEAN_GROUP = 5  # pictures that hang together by their captions, and no more, for captions to be told apart
_LARGEST_GROUP = 0.2  # of all pictures


class GroupSplit(BaseStep):
    """A column "train" or "test", the same for all rows that hang together.

    Rows hang together when they show an equal picture or have an equal right caption, directly or through other rows. A
    group goes to one side by a hash of its first picture; so the split does not depend on the order of the rows. Groups
    that already have a side, from an earlier run, keep it. Where new rows join groups of both sides, the old rows stay
    where they are, the new ones go where most of the group is, and `notes` counts the group.

    Args:
        table: all of it is read once, to find the groups; or the location of one.
        picture: column that is equal for equal pictures.
        choices: column of lists of captions.
        label_index: column that says which of them is right.
        column: where an earlier run with the same parameters wrote the split; what others wrote there does not count.
        test_share: of the groups that goes to "test".
        seed: of the hash.

    Raises:
        UsageError: the share is not between 0 and 1, the seed is no whole number, or a name of a column is no text.
        SchemaError: the table lacks a column, or one has another type.
    """

    name = "GroupSplit"
    version = "1"
    returns = pa.string()

    def __init__(
        self,
        table: AnyTable,
        *,
        picture: str = "sha256",
        choices: str = "caption_choices",
        label_index: str = "label_ind",
        column: str = "split",
        test_share: float = 0.2,
        seed: int = 0,
    ) -> None:
        require_names(self.name, picture=picture, choices=choices, label_index=label_index, column=column)
        self._begin({picture: None, choices: TEXTS, label_index: INTEGER}, table, column, test_share, seed)

    def _begin(
        self, columns: Mapping[str, Kind | None], table: AnyTable, column: str, test_share: float, seed: int
    ) -> None:
        """Check all that was asked for, and find the groups."""
        require_share(self.name, test_share, seed)
        self.reads: tuple[str, ...] = tuple(columns)
        self.takes = {name: kind for name, kind in columns.items() if kind is not None}
        self.parameters: Mapping[str, Any] = {"test_share": test_share, "seed": seed}
        self.num_groups = self.num_leaks = 0
        newest = as_table(table).latest()
        self.tables = (newest.uri,)
        newest.require(self.reads, verb=f"map {self.name}")
        check_types(self, newest.schema)
        self._side_of = self._decide(newest, column, test_share, seed)

    def compute(self, batch: pa.RecordBatch, prepared: None) -> tuple[pa.Array, list[str | None]]:
        """The side of each row: string [B]."""
        sides = [self._side_of.get(picture) for picture in batch.column(self.reads[0]).to_pylist()]
        reasons = [None if side else "a picture that was not there when the groups were found" for side in sides]
        return pa.array(sides, pa.string()), reasons

    def notes(self) -> dict[str, Any]:
        """How many groups there are, and how many now join rows of both sides."""
        leaks = {"groups with rows on both sides": self.num_leaks} if self.num_leaks else {}
        return {"groups": self.num_groups, **leaks}

    def _decide(self, table: Table, column: str, test_share: float, seed: int) -> dict[Any, str]:
        """Side of each picture."""
        groups, present = self._read_groups(table, column)
        decided: dict[Any, str] = {}
        for pictures in groups.pictures():
            sides = Tally(side for picture in pictures for side in present.get(picture, ()))
            self.num_leaks += len(sides) > 1
            digest = hashlib.sha256(f"{seed}\x00{min(map(str, pictures))}".encode()).digest()
            drawn = "test" if int.from_bytes(digest[:8], "big") / 2**64 < test_share else "train"
            side = max(sorted(sides, reverse=True), key=sides.__getitem__) if sides else drawn
            decided |= dict.fromkeys(pictures, side)
            self.num_groups += 1
        return decided

    def _read_groups(self, table: Table, column: str) -> tuple[_Groups, dict[Any, set[str]]]:
        """What hangs together, and the sides that an earlier run gave to pictures."""
        groups = _Groups()
        present: dict[Any, set[str]] = {}
        earlier = table.lineage(column) if column in table.schema.names else None
        is_ours = earlier is not None and (earlier.step, earlier.inputs) == (self.name, self.reads)
        is_ours = is_ours and earlier is not None and earlier.parameters == self.parameters
        for batch in table.scan([*self.reads, *([column] if is_ours else [])], batch_rows=SCAN_ROWS):
            pictures, captions = batch.column(self.reads[0]).to_pylist(), self._captions(batch)
            sides = batch.column(column).to_pylist() if is_ours else [None] * batch.num_rows
            for picture, texts, side in zip(pictures, captions, sides, strict=True):
                if picture is None:
                    continue
                groups.add(picture, texts)
                if side is not None:
                    present.setdefault(picture, set()).add(side)
        return groups, present

    def _captions(self, batch: pa.RecordBatch) -> list[list[str]]:
        """What else than the picture ties each row to others."""
        return [[] if caption is None else [caption] for caption in _right_captions(batch).to_pylist()]


class PairSplit(GroupSplit):
    """A column "train" or "test" for pictures with captions, the same for all rows that hang together.

    Rows hang together when they show an equal picture or have an equal caption. Where captions are of few kinds, as
    names of classes are, nearly all pictures would hang together, and a side would be a set of classes: then pictures
    are held out by themselves, and `notes` says so. For the rest see `GroupSplit`.

    Args:
        table: all of it is read once, to find the groups; or the location of one.
        text: column of captions, one or a list a row.
        picture: column that is equal for equal pictures.
        column, test_share, seed: as of `GroupSplit`.

    Raises:
        UsageError: the share is not between 0 and 1, the seed is no whole number, or a name of a column is no text.
        SchemaError: the table lacks a column, or one has another type.
    """

    name = "PairSplit"

    @classmethod
    def arguments_of(cls, lineage: Lineage, schema: pa.Schema) -> dict[str, Any]:  # noqa: ARG003 - it need not ask
        """As of every step; the picture is read first, though it is not the first argument."""
        picture, text = lineage.inputs
        return {**lineage.parameters, "picture": picture, "text": text}

    def __init__(
        self,
        table: AnyTable,
        text: str = "captions",
        *,
        picture: str = "sha256",
        column: str = "split",
        test_share: float = 0.2,
        seed: int = 0,
    ) -> None:
        require_names(self.name, picture=picture, text=text, column=column)
        self.by_captions = True
        self._begin({picture: None, text: CAPTIONS}, table, column, test_share, seed)

    def notes(self) -> dict[str, Any]:
        """How many groups there are, and whether captions tie pictures together."""
        alone = {} if self.by_captions else {"captions are of few kinds": "pictures are held out by themselves"}
        return {**super().notes(), **alone}

    def _read_groups(self, table: Table, column: str) -> tuple[_Groups, dict[Any, set[str]]]:
        groups, present = super()._read_groups(table, column)
        sizes = [len(pictures) for pictures in groups.pictures()]
        if sum(sizes) > _MEAN_GROUP * len(sizes) or max(sizes, default=0) > max(_LARGEST_GROUP * sum(sizes), 2):
            self.by_captions = False
            return super()._read_groups(table, column)
        return groups, present

    def _captions(self, batch: pa.RecordBatch) -> list[list[str]]:
        if not self.by_captions:
            return [[]] * batch.num_rows
        return [[alike(caption) for caption in captions_of(value)] for value in batch.column(1).to_pylist()]


def require_share(step: str, test_share: Any, seed: Any) -> None:
    """Hold what a split was given to be a share and a seed.

    Raises:
        UsageError: the share is not between 0 and 1, or the seed is no whole number.
    """
    if isinstance(test_share, bool) or not isinstance(test_share, int | float) or not 0 < test_share < 1:
        raise UsageError(f"{step}: test_share is {test_share!r:.80}; expected a share between 0 and 1")
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise UsageError(f"{step}: seed is {seed!r:.80}; expected a whole number")


class _Groups:
    """Pictures that hang together because rows of theirs have an equal caption: union-find over numbered pictures."""

    def __init__(self) -> None:
        self._places: dict[Any, int] = {}
        self._first_with: dict[str, int] = {}  # caption → a picture that has it
        self._parent: list[int] = []

    def add(self, picture: Any, captions: Iterable[str]) -> None:
        """Take in one row; a row without captions stands by its picture alone."""
        place = self._places.setdefault(picture, len(self._parent))
        if place == len(self._parent):
            self._parent.append(place)
        for caption in captions:
            one, other = self._root(place), self._root(self._first_with.setdefault(caption, place))
            self._parent[max(one, other)] = min(one, other)

    def pictures(self) -> list[list[Any]]:
        """The pictures of each group."""
        members: dict[int, list[Any]] = {}
        for picture, place in self._places.items():
            members.setdefault(self._root(place), []).append(picture)
        return list(members.values())

    def _root(self, place: int) -> int:
        parent = self._parent
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place


def _right_captions(batch: pa.RecordBatch) -> pa.Array:
    """The right one of each row's choices; null where the index names none."""
    lists, index = batch.column(1), batch.column(2)
    starts = lists.offsets.to_numpy()[:-1].astype(np.int64)
    place = pc.fill_null(index.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)
    length = pc.fill_null(pc.list_value_length(lists).cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    outside = (place < 0) | (place >= length)
    return lists.values.take(pa.array(starts + place, mask=outside))
