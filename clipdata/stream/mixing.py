"""Several streams as one, whose every batch holds rows of each in given proportions.

    for batch in mix([captions, charts], weights=[0.7, 0.3]): ...

The parts keep their own order: a part gives each of its rows once before it gives any of them again, and goes on with
its own next epoch when it comes to an end, in the middle of a batch if need be. A batch has the entries of its parts',
and one more:

    part        int64 [B]: which part gave the row
    offsets     int64 [B]: positions among the live rows of that part's table
    left_out    reason → (part, offset) of rows whose image cannot be used

Everything said in `dataset` of a stream holds of a mix: the same rows in the same batches for any number of workers and
ranks, states, single rows with `batch_size=None`, `load`.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from clipdata.arguments import check_count, check_kind
from clipdata.errors import ConfigError, SchemaError, UsageError
from clipdata.stream.assembly import Assembled
from clipdata.stream.dataset import Stream
from clipdata.stream.groups import Slot
from clipdata.stream.joining import join
from clipdata.stream.plan import Cursor, check_ranks
from clipdata.stream.position import Place
from clipdata.stream.proportions import MixPlan, Until, exact_weights
from clipdata.stream.resumable import Resumable
from clipdata.stream.span import Span
from clipdata.stream.state import checked_cursor
from clipdata.stream.turns import SAMPLES_AT_ONCE, Turn, Turns, batch_turn, sample_turns

_EXAMPLE = "clipdata.mix([captions, charts], weights=[0.7, 0.3])"


def mix(
    streams: Sequence[Stream],
    weights: Sequence[float] | None = None,
    *,
    batch_size: int | None = None,
    until: Until = "first",
    epoch: int = 0,
    until_epoch: int | None = None,
) -> Mix:
    """Mix streams to one that gives rows of each in every batch.

    Args:
        streams: of the same entries, drop_last, rank, world_size and device, which the mix has as well. Each keeps its
            own seed, filter, preparation and policy on bad images.
        weights: of the streams, in any unit; by default their numbers of rows, so that an epoch of the mix holds each
            row of each stream once.
        batch_size: rows of a batch over all ranks; by default that of the streams, which must then agree on it. Streams
            of single rows (`batch_size=None`) may be smaller than a batch of the mix, and mix to single rows by
            default.
        until: where an epoch of the mix ends: "first" where going on would repeat a row of some stream, "all" where
            every stream has given all its rows (shorter ones repeat), or after so many batches. The next epoch goes on
            with every stream where it stands.
        epoch: the first epoch to iterate.
        until_epoch: iterate up to this epoch, this one left out, without a pause; one epoch by default.

    Raises:
        UsageError: the weights do not fit, or a stream is itself a mix.
        SchemaError: the streams have different entries, or entries of different kinds.
        ConfigError: the streams disagree on batch_size, drop_last, rank, world_size or device; or there are too few
            rows for a batch.
    """
    parts = list(streams) if isinstance(streams, Sequence) else [streams]
    if not parts:
        raise UsageError("a mix of no stream has nothing to give", hint=_EXAMPLE)
    for part in parts:
        if isinstance(part, Mix):
            raise UsageError("a part of the mix is a mix; expected streams of tables", hint="mix all streams at once")
        check_kind(part, Stream, "mix: a part", _EXAMPLE)
        if part._span != Span() or part._position.start != Place() or part.plan.take is not None:
            raise UsageError(
                "a part of the mix has an epoch, until_epoch, take, repeat or state of its own; a mix begins at the "
                "start of every part, and goes through all of it",
                hint="say so of the mix: mix(…).take(100), and load a state into what it returns",
            )
        if part._turns.apart is not None:
            raise UsageError("a part of the mix keeps ids apart in its own batches, and a mix makes others of its rows")
    _check_entries(parts)
    settings = _settings(parts, batch_size)
    num_rows = tuple(part.plan.num_rows for part in parts)
    shares = exact_weights(num_rows if weights is None else _checked_weights(weights, len(parts)))
    rank, world_size, batch_size = settings["rank"], settings["world_size"], settings["batch_size"]
    turn_rows = world_size if batch_size is None else batch_size
    check_ranks(turn_rows, rank, world_size)
    plan = MixPlan(num_rows, shares, turn_rows, _checked_until(until), settings["drop_last"])
    if not plan.num_batches:
        raise ConfigError(
            [f"an epoch of the mix ends before it fills a batch of {plan.batch_size} rows"],
            what="mix",
            hint='until="all", or drop_last=False in every stream',
        )
    if until_epoch is not None:
        check_count(until_epoch, "mix: until_epoch")
    span = Span(checked_cursor(epoch, 0).epoch, until_epoch=until_epoch)
    return Mix(parts, plan, span, of_samples=batch_size is None)


class Mix(Resumable):
    """A stream of the rows of several; see the module. `mix` makes it."""

    def __init__(self, parts: Sequence[Stream], plan: MixPlan, span: Span, *, of_samples: bool) -> None:
        self.parts = list(parts)
        self.plan = plan
        self._turns = MixedTurns(tuple(part._turns for part in parts), plan, of_samples)
        self._of_samples = of_samples
        self._begin_anew(span)

    def __repr__(self) -> str:
        plan = self._mix_plan
        size = "single rows" if self._of_samples else f"batches of {plan.batch_size:,}"
        return f"<Mix of {len(self.parts)} streams: {plan.num_batches:,} {size} an epoch, of {self.parts}>"

    def state_dict(self) -> dict[str, Any]:
        """Where the mix stands, what its order depends on, and where every part stands: the next row of its epochs."""
        state, plan = super().state_dict(), self._mix_plan
        first, _ = plan.share(self._position.now.cursor, 0, 1)
        at = [list(divmod(given, rows)) for given, rows in zip(plan.counts(first), plan.num_rows, strict=True)]
        return {**state, "parts": at}

    @property
    def _mix_plan(self) -> MixPlan:
        plan = self._turns.plan
        assert isinstance(plan, MixPlan)
        return plan

    def _identity(self) -> dict[str, Any]:
        plan = self._mix_plan
        whole = {
            "weights": [str(weight / sum(plan.weights)) for weight in plan.weights],
            "until": plan.until,
            "batch_size": None if self._of_samples else plan.batch_size,
            "drop_last": plan.drop_last,
            "take": plan.take,
            "num_batches": plan.num_batches,
        }
        for number, part in enumerate(self.parts):
            of_part = {f"part {number}: {name}": value for name, value in part._identity().items()}
            whole.update({name: value for name, value in of_part.items() if name.split(": ")[1] not in whole})
        return whole


@dataclass(frozen=True)
class MixedTurns:
    """Makes the turns of a mix of what its parts make.

    Args:
        parts: what makes the rows of each.
        plan: which part gives which row.
        of_samples: hand out single rows.
    """

    parts: tuple[Turns, ...]
    plan: MixPlan
    of_samples: bool

    @property
    def world_size(self) -> int:
        """Of the parts."""
        return self.parts[0].world_size

    @property
    def device(self) -> torch.device | None:
        """Of the parts."""
        return self.parts[0].device

    def cursor(self, number: int) -> Cursor:
        """Where a turn lies."""
        return Cursor(*divmod(number, self.plan.num_batches))

    def read(self, numbers: range) -> Generator[Turn, None, None]:
        """Yield turns, in order; see `Turns.read`."""
        with ExitStack() as reading:
            made = [
                reading.enter_context(closing(turns.assembled(self._slots(part, numbers), numbers.step)))
                for part, turns in enumerate(self.parts)
            ]
            for together, *found in zip(self._together(numbers), *made, strict=True):
                yield from self._turns(together, found)

    def _turns(self, together: range, found: Sequence[tuple[Slot, Assembled]]) -> Iterator[Turn]:
        shares = [self._share(number) for number in together]
        part_of_row = np.concatenate([self.plan.parts(*share) for share in shares])
        assembled = join([piece for _, piece in found], part_of_row)
        if not self.of_samples:
            counts_bad = any(part.request.on_bad_image == "leave_out" for part in self.parts)
            yield batch_turn(together[0], self.cursor(together[0] + 1), assembled, counts_bad=counts_bad)
            return
        coming = [iter(slot.offsets.tolist()) for slot, _ in found]
        rows = [(part, next(coming[part])) for part in part_of_row.tolist()]
        yield from sample_turns(together, [stop - start for start, stop in shares], rows, assembled)

    def _together(self, numbers: range) -> Iterator[range]:
        at_once = SAMPLES_AT_ONCE if self.of_samples else 1
        for start in range(0, len(numbers), at_once):
            yield numbers[start : start + at_once]

    def _share(self, number: int) -> tuple[int, int]:
        return self.plan.share(self.cursor(number), self.parts[0].rank, self.world_size)

    def _slots(self, part: int, numbers: range) -> Generator[Slot, None, None]:
        rows = _Endless(self.parts[part])
        for together in self._together(numbers):
            ends = [[self.plan.counts(end)[part] for end in self._share(number)] for number in together]
            found = [rows.between(start, stop) for start, stop in ends]
            yield Slot(
                numbers=tuple(together),
                num_rows=tuple(stop - start for start, stop in ends),
                offsets=np.concatenate([offsets for offsets, _ in found]),
                windows=np.concatenate([windows for _, windows in found]),
            )


class _Endless:
    """The rows of a stream, epoch after epoch, as one sequence."""

    def __init__(self, turns: Turns) -> None:
        self._rows, self._plan = turns.rows.selection, turns.plan
        self._order = self._plan.order(0)

    def between(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Offsets of the rows at places [start, stop), and the windows of each: int64 [stop - start] both."""
        positions, windows = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        while start < stop:
            epoch, place = divmod(start, self._plan.num_rows)
            if self._order.epoch != epoch:
                self._order = self._plan.order(epoch)
            end = min(place + stop - start, self._plan.num_rows)
            positions.append(self._order.positions(place, end))
            windows.append(self._order.windows(place, end))
            start += end - place
        return self._rows.at(np.concatenate(positions)), np.concatenate(windows)


def _check_entries(parts: Sequence[Stream]) -> None:
    """Check that rows of all parts can stand in one batch.

    Raises:
        SchemaError: lists the entries that not all parts have alike.
    """
    entries = [part._turns.request.kinds(part._turns.rows.table) for part in parts]
    names = dict.fromkeys(name for of_part in entries for name in of_part)
    problems = [
        f"{name!r} is " + ", ".join(of_part.get(name, "nothing") for of_part in entries)
        for name in names
        if len({of_part.get(name) for of_part in entries}) > 1
    ]
    if problems:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        raise SchemaError(
            f"mix: the {len(parts)} parts give different entries, in the order of the parts:{listed}",
            hint='let every part name the same ones: Stream(table, {"image": "photo", "caption": "text"}, …)',
        )


def _settings(parts: Sequence[Stream], batch_size: int | None) -> dict[str, Any]:
    """What a mix takes over from its parts.

    Raises:
        ConfigError: lists on what they disagree.
    """
    if batch_size is not None:
        check_count(batch_size, "mix: batch_size", least=1)
    settings = [
        {
            "batch_size": batch_size or (None if part._of_samples else part.plan.batch_size),
            "drop_last": part.plan.drop_last,
            "rank": part._turns.rank,
            "world_size": part._turns.world_size,
            "device": part._turns.device,
        }
        for part in parts
    ]
    problems = [
        f"{name} is " + ", ".join(str(of_part[name]) for of_part in settings) + "; expected the same in every part"
        for name in settings[0]
        if len({of_part[name] for of_part in settings}) > 1
    ]
    problems += [f"part {number} has no row" for number, part in enumerate(parts) if not part.plan.num_rows]
    if problems:
        raise ConfigError(problems, what="mix")
    return settings[0]


def _checked_weights(weights: Sequence[float], num_parts: int) -> Sequence[float]:
    """Weights, one a part.

    Raises:
        UsageError: there are more or fewer, or one is no number above 0.
    """
    found = list(weights)
    if len(found) != num_parts:
        raise UsageError(f"mix: {len(found)} weights for {num_parts} streams; expected one each", hint=_EXAMPLE)
    for weight in found:
        is_number = isinstance(weight, int | float | Fraction | np.integer | np.floating)
        if isinstance(weight, bool) or not is_number or not 0 < weight < math.inf:
            raise UsageError(
                f"mix: a weight is {weight!r}; expected a number above 0",
                hint=f"leave out a stream that shall give nothing; otherwise {_EXAMPLE}",
            )
    return found


def _checked_until(until: Any) -> Until:
    """Where an epoch ends.

    Raises:
        UsageError: it is neither "first" nor "all" nor a number of batches.
    """
    if until in ("first", "all"):
        return until
    if isinstance(until, str):
        raise UsageError(f"mix: until is {until!r}; expected 'first', 'all' or a number of batches")
    check_count(until, "mix: until", least=1)
    return int(until)
