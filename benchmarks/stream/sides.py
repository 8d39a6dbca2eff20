"""What a side of the benchmark is, and what it is asked for.

A side reads shuffled batches of pictures of 224×224 from its own store, and says how it was set up. All sides hand out
uint8 but those that are named for floats: making floats and normalising costs more than most of the rest, and every
side can leave it to the device. It knows no loader.

Shapes: B = pictures of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

SIZE = 224
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""Of OpenAI's CLIP, which open_clip takes where a model names no other."""


class UnableError(Exception):
    """A side cannot do what it is asked for; the message says why."""


@dataclass(frozen=True)
class Asked:
    """What a side is to read.

    Args:
        folder: of the stores.
        batch_size: rows of a batch.
        workers: processes; 0 reads in this one.
        bucket: URL of a folder that holds the stores instead, `gs://…`.
        options: words of `clipdata.Storage` that reach the bucket.
    """

    folder: Path
    batch_size: int = 64
    workers: int = 0
    bucket: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    def place(self, store: str) -> str:
        """Where a store is."""
        return f"{self.bucket}/{store}" if self.bucket else str(self.folder / store)

    def require_disk(self, reason: str) -> None:
        """Refuse a bucket."""
        if self.bucket:
            raise UnableError(reason)


@dataclass(frozen=True)
class Side:
    """One way to read the pictures.

    Args:
        name: for people.
        package: the distribution whose version is told.
        store: what it reads, a name of `stores`.
        settings: how it was set up, for people.
        epoch: yields the batches of an epoch, [B, 3, 224, 224] each; raises `UnableError`.
        max_workers: worker processes that make sense for it.
        in_buckets: whether it is measured on a bucket.
        error: how far its levels are from those of open_clip's transform; None where it is that transform.
    """

    name: str
    package: str
    store: str
    settings: str
    epoch: Callable[[Asked, int], Iterable[Any]]
    max_workers: int = 2
    in_buckets: bool = False
    error: Callable[[Asked], dict[str, float]] | None = None

    @property
    def version(self) -> str:
        """Version of the package."""
        try:
            return f"{self.package} {version(self.package)}"
        except PackageNotFoundError:
            return f"{self.package} (not installed)"


def all_sides() -> dict[str, Side]:
    """Every side by its name."""
    from benchmarks.stream import ours, peers

    return {side.name: side for side in (*peers.SIDES, *ours.SIDES)}
