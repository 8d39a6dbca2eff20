"""Worker processes for a stream: a DataLoader with the settings that a stream needs, and errors as they were raised."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset

from clipdata.errors import ClipdataError
from clipdata.stream.dataset import Stream
from clipdata.stream.turns import Turn


class _Turns(IterableDataset["Turn | ClipdataError"]):
    """Hands over a worker's turns, and its error as an item; torch would rebuild it from text and lose its hint."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[Turn | ClipdataError]:
        try:
            yield from self._stream.turns()
        except ClipdataError as error:
            yield error


def load(
    stream: Stream, num_workers: int = 0, *, prefetch_factor: int = 2, pin_memory: bool = False
) -> Generator[Any, None, None]:
    """Yield a stream's batches (or single rows), in its order.

    Whatever the number of workers, the stream itself follows: its state is that of what was handed out, at the end it
    stands at the next epoch, and it counts the rows that were left out.

    Args:
        stream: from where it stands to the end of the epoch, or of all its epochs.
        num_workers: processes that read and decode; 0 does it in threads of this one, which is enough where one process
            can keep all cores busy, and starts at once.
        prefetch_factor: batches each worker is ahead.
        pin_memory: have workers' batches copied to page-locked memory, from which they reach a GPU faster.
    """
    if not num_workers:
        yield from stream
        return
    turns: DataLoader[Turn | ClipdataError] = DataLoader(
        _Turns(stream),
        batch_size=None,
        num_workers=num_workers,
        multiprocessing_context="forkserver",
        prefetch_factor=prefetch_factor,
        pin_memory=pin_memory,
        collate_fn=_unchanged,
        generator=torch.Generator(),  # its own, or it would draw from the one that a run saves and restores
    )
    for turn in stream.watched(_made(iter(turns))):
        stream.hear(turn)
        if turn.item is not None:
            yield turn.item
    stream.hear_end()


def _made(turns: Iterator[Turn | ClipdataError]) -> Iterator[Turn]:
    for turn in turns:
        if isinstance(turn, ClipdataError):
            raise turn
        yield turn


def _unchanged(item: Any) -> Any:
    return item
