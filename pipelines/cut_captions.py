"""Cut captions: how many of a training's captions end behind what its model reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class CutCaptions:
    """How many captions end behind what a model reads.

    Args:
        captions: distinct ones that a training may read.
        cut: those of them that are longer.
        length: ids that the model reads of each.
    """

    captions: int
    cut: int
    length: int

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {"captions": self.captions, "cut": self.cut, "share": self.share, "length": self.length}

    @property
    def share(self) -> float:
        """Of the captions."""
        return self.cut / max(self.captions, 1)

    def __str__(self) -> str:
        return (
            f"captions cut at {self.length} tokens: {self.cut:,} of {self.captions:,} distinct ones ({self.share:.1%})"
        )
