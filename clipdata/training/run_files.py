"""RunFiles: what a training writes into the folder of its run, which one process does for all that train together.

In the others every method does nothing, so that a loop need not know which of them it is in. It knows files and models,
and nothing of steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from clipdata.encoder import Encoder, export
from clipdata.trained_rows import TrainedRows
from clipdata.training import checkpoints
from clipdata.training.metrics import MetricsFile, Unwritten
from clipdata.training.run import Run
from clipdata.training.state_files import write_json, writing


class RunFiles:
    """Writes what a run is made of.

    Args:
        run: its folder.
        writes: whether this process does.
    """

    def __init__(self, run: Run, *, writes: bool) -> None:
        self._run, self._writes = run, writes

    def metrics(self, num_bytes: int) -> MetricsFile:
        """The lines of metrics; see `MetricsFile`."""
        return MetricsFile(self._run.path / "metrics.jsonl", num_bytes) if self._writes else Unwritten()

    def save(self, step: int, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any], *, keep: int) -> None:
        """Write a checkpoint, and keep the newest few."""
        if self._writes:
            folder = self._run.path / "checkpoints"
            checkpoints.save(folder, step, tensors, state)
            checkpoints.prune(folder, keep)

    def export(self, path: Path, model: nn.Module, encoder: Encoder, trained_on: Sequence[TrainedRows]) -> None:
        """Write a model; the rows in the encoder's own past are added to those given."""
        if self._writes:
            with writing(path):
                export(model, encoder, path, trained_on=trained_on)

    def close(self, summary: Mapping[str, Any]) -> None:
        """Say what the run was: from here on it is finished."""
        if self._writes:
            write_json(self._run.path / "summary.json", summary)
