"""What a column of prepared pixels says of itself in its lineage, and whether it is what a model wants.

The step that makes such a column and the stream that reads it agree on it here. It knows lineages and preparations; it
must not know tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import pyarrow as pa

from clipdata.encoder.preparation import Preparation
from clipdata.errors import UsageError
from clipdata.lineage import Lineage

STEP = "PreparedPixels"
VERSION = "1"
Kind = Literal["raw", "jpeg"]
_DECISIVE = ("interpolation", "resize_mode", "fill_color")


@dataclass(frozen=True)
class PreparedColumn:
    """Pictures as a preparation makes them, level for level as open_clip's own transform does, and how they are kept.

    Args:
        kind: "raw", height × width × 3 levels a picture; or "jpeg", a JPEG of that size.
        preparation: that made them, at the size that is stored; always exact. Mean and deviation say nothing of it.
        image: column of the pictures they were made of.

    Raises:
        UsageError: the kind is neither.
    """

    kind: Kind
    preparation: Preparation
    image: str = "image"

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise UsageError(f"{STEP}: kind is {self.kind!r:.80}; expected {' or '.join(map(repr, get_args(Kind)))}")

    @classmethod
    def of(cls, lineage: Lineage | None) -> PreparedColumn | None:
        """What a column holds by its lineage; None where it holds no prepared pixels of this release's step."""
        if lineage is None or lineage.step != STEP or lineage.step_version != VERSION:
            return None
        parameters = lineage.parameters
        stored = sized(preparation_of(parameters["preparation"]), parameters.get("side"))
        return cls(parameters["kind"], stored, lineage.inputs[0])

    @property
    def type(self) -> pa.DataType:
        """Arrow type of the column."""
        return pa.list_(pa.uint8(), self.num_levels) if self.kind == "raw" else pa.binary()

    @property
    def num_levels(self) -> int:
        """Levels of one picture: height × width × 3, which are bytes where they are raw."""
        return self.preparation.size[0] * self.preparation.size[1] * 3

    def differences(self, wanted: Preparation, *, larger: bool = False) -> list[str]:
        """In what its pixels are not those that a model wants, a line each; empty where they are.

        Args:
            wanted: at any fidelity: exact levels are within the error of every other.
            larger: random crops are made of them, so that they may be larger.
        """
        mine = self.preparation
        lines = [
            f"{name} {getattr(mine, name)!r}; expected {getattr(wanted, name)!r}"
            for name in _DECISIVE
            if getattr(mine, name) != getattr(wanted, name)
            and (name != "fill_color" or wanted.resize_mode == "longest")
        ]
        fits = all(one >= other for one, other in zip(mine.size, wanted.size, strict=True))
        if mine.size != wanted.size and not (larger and fits):
            least = "at least " if larger else ""
            lines.append(f"size {_spelt(mine.size)}; expected {least}{_spelt(wanted.size)}")
        return lines

    def describe(self) -> str:
        """For people: "raw, exact" or "JPEG 224 × 224"."""
        return "raw, exact" if self.kind == "raw" else f"JPEG, {_spelt(self.preparation.size)}"


def facts_of(preparation: Preparation) -> list[Any]:
    """What of a preparation decides the pixels that are stored, as JSON values; `preparation_of` reads it.

    Returns:
        height, width, filter, mode and level of the padding.
    """
    how = preparation
    return [*how.size, how.interpolation, how.resize_mode, how.fill_color]


def preparation_of(facts: Sequence[Any]) -> Preparation:
    """The preparation that `facts_of` told, without the mean and the deviation of a model."""
    height, width, interpolation, resize_mode, fill_color = facts
    return Preparation((height, width), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), interpolation, resize_mode, fill_color)


def sized(preparation: Preparation, side: int | None) -> Preparation:
    """An exact preparation to another size.

    Args:
        side: the shorter one, in pixels; the other keeps its share. None keeps the size.
    """
    height, width = preparation.size
    if side is None:
        return preparation.with_fidelity("exact")
    size = (round(height * side / min(height, width)), round(width * side / min(height, width)))
    return replace(preparation, size=size, fidelity="exact")


def _spelt(size: tuple[int, int]) -> str:
    return f"{size[0]} × {size[1]}"
