"""TensorBoard: event files in the run's folder. `tensorboard --logdir runs` shows them, one curve a run.

They are made anew whenever a training goes on, from metrics.jsonl, so that no step stands there twice.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

FOLDER = "tensorboard"
_FLUSH_S = 10


class TensorBoard:
    """Writes event files.

    Args:
        run: the run's folder.
    """

    has_past = False

    def __init__(self, run: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = run / FOLDER
        shutil.rmtree(folder, ignore_errors=True)
        self._writer = SummaryWriter(str(folder), flush_secs=_FLUSH_S)
        self.place = f"tensorboard --logdir {folder}"

    def write(self, figures: Mapping[str, float], step: int) -> None:
        """Take in figures of a step."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def close(self, *, failed: bool) -> None:
        """Have the disk hold what was told."""
        self._writer.close()
