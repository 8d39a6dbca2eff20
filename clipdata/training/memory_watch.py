"""MemoryWatch: says before the first step that the memory may not suffice, and after one that failed that it did not.

It knows steps and errors, and nothing of how a need is measured.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from clipdata.errors import ClipdataError
from clipdata.progress import Progress
from clipdata.training.learner import Learner
from clipdata.training.memory_outlook import MemoryOutlook, outlook
from clipdata.training.processes import Processes

_NO_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "os error 12",
    "could not create a primitive",  # oneDNN, which has no other words for it
)


class MemoryWatch:
    """Watches over the memory of a run's steps.

    Args:
        learner: takes them.
        encoder_model: what the learner's model was copied from.
        evaluates: rows are measured, too.
        progress: hears of it.
    """

    def __init__(self, learner: Learner, encoder_model: nn.Module, *, evaluates: bool, progress: Progress) -> None:
        self._learner, self._encoder_model = learner, encoder_model
        self._evaluates, self._progress = evaluates, progress
        self._outlook: MemoryOutlook | None = None

    @contextmanager
    def step(self, batch: Mapping[str, Any]) -> Iterator[None]:
        """Watch over a step; before the first of this process its need is measured.

        Args:
            batch: that is trained on.

        Raises:
            ClipdataError: there was too little memory.
        """
        with out_of_memory_told(lambda: self._what_to_change(len(batch["offsets"]))):
            if self._outlook is None and self._measures(batch):
                self._outlook = outlook(self._learner, batch, self._encoder_model, evaluates=self._evaluates)
                if self._outlook.is_near:
                    self._progress.say(f"memory: {self._outlook.warning}")
            yield

    def _measures(self, batch: Mapping[str, Any]) -> bool:
        """Whether there is a row to measure with, and no other process whose statistics it would be part of."""
        return len(batch["offsets"]) > 0 and (Processes.here().world == 1 or not self._learner.needs_two_rows)

    def _what_to_change(self, num_rows: int) -> str:
        if self._outlook is not None and self._outlook.change is not None:
            return self._outlook.change
        config = self._learner.config
        fewer = max((config.grad_cache_chunk or num_rows) // 2, 1)
        if self._learner.needs_two_rows:
            return f"--set batch_size={fewer}, or --set train=projections"
        return f"--set grad_cache_chunk={fewer} (the result is the same), or --set train=projections"


@contextmanager
def out_of_memory_told(hint: Callable[[], str]) -> Iterator[None]:
    """Say that there was too little memory in place of a traceback.

    Args:
        hint: says what to change, where there was too little.

    Raises:
        ClipdataError: there was too little.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, ClipdataError) or not is_out_of_memory(error):
            raise
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ClipdataError(f"there was too little memory: {said}", hint=hint()) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there was too little memory."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    said = str(error).lower()
    return any(word in said for word in _NO_MEMORY)
