"""Parts of a column while it is filled: values of some rows of a fragment, in memory, stored, or in a finished file.

Plain records that pickle. It must not know where they are kept, nor what is still to be done.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from clipdata.lance_io.column_file import Chunk


class CheckpointGone(Exception):  # noqa: N818 - no fault: another run was faster
    """A stored part of a fragment is not there any more."""


@dataclass(frozen=True)
class Part:
    """Values computed for some rows of a fragment.

    Args:
        places: int64 [n], ascending physical places in the fragment.
        values: Arrow array [n]; null where the step failed.
        reasons: string array [n]; the reason where `values` is null.
    """

    places: np.ndarray
    values: pa.Array
    reasons: pa.Array


@dataclass(frozen=True)
class Checkpoint:
    """Parts of a fragment that are stored beside the table.

    Args:
        name: of the record.
        places: int64 [n], ascending.
        failed: whether a value among them is missing.
    """

    name: str
    places: np.ndarray
    failed: bool


@dataclass(frozen=True)
class Finished:
    """A fragment whose column file is written and waits to be committed.

    Args:
        fragment_id: of the fragment.
        signature: what the file was computed from.
        file: name of the column file; None when there was nothing to compute.
        reasons_file: name of the file of reasons, when there are any to write.
        computed: rows that the run which wrote it computed.
        failed: those of them that stayed null, by reason.
        placed: rows for which it holds a value or a reason that were not there before, whichever run computed them.
    """

    fragment_id: int
    signature: str
    file: str | None
    reasons_file: str | None = None
    computed: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)
    placed: int = 0

    @classmethod
    def from_record(cls, record: Any) -> Finished | None:
        """Read what was recorded; None when it is not of this kind, as one of another release may be."""
        try:
            return cls(**record)
        except TypeError:
            return None


def lanes(checkpoints: Sequence[Checkpoint]) -> list[list[Checkpoint]]:
    """Checkpoints in as few rows as can be, in each of which one begins behind the end of the one before."""
    lanes: list[list[Checkpoint]] = []
    for checkpoint in sorted(checkpoints, key=lambda c: int(c.places[0])):
        free = next((lane for lane in lanes if lane[-1].places[-1] < checkpoint.places[0]), None)
        if free is None:
            lanes.append([checkpoint])
        else:
            free.append(checkpoint)
    return lanes


def values_of(parts: Sequence[Part]) -> Iterator[Chunk]:
    """What `write_column` takes of parts that are held."""
    for part in parts:
        yield part.places, part.values
