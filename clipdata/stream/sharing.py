"""Loaders that share rows out among processes by themselves, which a stream that does so too would lose rows to.

It knows who asks for rows, and nothing of what they are.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

from clipdata.errors import UsageError

_SHARES = {
    "IterableDatasetShard": "gives each process a part of what its own stream gives",
    "DataLoaderDispatcher": "gives all processes a part of what the first one's stream gives",
}
_FRAMES = 12


def refuse_second_sharing(world_size: int) -> None:
    """Check that whoever asks, in the frames that called, leaves a rank's rows to the rank.

    Args:
        world_size: of the stream that is asked.

    Raises:
        UsageError: accelerate, or what is built on it, shares the rows out among the same processes once more.
    """
    if world_size == 1:
        return
    frame: FrameType | None = sys._getframe(1)
    for _ in range(_FRAMES):
        if frame is None:
            return
        asking: Any = frame.f_locals.get("self")
        found = next((kind.__name__ for kind in type(asking).__mro__ if kind.__name__ in _SHARES), None)
        if found is not None:
            raise UsageError(
                f"this stream shares its rows out among {world_size} processes, and accelerate's {found} "
                f"{_SHARES[found]}, so that rows would be lost",
                hint="pass Stream(…, rank=0, world_size=1) to accelerate or a Trainer; or prepare the model and "
                "optimiser alone, and iterate clipdata.stream.load(stream)",
            )
        frame = frame.f_back
