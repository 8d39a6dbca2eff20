"""Worker processes for a stream, and memory that a GPU reads from."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from typing import Any

import torch
from torch.utils.data._utils.pin_memory import pin_memory as pinned

from clipdata.arguments import check_count
from clipdata.errors import UsageError
from clipdata.prefetch import prefetch
from clipdata.stream.resumable import Resumable
from clipdata.stream.turns import Turn
from clipdata.stream.workers import turns_of_workers


def load(
    stream: Resumable, num_workers: int = 0, *, prefetch_factor: int = 2, pin_memory: bool = False
) -> Generator[Any, None, None]:
    """Yield a stream's batches (or single rows), in its order.

    Whatever the number of workers, the stream itself follows: its state is that of what was handed out, at the end it
    stands at the next epoch, and it counts the rows that were left out. When the iteration ends, in whatever way, no
    process, no thread and no shared memory is left.

    Args:
        stream: from where it stands to the end of the epoch, or of all its epochs.
        num_workers: processes that read and decode; 0 does it in threads of this one, which is enough where one process
            can keep all cores busy, and starts at once.
        prefetch_factor: batches each worker is ahead.
        pin_memory: have batches copied to page-locked memory, from which they reach a GPU faster; without a GPU it
            changes nothing.

    Raises:
        UsageError: `stream` is none, or a number is wrong.
        ClipdataError: what a worker raised, as it raised it; or a worker was killed.
    """
    if not isinstance(stream, Resumable):
        hint = 'load(Stream(table, ["image"], …), num_workers=2)'
        raise UsageError(f"load: stream is {stream!r:.80}; expected Stream or Mix", hint=hint)
    check_count(num_workers, "load: num_workers")
    check_count(prefetch_factor, "load: prefetch_factor", least=1)
    pins = pin_memory and torch.cuda.is_available()
    if not num_workers:
        with closing(stream.turns()) as turns:
            yield from (pinned(turn.item) if pins else turn.item for turn in turns if turn.item is not None)
        return
    made = turns_of_workers(stream, num_workers, ahead=prefetch_factor)
    with closing(stream.watched(prefetch(_pinned(made), max_items=1) if pins else made)) as turns:
        ended = False
        for turn in turns:
            ended = stream.hear(turn)
            if turn.item is not None:
                yield turn.item
    if not ended:
        stream.hear_end()


def _pinned(turns: Generator[Turn, None, None]) -> Generator[Turn, None, None]:
    with closing(turns):
        for turn in turns:
            yield replace(turn, item=pinned(turn.item))
