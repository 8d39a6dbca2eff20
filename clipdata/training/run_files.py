"""RunFiles: what a training writes into the folder of its run, which one process does for all that train together.

In the others every method does nothing, so that a loop need not know which of them it is in. It knows files and models,
and nothing of steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import nn

from clipdata.disk import sync_above
from clipdata.encoder import Encoder, export
from clipdata.progress import Progress
from clipdata.trained_rows import TrainedRows
from clipdata.training import checkpoints
from clipdata.training.config import TrainConfig
from clipdata.training.copies import Copies
from clipdata.training.curves import write_curves
from clipdata.training.lines import Lines, Unwritten
from clipdata.training.model_card import write_card
from clipdata.training.run import Run
from clipdata.training.state_files import write_json, writing
from clipdata.training.uploads import Uploads


class RunFiles:
    """Writes what a run is made of; leaving it waits for copies of checkpoints that are on their way.

    Args:
        run: its folder.
        config: says which checkpoints to keep, and what else shows metrics.
        progress: is told what failed.
        copies: where checkpoints are copied to, if anywhere.
        writes: whether this process does all of it.
    """

    def __init__(
        self, run: Run, config: TrainConfig, progress: Progress, copies: Copies | None = None, *, writes: bool = True
    ) -> None:
        self._run, self._keep, self._writes = run, config.keep_checkpoints, writes
        self._report_to, self._progress = config.report_to, progress
        self._uploads = Uploads(copies, run.path, self._keep, progress)
        self._open = ExitStack()

    def __enter__(self) -> RunFiles:
        if self._writes:
            self._open.enter_context(self._uploads)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)

    def lines(self, num_bytes: int) -> Lines:
        """What takes the lines of metrics; see `Lines`."""
        if not self._writes:
            return Unwritten()
        return Lines(self._run.path, self._run.record, num_bytes, self._report_to, self._progress)

    def draw(self) -> None:
        """Draw the curves so far."""
        if self._writes:
            write_curves(self._run.path)

    def save(self, step: int, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any]) -> None:
        """Write a checkpoint, and keep the newest few."""
        if self._writes:
            folder = self._run.path / "checkpoints"
            checkpoints.save(folder, step, tensors, state)
            checkpoints.prune(folder, self._keep)

    def copy(self, step: int, num_metrics_bytes: int) -> None:
        """Have the checkpoint of a step copied to where copies go; see `Uploads.add`."""
        if self._writes:
            self._uploads.add(step, num_metrics_bytes)

    def export(self, path: Path, model: nn.Module, encoder: Encoder, trained_on: Sequence[TrainedRows]) -> None:
        """Write a model; the rows in the encoder's own past are added to those given."""
        if self._writes:
            with writing(path):
                export(model, encoder, path, trained_on=trained_on)

    def close(self, summary: Mapping[str, Any]) -> None:
        """Say what the run was, also in its model's card: from here on it is finished.

        A process that died behind its last checkpoint left older ones than are kept, which go here.
        """
        if self._writes:
            checkpoints.prune(self._run.path / "checkpoints", self._keep)
            write_card(self._run, summary)
            write_json(self._run.path / "summary.json", summary)
            sync_above(self._run.path)
