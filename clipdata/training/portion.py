"""Portion: which of the rows that can be trained on a run trains on: all, the first, or some that are the same ones
every time. It knows digests, and no tables."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata.arguments import check_count
from clipdata.errors import UsageError
from clipdata.trained_rows import digests


@dataclass(frozen=True)
class Portion:
    """How many rows, and which.

    Args:
        limit: the first so many, in the table's order; None for all.
        sample: so many, chosen by a digest of their keys; None for all.
        seed: another seed chooses others.

    Raises:
        UsageError: a number is none, or both are given.
    """

    limit: int | None = None
    sample: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("limit", "sample"):
            if getattr(self, name) is not None:
                check_count(getattr(self, name), f"train: {name}", least=1)
        if self.limit is not None and self.sample is not None:
            raise UsageError("train: limit and sample are both given; expected one of them")

    def to_json(self) -> dict[str, int]:
        """What a record of the run says of it; nothing for all rows. The seed is the config's."""
        return {name: number for name in ("limit", "sample") if (number := getattr(self, name)) is not None}

    def of(self, offsets_N: np.ndarray, keys_N: np.ndarray) -> np.ndarray:
        """Offsets of the rows that are taken, int64 [n], ascending.

        Args:
            offsets_N: int64, ascending, of the rows that can be trained on.
            keys_N: uint64, digests of their keys; where the table has none, the offsets stand for them.
        """
        if self.sample is None:
            return offsets_N[: self.limit]
        named = pa.array(keys_N if len(keys_N) else offsets_N).cast(pa.string())
        ranks = digests(pc.binary_join_element_wise(pa.scalar(str(self.seed)), named, " "))
        return np.sort(offsets_N[np.argsort(ranks, kind="stable")[: self.sample]])


@dataclass(frozen=True)
class These(Portion):
    """Rows that were chosen already.

    Args:
        offsets_n: int64, ascending.
    """

    offsets_n: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    def to_json(self) -> dict[str, int]:
        """How many."""
        return {"these": len(self.offsets_n)}

    def of(self, offsets_N: np.ndarray, keys_N: np.ndarray) -> np.ndarray:
        """Those."""
        return self.offsets_n
