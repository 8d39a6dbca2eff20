"""Whether the memory suffices for a training, what to change where it does not, and how that is told.

It knows configs and what was measured (memory.py); it must not know runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from clipdata.free_memory import processor_memory
from clipdata.shown_values import shown_bytes
from clipdata.training.config import TrainConfig
from clipdata.training.learner import Learner
from clipdata.training.memory import Measured, MemoryNeed, measure

NEAR = 0.8
"""Part of the free memory above which a need is near it."""

_TRAINED = {
    "projections": "the heads",
    "last_blocks": "the last blocks",
    "lora": "the low-rank additions",
    "text": "the text tower",
    "all": "all weights",
}
_LAST_RESORT = "a smaller model, or a machine with more memory"


@dataclass(frozen=True)
class MemoryOutlook:
    """What a training needs, beside what is free.

    Args:
        need: of it.
        free: bytes, before the first step; None where nothing tells.
        change: what to set so that it fits, as it is typed; None where it fits, or where nothing is known to help.
        what: what trains, at which batch.
    """

    need: MemoryNeed
    free: int | None
    change: str | None
    what: str

    @property
    def is_over(self) -> bool:
        """Whether it does not fit."""
        return self.free is not None and self.need.to_come > self.free

    @property
    def is_near(self) -> bool:
        """Whether it fits barely, or not."""
        return self.free is not None and self.need.to_come > NEAR * self.free

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {**self.need.to_json(), "free_bytes": self.free, "change": self.change}

    @property
    def warning(self) -> str:
        """One sentence, where it is near or over."""
        more, free = shown_bytes(self.need.to_come), shown_bytes(self.free or 0)
        return f"{self.what} need about {more} here, and {free} are free: {self.change or _LAST_RESORT}"

    def __str__(self) -> str:
        free = "" if self.free is None else f"; {shown_bytes(self.free)} are free"
        return f"memory: {self.need}{free}"


def outlook(learner: Learner, batch: Mapping[str, Any], encoder_model: nn.Module, *, evaluates: bool) -> MemoryOutlook:
    """Measure what a training takes, and compare it with what is free; the arguments are those of `measure`."""
    config = learner.config
    measured = measure(learner, batch, encoder_model, evaluates=evaluates)
    need, free = measured.need(config.grad_cache_chunk), free_on(learner.device)
    change = None
    if free is not None and need.to_come > NEAR * free:
        change = _smallest_change(measured, config, int(NEAR * free), in_chunks=not learner.needs_two_rows)
    return MemoryOutlook(need, free, change, f"{_TRAINED[config.train]} at batch {measured.num_rows:,}")


def free_on(device: torch.device) -> int | None:
    """Bytes that are free where a model is; None where nothing tells."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0] + kept)
    found = processor_memory() if device.type == "cpu" else None
    return found.free if found is not None else None


def _smallest_change(measured: Measured, config: TrainConfig, most: int, *, in_chunks: bool) -> str | None:
    """The first that fits of: fewer rows measured at a time, or trained on at once; the heads alone; both.

    Args:
        most: bytes that it may take.
        in_chunks: rows may go through the towers some at a time, which changes no result.
    """
    rows = min(config.grad_cache_chunk or measured.num_rows, measured.num_rows)

    def rows_at_once(way: Measured) -> str | None:
        for count in _halves(rows):
            need = way.need(count) if in_chunks else way.need(0, num_rows=count)
            if need.to_come <= most:
                return f"--set {'grad_cache_chunk' if in_chunks else 'batch_size'}={count}"
        return None

    for count in _halves(measured.evaluation_batch):
        if replace(measured, evaluation_batch=count).need(config.grad_cache_chunk).to_come <= most:
            return f"--set evaluation_batch={count}"
    if (setting := rows_at_once(measured)) is not None or config.train == "projections":
        return setting
    heads = measured.heads_alone()
    if heads.need(config.grad_cache_chunk).to_come <= most:
        return "--set train=projections"
    setting = rows_at_once(heads)
    return f"--set train=projections {setting}" if setting is not None else None


def _halves(number: int) -> list[int]:
    """Powers of two below a number, the largest first."""
    return [1 << power for power in reversed(range(max(number - 1, 0).bit_length()))]
