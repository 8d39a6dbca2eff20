"""Worker processes for a stream: a DataLoader with the settings that a stream needs, and errors as they were raised."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

from torch.utils.data import DataLoader, IterableDataset

from clipdata.errors import ClipdataError
from clipdata.stream.assembly import Batch
from clipdata.stream.dataset import Stream


class _ErrorsAsItems(IterableDataset["Batch | ClipdataError"]):
    """Hands a worker's error over as an item; torch would rebuild it from text and lose what it says to do."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[Batch | ClipdataError]:
        try:
            yield from self._stream
        except ClipdataError as error:
            yield error


def load(
    stream: Stream, num_workers: int = 0, *, prefetch_factor: int = 2, pin_memory: bool = False
) -> Generator[Batch, None, None]:
    """Yield a stream's batches, in its order.

    Args:
        stream: from where it stands to the end of the epoch, or of all its epochs.
        num_workers: processes that read and decode; 0 does it in threads of this one, which is enough where one process
            can keep all cores busy, and starts at once.
        prefetch_factor: batches each worker is ahead.
        pin_memory: copy batches to page-locked memory, from which they reach a GPU faster.
    """
    items: DataLoader[Batch | ClipdataError] = DataLoader(
        _ErrorsAsItems(stream),
        batch_size=None,
        num_workers=num_workers,
        multiprocessing_context="forkserver" if num_workers else None,
        prefetch_factor=prefetch_factor if num_workers else None,
        pin_memory=pin_memory,
        collate_fn=_unchanged,
    )
    for item in items:
        if isinstance(item, ClipdataError):
            raise item
        yield item


def _unchanged(item: Any) -> Any:
    return item
