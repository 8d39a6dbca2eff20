"""Weights & Biases: a run on its server, or with WANDB_MODE=offline in the run's folder, to be sent by `wandb sync`.

It is told figures and the run's record. What it would gather by itself of program, machine, packages and code stays
here; its charts of how busy the machine is are its own, and WANDB_… variables are heard.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clipdata.training.trackers.protocol import flat

_PATIENCE_S = 30.0


class WeightsAndBiases:
    """Tells W&B of a run.

    Args:
        run: the run's folder, which holds its files.
        record: the run's config.json.
        identity: of the run at W&B.
        is_known: W&B was told of it before.
    """

    def __init__(self, run: Path, record: Mapping[str, Any], identity: str, *, is_known: bool) -> None:
        import wandb

        self.has_past = is_known
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "clipdata"),
            id=identity,
            name=run.name,
            dir=str(run),
            config=flat(record),
            resume="allow",
            settings=wandb.Settings(
                console="off",
                silent=True,
                disable_git=True,
                disable_code=True,
                x_disable_meta=True,
                x_disable_machine_info=True,
                x_save_requirements=False,
                init_timeout=_PATIENCE_S,
            ),
        )
        self.place = f"wandb sync {Path(self._run.dir).parent}" if self._run.offline else str(self._run.url)

    def write(self, figures: Mapping[str, float], step: int) -> None:
        """Take in figures of a step."""
        self._run.log(dict(figures), step=step)

    def close(self, *, failed: bool) -> None:
        """Send what is left, and say how it ended."""
        self._run.finish(exit_code=int(failed))
