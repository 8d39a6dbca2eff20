"""GroupSplit: training and test rows that share no picture and no right caption."""

from __future__ import annotations

import hashlib
from collections import Counter as Tally
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from clipdata.errors import SchemaError, UsageError
from clipdata.lance_io.table import Table


class GroupSplit:
    """A column "train" or "test", the same for all rows that hang together.

    Rows hang together when they show an equal picture or have an equal right caption, directly or through other rows. A
    group goes to one side by a hash of its first picture; so the split does not depend on the order of the rows. Groups
    that already have a side, from an earlier run, keep it.

    Args:
        table: all of it is read once, to find the groups.
        picture: column that is equal for equal pictures.
        choices: column of lists of captions.
        label_index: column that says which of them is right.
        column: where an earlier run wrote the split.
        test_share: of the groups that goes to "test".
        seed: of the hash.

    Raises:
        UsageError: the share is not between 0 and 1.
    """

    name = "GroupSplit"
    version = "1"
    returns = pa.string()
    model: str | None = None

    def __init__(
        self,
        table: Table,
        *,
        picture: str = "sha256",
        choices: str = "caption_choices",
        label_index: str = "label_ind",
        column: str = "split",
        test_share: float = 0.2,
        seed: int = 0,
    ) -> None:
        if not 0 < test_share < 1:
            raise UsageError(f"GroupSplit: test_share is {test_share}; expected a share between 0 and 1")
        self.reads: tuple[str, ...] = (picture, choices, label_index)
        self.parameters: Mapping[str, Any] = {"test_share": test_share, "seed": seed}
        self.num_groups = self.num_leaks = 0
        newest = table.latest()
        newest.require(self.reads, verb="map GroupSplit")
        self._side_of = self._decide(newest, column, test_share, seed)

    def check(self, schema: pa.Schema) -> None:
        """Choices must be lists, their index an integer.

        Raises:
            SchemaError: another type.
        """
        _, choices, label_index = self.reads
        if not pa.types.is_list(schema.field(choices).type):
            raise SchemaError(f"GroupSplit: column {choices!r} is {schema.field(choices).type}; expected lists")
        if not pa.types.is_integer(schema.field(label_index).type):
            raise SchemaError(
                f"GroupSplit: column {label_index!r} is {schema.field(label_index).type}; expected integers"
            )

    def prepare(self, batch: pa.RecordBatch) -> None:
        """Nothing to prepare."""

    def compute(self, batch: pa.RecordBatch, prepared: None) -> pa.Array:
        """The side of each row: string [B]."""
        return pa.array([self._side_of[picture] for picture, _ in _members(batch)], pa.string())

    def notes(self) -> dict[str, Any]:
        """How many groups there are, and how many now join rows of both sides."""
        leaks = {"groups with rows on both sides": self.num_leaks} if self.num_leaks else {}
        return {"groups": self.num_groups, **leaks}

    def _decide(self, table: Table, column: str, test_share: float, seed: int) -> dict[str, str]:
        """Side of each picture."""
        parent: dict[str, str] = {}
        sides: dict[str, set[str]] = {}
        has_sides = column in table.schema.names
        for batch in table.scan([*self.reads, *([column] if has_sides else [])], batch_rows=8192):
            known = batch.column(column).to_pylist() if has_sides else [None] * batch.num_rows
            for (picture, caption), side in zip(_members(batch), known, strict=True):
                _join(parent, f"picture:{picture}", f"caption:{caption}")
                if side is not None:
                    sides.setdefault(picture, set()).add(side)
        groups: dict[str, list[str]] = {}
        for member in parent:
            if member.startswith("picture:"):
                groups.setdefault(_root(parent, member), []).append(member.removeprefix("picture:"))
        self.num_groups = len(groups)
        decided: dict[str, str] = {}
        for pictures in groups.values():
            present = Tally(side for picture in pictures for side in sides.get(picture, ()))
            self.num_leaks += len(present) > 1
            digest = hashlib.sha256(f"{seed}\x00{min(pictures)}".encode()).digest()
            drawn = "test" if int.from_bytes(digest[:8], "big") / 2**64 < test_share else "train"
            side = present.most_common(1)[0][0] if present else drawn
            decided |= dict.fromkeys(pictures, side)
        return decided


def _members(batch: pa.RecordBatch) -> Iterator[tuple[str, str]]:
    """Picture and right caption of each row; a row without a right caption stands by its picture alone."""
    for picture, choices, index in zip(*(batch.column(place).to_pylist() for place in range(3)), strict=True):
        is_known = choices is not None and index is not None and 0 <= index < len(choices)
        yield str(picture), str(choices[index]) if is_known else f"none of {picture}"


def _root(parent: dict[str, str], member: str) -> str:
    parent.setdefault(member, member)
    while parent[member] != member:
        parent[member] = parent[parent[member]]
        member = parent[member]
    return member


def _join(parent: dict[str, str], one: str, other: str) -> None:
    parent[_root(parent, one)] = _root(parent, other)
