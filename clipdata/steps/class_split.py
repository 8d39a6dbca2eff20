"""ClassSplit: training and test rows that share no picture, with the same share of every class held out.

It must know nothing of encoders or training; pictures and classes are read off two small columns of the table.
"""

from __future__ import annotations

import hashlib
from collections import Counter as Tally
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.step_protocol import INTEGER, BaseStep, check_types, require_names
from clipdata.steps.splits import SCAN_ROWS, require_share


class ClassSplit(BaseStep):
    """A column "train" or "test": a share of each class's pictures is held out, equal pictures on one side.

    Which pictures of a class are held out is decided by a hash of them, so that the split does not depend on the order
    of the rows. A picture that stands under several classes counts for the one that it stands under most often. A class
    of two pictures or more is on both sides; one of a single picture is trained on, and `notes` counts it. Pictures
    that already have a side, from an earlier run, keep it.

    Args:
        table: all of it is read once, to find the pictures of each class; or the location of one.
        picture: column that is equal for equal pictures.
        label_index: column with the place of the class; a row without one has no side.
        column: where an earlier run with the same parameters wrote the split; what others wrote there does not count.
        test_share: of the pictures of each class that goes to "test".
        seed: of the hash.

    Raises:
        UsageError: the share is not between 0 and 1, the seed is no whole number, or a name of a column is no text.
        SchemaError: the table lacks a column, or one has another type.
    """

    name = "ClassSplit"
    version = "1"
    returns = pa.string()

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
        require_share(self.name, test_share, seed)
        require_names(self.name, picture=picture, label_index=label_index, column=column)
        self.reads: tuple[str, ...] = (picture, label_index)
        self.takes = {label_index: INTEGER}
        self.parameters = {"test_share": test_share, "seed": seed}
        self.num_classes = self.num_alone = 0
        newest = as_table(table).latest()
        self.tables = (newest.uri,)
        newest.require(self.reads, verb="map ClassSplit")
        check_types(self, newest.schema)
        self._side_of = self._decide(newest, column, test_share, seed)

    def compute(self, batch: pa.RecordBatch, prepared: None) -> tuple[pa.Array, list[str | None]]:
        """The side of each row: string [B]."""
        sides = [self._side_of.get(picture) for picture in batch.column(self.reads[0]).to_pylist()]
        reasons = [None if side else "a picture that was not there when the classes were counted" for side in sides]
        return pa.array(sides, pa.string()), reasons

    def notes(self) -> dict[str, Any]:
        """How many classes there are, and how many have a single picture."""
        alone = {"classes of one picture, trained on": self.num_alone} if self.num_alone else {}
        return {"classes": self.num_classes, **alone}

    def _decide(self, table: Table, column: str, test_share: float, seed: int) -> dict[Any, str]:
        """Side of each picture."""
        classes_of: dict[Any, Tally[int]] = {}
        decided: dict[Any, str] = {}
        for picture, label, side in self._rows(table, column):
            classes_of.setdefault(picture, Tally())[label] += 1
            if side is not None:
                decided[picture] = side
        pictures_of: dict[int, list[Any]] = {}
        for picture, classes in classes_of.items():
            pictures_of.setdefault(min(classes, key=lambda label: (-classes[label], label)), []).append(picture)
        for pictures in pictures_of.values():
            undecided = sorted((one for one in pictures if one not in decided), key=lambda one: _drawn(seed, one))
            held_out = sum(decided.get(one) == "test" for one in pictures)
            wanted = _num_held_out(len(pictures), test_share)
            most = len(pictures) - 1 - held_out  # one at least is trained on
            num_more = max(0, min(wanted - held_out, most, len(undecided)))
            decided |= dict.fromkeys(undecided[:num_more], "test") | dict.fromkeys(undecided[num_more:], "train")
            self.num_alone += len(pictures) == 1
        self.num_classes = len(pictures_of)
        return decided

    def _rows(self, table: Table, column: str) -> Iterator[tuple[Any, int, str | None]]:
        """Picture, class and earlier side of each row that has a picture and a class."""
        is_ours = _made_alike(self, table, column)
        for batch in table.scan([*self.reads, *([column] if is_ours else [])], batch_rows=SCAN_ROWS):
            pictures, labels = (batch.column(name).to_pylist() for name in self.reads)
            sides: Sequence[str | None] = batch.column(column).to_pylist() if is_ours else [None] * batch.num_rows
            for picture, label, side in zip(pictures, labels, sides, strict=True):
                if picture is not None and label is not None:
                    yield picture, label, side


def _made_alike(step: ClassSplit, table: Table, column: str) -> bool:
    """Whether a column was written by an earlier run with the same parameters."""
    earlier = table.lineage(column) if column in table.schema.names else None
    return earlier is not None and (earlier.step, earlier.inputs, earlier.parameters) == (
        step.name,
        step.reads,
        step.parameters,
    )


def _num_held_out(num_pictures: int, test_share: float) -> int:
    """Of a class: its share, rounded, but one at least of two and more."""
    return max(round(test_share * num_pictures), 1) if num_pictures > 1 else 0


def _drawn(seed: int, picture: Any) -> bytes:
    return hashlib.sha256(f"{seed}\x00{picture}".encode()).digest()
