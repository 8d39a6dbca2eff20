"""What is handed to an engine and what it gives back. Both pickle, so that the work can be done in another process."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from clipdata.lance_io.filling import Filling
from clipdata.lance_io.parts import Finished
from clipdata.progress import Counter
from clipdata.step_protocol import Step

CHECKPOINT_EVERY_S = 30.0
CHECKPOINT_BYTES = 64 << 20


@dataclass(frozen=True)
class FragmentTask:
    """Fill one fragment.

    Args:
        filling: the table at the version that is read, the column and where finished work is recorded.
        step: makes the values.
        fragment_id: of the fragment.
        batch_rows: most rows that the step is given at once.
        limit: most rows to fill, the first of the fragment; those that an earlier run stored count among them.
        checkpoint_every_s: seconds after which values are stored, so that a kill does not lose them.
        checkpoint_bytes: of values that are held in memory; more are stored.
    """

    filling: Filling
    step: Step
    fragment_id: int
    batch_rows: int
    limit: int = sys.maxsize
    checkpoint_every_s: float = CHECKPOINT_EVERY_S
    checkpoint_bytes: int = CHECKPOINT_BYTES


@dataclass(frozen=True)
class Cost:
    """What computing rows took.

    Args:
        num_rows: that were computed.
        step_s: seconds that the step prepared and computed them, the one beside the other or not; reading aside.
        read_bytes: column → bytes of it that were read.
    """

    num_rows: int = 0
    step_s: float = 0.0
    read_bytes: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: Cost) -> Cost:
        names = [*self.read_bytes, *(name for name in other.read_bytes if name not in self.read_bytes)]
        read = {name: self.read_bytes.get(name, 0) + other.read_bytes.get(name, 0) for name in names}
        return Cost(self.num_rows + other.num_rows, self.step_s + other.step_s, read)


@dataclass(frozen=True)
class FragmentDone:
    """A fragment that was filled, or not.

    Args:
        finished: its column file; None when another writer came in between, and it is left for a later round.
        notes: facts the step counted.
        cost: what computing its rows took.
    """

    fragment_id: int
    finished: Finished | None
    notes: Mapping[str, object] = field(default_factory=dict)
    cost: Cost = Cost()


class Engine(Protocol):
    """Runs tasks."""

    def run(self, tasks: Iterable[FragmentTask], counter: Counter) -> Iterator[FragmentDone]:
        """Yield what was filled, in any order.

        Raises:
            Whatever a step or the storage raised, when no other attempt can help; work that is done stays recorded.
        """
        ...
