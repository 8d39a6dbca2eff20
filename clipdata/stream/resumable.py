"""A torch dataset of numbered turns that knows where it stands: states, epochs, ends, and the workers that share it.

`Stream` and `Mix` say what the turns are of. It must not know tables, nor how a turn is made.
"""

from __future__ import annotations

import copy
import os
import sys
from abc import abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import cached_property
from typing import Any, Self

from torch.utils.data import IterableDataset, get_worker_info

from clipdata.arguments import check_count
from clipdata.errors import UsageError
from clipdata.stream.assembly import second_batching
from clipdata.stream.plan import Cursor, worker_batches
from clipdata.stream.position import Lane, Place, Position
from clipdata.stream.shares import Shares, Watch
from clipdata.stream.sharing import refuse_second_sharing
from clipdata.stream.span import Span
from clipdata.stream.state import State, merged
from clipdata.stream.turns import Turn


class Resumable(IterableDataset[Any]):
    """Turns of a plan, from where it stands; see `dataset` for how to use one.

    Whoever derives from it sets `plan` and `_turns`, the maker of turns, and calls `_begin_anew`.
    """

    plan: Any
    _turns: Any
    _of_samples: bool

    @abstractmethod
    def _identity(self) -> dict[str, Any]:
        """What the order depends on, as JSON values: what a state carries and is held to."""

    def _begin_anew(self, span: Span) -> None:
        """Stand at the beginning, having met no row."""
        self._span = span
        self._position = Position(Cursor(span.first_epoch, 0))
        self._left_out: dict[str, set[Any]] = {}
        self._watch = Watch()
        self._num_together = 0
        self._home = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        refuse_second_sharing(self._turns.world_size)
        return dict(self.__dict__)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._home = os.getpid()

    def __len__(self) -> int:
        """Batches (or single rows) of an iteration: of one epoch, or of all those that follow without a pause."""
        if self._span.is_endless:
            raise TypeError("a stream that repeats without an end has no length; take(n) gives it one")
        epoch, total = self._position.start.cursor.epoch, self.plan.num_batches
        return max(self._span.stop(self._span.until(epoch), total) - epoch * total, 0)

    def take(self, num_batches: int) -> Self:
        """The same stream, ended early, from its beginning.

        Args:
            num_batches: of each epoch (or single rows of this rank), the first ones in its order; all epochs follow one
                another at this length. Of a repeated stream: of all its epochs together.
        """
        check_count(num_batches, "take: num_batches", least=1)
        if self._span == Span(self._span.first_epoch):
            taken = num_batches if self.plan.take is None else min(num_batches, self.plan.take)
            return self._changed(replace(self.plan, take=taken), self._span)
        turns = num_batches if self._span.turns is None else min(num_batches, self._span.turns)
        span = replace(self._span, turns=turns)
        if self._span.is_endless:  # an iteration ends now, and the next one wants an epoch to begin in
            span = replace(span, epochs=-(-turns // self.plan.num_batches))
        return self._changed(self.plan, span)

    def repeat(self, num_epochs: int | None = None) -> Self:
        """The same stream, an iteration of which goes through several epochs without a pause, from its beginning.

        Args:
            num_epochs: None goes on without an end.

        Raises:
            UsageError: it was repeated before, in whole or in part, or has an `until_epoch`.
        """
        if num_epochs is not None:
            check_count(num_epochs, "repeat: num_epochs", least=1)
        if self._span != Span(self._span.first_epoch):
            raise UsageError(
                "this stream goes through several epochs already; expected one that does not",
                hint="stream.take(10).repeat(3) gives ten batches of each epoch; Stream(…, until_epoch=None) one epoch",
            )
        return self._changed(self.plan, replace(self._span, epochs=num_epochs))

    def _changed(self, plan: Any, span: Span) -> Self:
        stream = copy.copy(self)
        stream.plan, stream._turns = plan, replace(self._turns, plan=plan)
        stream._begin_anew(span)
        return stream

    @property
    def num_together(self) -> int:
        """Rows met so far that share their id with an earlier row of their batch, over all ranks; see `apart`.

        Those of batches that workers made count when the stream is iterated through `load`.
        """
        return self._num_together

    @property
    def left_out(self) -> dict[str, int]:
        """Reason → number of rows that were left out so far because their image cannot be used.

        A row counts once, in however many epochs it is met. Rows met by workers count when the stream is iterated
        through `load`; a plain DataLoader's batches carry them in their entry `left_out`.
        """
        return {reason: len(offsets) for reason, offsets in sorted(self._left_out.items())}

    @property
    def shares(self) -> Shares:
        """Where the time of the newest iteration went, so far: waiting, reading, decoding; and how much came.

        What workers did counts when the stream is iterated through `load`.
        """
        return self._watch.shares()

    def set_epoch(self, epoch: int) -> None:
        """Begin the next iteration at the start of an epoch, in workers as well.

        Right after `load_state_dict`, the epoch that the state stands in goes on where it does: loops and trainers say
        the epoch before each one, also before the one that they resume.
        """
        if not self._position.resumes(epoch):
            self._position.tell(Place(Cursor(epoch, 0)))

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands: the next batch, and what the order depends on. It names no rank and no worker.

        For single rows `batch` is the next row, over all ranks.
        """
        now = self._position.now
        return State(Cursor(now.cursor.epoch, now.cursor.batch * self._unit), now.lane, self._identity()).written()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Begin the next iteration where a state was taken, on any number of ranks and workers.

        Args:
            state: of `state_dict` or `merge_states`, or just {"epoch": …, "batch": …} of a batch's cursor.

        Raises:
            ConfigError: the state is of another table, version, filter or plan, or stands at no place of this stream.
        """
        found = State.read(state)
        found.check(self._identity())
        place = Place(found.cursor_in(self.plan.num_batches, self._unit), found.lane)
        self._position.tell(place, resumes=True)

    @staticmethod
    def merge_states(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Make one state of several, which any number of ranks and workers can load.

        Ranks step together, so that all stand at the same batch; workers take turns, and the stream stands where the
        slowest of them does.

        Args:
            states: of each rank's stream, or of each rank's torchdata StatefulDataLoader, with any number of workers.

        Raises:
            ConfigError: they are of different streams; or they stand at different places, so that some rows would come
                twice or never.
        """
        return merged(states)

    def __iter__(self) -> Iterator[Any]:
        # The loop that collects items for a DataLoader's own batches; it would also take those of a Trainer.
        asking = sys._getframe(1).f_locals.get("self")
        if not self._of_samples and getattr(asking, "auto_collation", False):
            raise second_batching()
        refuse_second_sharing(self._turns.world_size)
        return self._items(self.turns())

    @staticmethod
    def _items(turns: Generator[Turn, None, None]) -> Generator[Any, None, None]:
        with closing(turns):
            for turn in turns:
                if turn.item is not None:
                    yield turn.item

    def turns(self) -> Generator[Turn, None, None]:
        """Begin an iteration, and hand out turn by turn: what `load` needs to follow in the stream it was given."""
        worker, num_workers = self._worker()
        begun, until = self._position.begin(self._span.until)
        total = self.plan.num_batches
        first = begun.cursor.epoch * total + begun.cursor.batch + worker
        if begun.lane is not None:
            first -= worker
            if begun.lane[0] != num_workers:
                raise UsageError(
                    f"the state was taken with {begun.lane[0]} workers, and there are {num_workers} now",
                    hint="stream.load_state_dict(Stream.merge_states([state of the loader])) goes on with any number",
                )
        lane = (num_workers, until) if get_worker_info() else None
        if lane is not None:
            self._position.move(Place(self._turns.cursor(first), lane))
        numbers = worker_batches(first, self._span.stop(until, total), 0, num_workers)
        return self._follow(self.watched(self._turns.read(numbers)), lane, until)

    def watched(self, turns: Iterator[Turn]) -> Generator[Turn, None, None]:
        """Yield the turns of an iteration that begins, and measure it; see `shares`."""
        self._watch = watch = Watch()
        for turn in watch.over(turns):
            watch.work += turn.work
            yield turn

    def hear(self, turn: Turn) -> bool:
        """Stand behind a turn that a worker's copy handed out; tell whether it is the last of the iteration."""
        self._count(turn)
        until = self._span.until(self._position.start.cursor.epoch)
        if turn.number + 1 == self._span.stop(until, self.plan.num_batches):
            self.hear_end()
            return True
        self._position.move(Place(self._turns.cursor(turn.number + 1)))
        return False

    def hear_end(self) -> None:
        """Stand where the next iteration begins, after workers came to the end of this one."""
        self._position.end(self._span.until(self._position.start.cursor.epoch), warn_of_repeats=False)

    def _follow(self, turns: Generator[Turn, None, None], lane: Lane | None, until: int) -> Generator[Turn, None, None]:
        stop, ended = self._span.stop(until, self.plan.num_batches), False
        with closing(turns):
            for turn in turns:
                self._count(turn)
                # Whoever knows the length does not ask for more than the last turn to learn that it was.
                ended = lane is None and turn.number + 1 == stop
                if ended:
                    self._position.end(until, warn_of_repeats=False)
                else:
                    following = turn.number + (1 if lane is None else lane[0])
                    self._position.move(Place(self._turns.cursor(following), lane))
                yield turn
        if not ended:
            self._position.end(until, warn_of_repeats=bool(self.plan.shuffle))

    def _count(self, turn: Turn) -> None:
        self._num_together += turn.num_together
        for reason, offsets in turn.left_out.items():
            self._left_out.setdefault(reason, set()).update(offsets)

    def _worker(self) -> tuple[int, int]:
        info = get_worker_info()
        if info is not None and self._turns.device is not None and self._turns.device.type == "cuda":
            raise UsageError(
                "this stream decodes on a GPU, which worker processes cannot share with the one that trains",
                hint="num_workers=0",
            )
        if info is not None and self._home != os.getpid():
            raise UsageError(
                "this DataLoader forked its workers, and Lance's threads do not survive a fork",
                hint='pass multiprocessing_context="forkserver", or use clipdata.stream.load(stream, num_workers)',
            )
        return (info.id, info.num_workers) if info else (0, 1)

    @cached_property
    def _unit(self) -> int:
        """What a state counts by: batches, or single rows over all ranks."""
        return self.plan.batch_size if self._of_samples else 1
