"""Position: where a stream stands and where its next iteration begins, heard by the workers of a DataLoader.

Worker processes hold copies of a stream. What is said to the stream itself (`set_epoch`, `load_state_dict`) lies in
memory that the copies share, so that workers which live longer than an epoch begin the next one where they are told to.
It knows cursors; it must not know tables or batches.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.context import get_spawning_popen
from typing import Any

import torch
from torch.utils.data import get_worker_info

from clipdata.stream.plan import Cursor

Lane = tuple[int, int]
"""Of a state taken inside a DataLoader worker: how many workers there were, and the epoch before which they stop."""

_TIMES_TOLD, _EPOCH, _BATCH, _ENDED = range(4)


@dataclass(frozen=True)
class Place:
    """Where an iteration begins, or a stream stands."""

    cursor: Cursor = field(default_factory=Cursor)
    lane: Lane | None = None


class Position:
    """See the module.

    Args:
        start: where the first iteration begins.
    """

    def __init__(self, start: Cursor) -> None:
        self.start = self.now = Place()
        self._shared = torch.zeros(4, dtype=torch.int64)
        self._owner = os.getpid()
        self._heard = 0
        self._is_fresh = self._resumes = False
        self.tell(Place(start))

    def __getstate__(self) -> dict[str, Any]:
        if get_spawning_popen() is not None:  # on the way to a worker; any other copy goes its own ways
            self._own()
            self._resumes = False
            self._shared.share_memory_()
            if self._shared[_ENDED]:
                self._shared[_ENDED] = 0
                warnings.warn(
                    f"workers have streamed epoch {self.start.cursor.epoch} to its end, and begin it once more; call "
                    "stream.set_epoch(epoch) before every epoch, or use clipdata.stream.load(stream, num_workers)",
                    stacklevel=2,
                )
        return dict(self.__dict__)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._is_fresh = True

    def resumes(self, epoch: int) -> bool:
        """Whether a state that stands in this epoch was loaded, and no iteration began since."""
        return self._resumes and self.start.cursor.epoch == epoch

    def tell(self, place: Place, *, resumes: bool = False) -> None:
        """Begin the next iteration at a place; workers are told as well."""
        self.start = self.now = place
        self._resumes = resumes
        if get_worker_info() is not None:
            return  # of this worker alone: each is given its own state
        self._own()
        self._shared[_EPOCH], self._shared[_BATCH] = place.cursor.epoch, place.cursor.batch
        self._shared[_ENDED] = 0
        self._shared[_TIMES_TOLD] += 1
        self._heard = int(self._shared[_TIMES_TOLD])

    def begin(self, until_of: Callable[[int], int]) -> tuple[Place, int]:
        """Begin an iteration.

        A worker moves on to the next one at once: all workers of an iteration then agree on where the next begins,
        also when it is broken off and some had come to their end.

        Args:
            until_of: epoch in which an iteration begins → epoch before which it ends.

        Returns:
            Where it begins, and the epoch before which it ends.
        """
        told = int(self._shared[_TIMES_TOLD])
        in_worker = get_worker_info() is not None
        # A worker's first iteration is the one it was started for, whatever was said meanwhile.
        if in_worker and told != self._heard and not self._is_fresh:
            self._heard = told
            self.start = Place(Cursor(int(self._shared[_EPOCH]), int(self._shared[_BATCH])))
        self._is_fresh = self._resumes = False
        begun = self.now = self.start
        # A worker may stand behind the end of its iteration, which its state tells.
        until = until_of(begun.cursor.epoch) if begun.lane is None else begun.lane[1]
        if in_worker:
            self.start = Place(Cursor(until if begun.lane else max(until, begun.cursor.epoch), 0))
        return begun, until

    def move(self, place: Place) -> None:
        """Stand at a place of the iteration; the next one begins where this one did."""
        self.now = place

    def end(self, until: int, *, warn_of_repeats: bool) -> None:
        """Stand where the next iteration begins; a worker stands where it came to its end.

        Args:
            until: as `begin` returned it.
            warn_of_repeats: starting workers again for the same epoch is worth a word.
        """
        if get_worker_info() is None:
            self.tell(Place(Cursor(max(until, self.start.cursor.epoch), 0)))
            return
        if warn_of_repeats and int(self._shared[_TIMES_TOLD]) == self._heard:
            self._shared[_ENDED] = 1

    def _own(self) -> None:
        """Speak to this process's own workers alone, in a process that was started with a copy of a stream."""
        if self._owner != os.getpid():
            self._shared, self._owner = self._shared.clone(), os.getpid()
