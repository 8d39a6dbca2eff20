"""Splits whose sides share nothing: LeakProofSplit by any columns, and GroupSplit, PairSplit and ClassSplit by what
contests, captioned pictures and classes are known by.

Each says what ties rows together, and `ties.py` which groups follow; `sides.py` chooses their sides. This module must
know nothing of encoders or training.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata.errors import UsageError
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.lineage import Lineage
from clipdata.step_protocol import CAPTIONS, INTEGER, LABEL, LABELS, TEXTS, BaseStep, Kind, check_types, require_names
from clipdata.steps.earlier import digest_of, made_alike
from clipdata.steps.shuffled import shuffled
from clipdata.steps.sides import Shares, allot, require_seed
from clipdata.steps.ties import Groups, Tied, Ties, tied_by

SCAN_ROWS = 8192
_MEAN_GROUP = 5  # pictures that hang together by their captions, and no more, for captions to be told apart
_LARGEST_GROUP = 0.2  # of all pictures


class _Split(BaseStep, ABC):
    """A column with the side of each row, the same for all rows that hang together.

    Attributes:
        num_groups: rows that hang together are one.
        num_leaks: groups with rows on several sides, by rows that came later.
    """

    name: str
    version: str
    returns = pa.string()
    by_stratum = False

    def _begin(
        self,
        table: AnyTable,
        columns: Mapping[str, Kind | None],
        column: str,
        shares: Shares,
        seed: int,
        parameters: Mapping[str, Any],
    ) -> None:
        """Check all that was asked for, and choose the sides."""
        require_seed(self.name, seed)
        self.reads: tuple[str, ...] = tuple(columns)
        self.takes = {name: kind for name, kind in columns.items() if kind is not None}
        self.parameters: Mapping[str, Any] = parameters
        newest = as_table(table).latest()
        self.tables = (newest.uri,)
        newest.require(self.reads, verb=f"map {self.name}")
        check_types(self, newest.schema)
        self._sides = tuple(shares.of_side)
        ties, stratum_N, held_N = self._read(newest, column)
        self._groups = self._grouped(ties)
        self._side_G = self._choose(stratum_N, held_N, np.array(list(shares.of_side.values())), seed)
        side_of_values = [self._side_G[group_V] for group_V in self._groups.group_of_value]
        self.decided = digest_of(*self._groups.values, *side_of_values)

    def compute(self, batch: pa.RecordBatch, prepared: None) -> tuple[pa.Array, list[str | None]]:
        """The side of each row: string [B]."""
        group_B, ties_B = np.full(batch.num_rows, -1, np.int64), np.zeros(batch.num_rows, bool)
        groups = self._groups
        for tied, value_V, group_V in zip(self._tied(batch), groups.values, groups.group_of_value, strict=False):
            value_B, has_B = tied.first_of(batch.num_rows)
            ties_B |= has_B
            if not len(value_V):
                continue
            place_B = np.minimum(np.searchsorted(value_V, value_B), len(value_V) - 1)
            found_B = has_B & (value_V[place_B] == value_B) & (group_B < 0)
            group_B[found_B] = group_V[place_B[found_B]]
        side_B = np.append(self._side_G, -1)[group_B]  # -1 stays -1
        sides = pa.array(self._sides).take(pa.array(np.maximum(side_B, 0), mask=side_B < 0))
        late = f"{self._what} that was not there when the groups were found"
        why = [late if ties else "no value that tells the row from others" for ties in ties_B.tolist()]
        return sides, [None if side >= 0 else reason for side, reason in zip(side_B.tolist(), why, strict=True)]

    def notes(self) -> dict[str, Any]:
        """How many groups there are, and how many now join rows of several sides."""
        leaks = {"groups with rows on both sides": self.num_leaks} if self.num_leaks else {}
        return {"groups": self.num_groups, **leaks}

    _what = "a picture"

    @abstractmethod
    def _tied(self, batch: pa.RecordBatch) -> Sequence[Tied]:
        """What ties each row to others, one entry a kind."""

    def _stratum(self, batch: pa.RecordBatch) -> np.ndarray:
        """int64 or uint64 [B], the class that each row counts for."""
        return np.zeros(batch.num_rows, np.int64)

    def _grouped(self, ties: Ties) -> Groups:
        return ties.groups()

    def _read(self, table: Table, column: str) -> tuple[Ties, np.ndarray, np.ndarray]:
        """Ties, class and earlier side (-1 where it has none) of each row that has all that the step reads."""
        # Whatever changed since: or newer code, or clusters found anew, would train on what was held out.
        is_ours = made_alike(self, table, column, whatever_changed=True)
        ties: Ties | None = None
        strata, held = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        wanted = [*self.reads, *([column] if is_ours else [])]
        for read in table.scan(wanted, batch_rows=SCAN_ROWS):
            batch = self._that_tie(read.filter(_has_all(read, self.reads)))
            tied = self._tied(batch)
            ties = ties or Ties(len(tied))
            ties.add(tied, batch.num_rows)
            strata.append(self._stratum(batch).view(np.int64))
            side_B = np.full(batch.num_rows, -1, np.int64)
            if is_ours:
                place = pc.index_in(batch.column(column), pa.array(self._sides))
                side_B = pc.fill_null(place, -1).to_numpy(zero_copy_only=False).astype(np.int64)
            held.append(side_B)
        return ties or Ties(1), np.concatenate(strata), np.concatenate(held)

    def _that_tie(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Rows that have a value which could tie them to others."""
        ties_B = np.zeros(batch.num_rows, bool)
        for tied in self._tied(batch):
            ties_B[tied.row_P] = True
        return batch if ties_B.all() else batch.filter(pa.array(ties_B))

    def _choose(self, stratum_N: np.ndarray, held_N: np.ndarray, share_S: np.ndarray, seed: int) -> np.ndarray:
        """int64 [G], the side of each group."""
        groups, num = self._groups, self._groups.num_groups
        held_GS = np.zeros((num, len(share_S)), np.int64)
        np.add.at(held_GS, (groups.group_N[held_N >= 0], held_N[held_N >= 0]), 1)
        self.num_groups, self.num_leaks = num, int(((held_GS > 0).sum(axis=1) > 1).sum())
        self._stratum_G = _most_frequent(groups.group_N, stratum_N, num)
        order_G = shuffled(groups.name_G ^ shuffled(np.array([seed % 2**64], np.uint64)))
        return allot(groups.rows_G, order_G, self._stratum_G, held_GS, share_S, by_stratum=self.by_stratum)


class LeakProofSplit(_Split):
    """A column with the side of each row: train, test, or others, such that rows of two sides share nothing.

    Rows hang together when they share a value of any of the columns `by`, directly or through other rows: an equal
    picture (`sha256`), a look-alike (`near_duplicates`), a caption (each entry of a list counts; capitals and blanks
    make no difference). A group goes to one side whole. The shares are those of the rows, as near as groups allow, and
    no side is left empty where there are as many groups. The order of the rows makes no difference. Rows that have a
    side keep it when rows are added, and new ones make up for what is lacking; where new rows join groups of several
    sides, they go where most of the group is, and `notes` counts the group. A row gets a side once it has a value in
    every column that is read. About 12 bytes are held for each value of each row.

    Args:
        table: all of it is read once, to find the groups; or the location of one.
        by: columns of texts, whole numbers, or lists of these.
        stratify: column of classes; each is shared out alike, as near as groups allow.
        shares: of the rows, by side; they add up to 1.
        seed: another one gives another split.
        column: where an earlier run with the same parameters wrote the split; what others wrote there does not count.

    Raises:
        UsageError: the shares are none, the seed is no whole number, or a name of a column is no text.
        SchemaError: the table lacks a column, or one has another type.
    """

    name = "LeakProofSplit"
    version = "1"
    _what = "a value"

    def __init__(
        self,
        table: AnyTable,
        by: Sequence[str] = ("sha256",),
        stratify: str | None = None,
        *,
        shares: str | Mapping[str, float] = "train=0.8,test=0.2",
        seed: int = 0,
        column: str = "split",
    ) -> None:
        names = [by] if isinstance(by, str) else list(by) if isinstance(by, list | tuple) else []
        if not names or len({*names, stratify}) != len(names) + 1:
            raise UsageError(
                f"{self.name}: by is {by!r:.80}, stratify is {stratify!r:.40}; expected names of columns, each once",
                hint='by=["sha256", "caption"], or -p by=sha256,caption',
            )
        for name in names:
            require_names(self.name, by=name, stratify=stratify, column=column)
        checked = Shares.of(self.name, shares)
        self._num_by = len(names)
        columns: dict[str, Kind | None] = dict.fromkeys(names, LABELS)
        if stratify is not None:
            columns[stratify] = LABEL
        parameters = {"by": names, "stratify": stratify, "shares": str(checked), "seed": seed}
        self._begin(table, columns, column, checked, seed, parameters)

    def notes(self) -> dict[str, Any]:
        """How many groups there are, how large the largest is, and how many join rows of several sides."""
        largest = int(self._groups.rows_G.max()) if self.num_groups else 0
        return {**super().notes(), "rows of the largest group": largest}

    def _tied(self, batch: pa.RecordBatch) -> Sequence[Tied]:
        return [tied_by(batch.column(place)) for place in range(self._num_by)]

    def _stratum(self, batch: pa.RecordBatch) -> np.ndarray:
        if len(self.reads) == self._num_by:
            return super()._stratum(batch)
        value_B, _ = tied_by(batch.column(self._num_by)).first_of(batch.num_rows)
        return value_B


class GroupSplit(_Split):
    """A column "train" or "test", the same for all rows that hang together.

    Rows hang together when they show an equal picture or have an equal right caption, directly or through other rows.
    For the rest see `LeakProofSplit`.

    Args:
        table: all of it is read once, to find the groups; or the location of one.
        picture: column that is equal for equal pictures.
        choices: column of lists of captions.
        label_index: column that says which of them is right.
        column: where an earlier run with the same parameters wrote the split; what others wrote there does not count.
        test_share: of the rows that goes to "test", as near as groups allow.
        seed: another one gives another split.

    Raises:
        UsageError: the share is not between 0 and 1, the seed is no whole number, or a name of a column is no text.
        SchemaError: the table lacks a column, or one has another type.
    """

    name = "GroupSplit"
    version = "2"

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
        shares = Shares.of_test(self.name, test_share)
        columns = {picture: None, choices: TEXTS, label_index: INTEGER}
        self._begin(table, columns, column, shares, seed, {"test_share": test_share, "seed": seed})

    def _tied(self, batch: pa.RecordBatch) -> Sequence[Tied]:
        return [tied_by(batch.column(0)), tied_by(_right_captions(batch))]


class PairSplit(_Split):
    """A column "train" or "test" for pictures with captions, the same for all rows that hang together.

    Rows hang together when they show an equal picture or have an equal caption. Where captions are of few kinds, as
    names of classes are, nearly all pictures would hang together, and a side would be a set of classes: then pictures
    are held out by themselves, and `notes` says so. For the rest see `LeakProofSplit`.

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
    version = "2"

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
        shares = Shares.of_test(self.name, test_share)
        columns = {picture: None, text: CAPTIONS}
        self._begin(table, columns, column, shares, seed, {"test_share": test_share, "seed": seed})

    def notes(self) -> dict[str, Any]:
        """How many groups there are, and whether captions tie pictures together."""
        alone = {} if self.by_captions else {"captions are of few kinds": "pictures are held out by themselves"}
        return {**super().notes(), **alone}

    def _grouped(self, ties: Ties) -> Groups:
        groups = ties.groups()
        pictures_G = np.bincount(groups.group_of_value[0], minlength=groups.num_groups)
        num, largest = int(pictures_G.sum()), int(pictures_G.max(initial=0))
        self.by_captions = num <= _MEAN_GROUP * len(pictures_G) and largest <= max(_LARGEST_GROUP * num, 2)
        return groups if self.by_captions else ties.groups(1)

    def _tied(self, batch: pa.RecordBatch) -> Sequence[Tied]:
        return [tied_by(batch.column(0)), tied_by(batch.column(1))]


class ClassSplit(_Split):
    """A column "train" or "test": a share of each class's rows is held out, equal pictures on one side.

    A picture that stands under several classes counts for the one that it stands under most often. A class of two
    pictures or more is on both sides; one of a single picture is trained on, and `notes` counts it. For the rest see
    `LeakProofSplit`, whose `stratify` holds to the share of all rows rather than to that of every class.

    Args:
        table: all of it is read once, to find the pictures of each class; or the location of one.
        picture: column that is equal for equal pictures.
        label_index: column with the place of the class; a row without one has no side.
        column, seed: as of `GroupSplit`.
        test_share: of the rows of each class that goes to "test", as near as pictures allow.

    Raises:
        UsageError: the share is not between 0 and 1, the seed is no whole number, or a name of a column is no text.
        SchemaError: the table lacks a column, or one has another type.
    """

    name = "ClassSplit"
    version = "2"
    by_stratum = True

    def __init__(
        self,
        table: AnyTable,
        *,
        picture: str = "sha256",
        label_index: str = "label_ind",
        column: str = "split",
        test_share: float = 0.2,
        seed: int = 0,
    ) -> None:
        require_names(self.name, picture=picture, label_index=label_index, column=column)
        shares = Shares.of_test(self.name, test_share)
        columns = {picture: None, label_index: INTEGER}
        self._begin(table, columns, column, shares, seed, {"test_share": test_share, "seed": seed})

    def notes(self) -> dict[str, Any]:
        """How many classes there are, and how many have a single picture."""
        pictures_T = np.unique(self._stratum_G, return_counts=True)[1]
        num_alone = int((pictures_T == 1).sum())
        alone = {"classes of one picture, trained on": num_alone} if num_alone else {}
        leaks = {"pictures with rows on both sides": self.num_leaks} if self.num_leaks else {}
        return {"classes": len(pictures_T), **alone, **leaks}

    def _tied(self, batch: pa.RecordBatch) -> Sequence[Tied]:
        return [tied_by(batch.column(0))]

    def _stratum(self, batch: pa.RecordBatch) -> np.ndarray:
        stratum_B: np.ndarray = batch.column(1).cast(pa.int64()).to_numpy(zero_copy_only=False)
        return stratum_B


def _has_all(batch: pa.RecordBatch, columns: Sequence[str]) -> pa.Array:
    """Which rows have a value in each of some columns: bool [B]."""
    present_B = np.ones(batch.num_rows, bool)
    for name in columns:
        present_B &= batch.column(name).is_valid().to_numpy(zero_copy_only=False)
    return pa.array(present_B)


def _most_frequent(group_N: np.ndarray, stratum_N: np.ndarray, num_groups: int) -> np.ndarray:
    """int64 [G], the class that most rows of each group have, counted from 0; of equally frequent ones the least."""
    _, of_class_N = np.unique(stratum_N, return_inverse=True)
    width = int(of_class_N.max(initial=0)) + 1
    pair_U, num_U = np.unique(group_N.astype(np.int64) * width + of_class_N, return_counts=True)
    group_U, class_U = np.divmod(pair_U, width)
    best = np.lexsort((class_U, -num_U, group_U))
    first = np.unique(group_U[best], return_index=True)[1]
    found_G = np.zeros(num_groups, np.int64)
    found_G[group_U[best][first]] = class_U[best][first]
    return np.unique(found_G, return_inverse=True)[1].astype(np.int64)


def _right_captions(batch: pa.RecordBatch) -> pa.Array:
    """The right one of each row's choices; null where the index names none."""
    lists, index = batch.column(1), batch.column(2)
    starts = lists.offsets.to_numpy()[:-1].astype(np.int64)
    place = pc.fill_null(index.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)
    length = pc.fill_null(pc.list_value_length(lists).cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    outside = (place < 0) | (place >= length)
    return lists.values.take(pa.array(starts + place, mask=outside))
