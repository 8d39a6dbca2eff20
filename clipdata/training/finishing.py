"""What happens between the last step of a run and its summary: which weights are exported, and what became of the rest.

    the best report's weights, where one is asked for → export → canary

All of it is done again from the last checkpoint if the process ends in between, and gives the same. It knows learners,
encoders and exports; nothing of steps or streams.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from clipdata.encoder import Encoder
from clipdata.progress import Progress
from clipdata.training.canary import check_canary
from clipdata.training.config import TrainConfig
from clipdata.training.learner import Learner
from clipdata.training.processes import Processes
from clipdata.training.reports import Best
from clipdata.training.resumption import Beginning
from clipdata.training.run_files import RunFiles


@dataclass(frozen=True)
class Finishing:
    """Ends a run.

    Args:
        begun: its folder, and the record of its rows.
        encoder: what it began with.
        learner: holds what was trained.
        config: says what to do.
        files: takes the model.
        processes: of which one writes and measures.
        progress: is told.
    """

    begun: Beginning
    encoder: Encoder
    learner: Learner
    config: TrainConfig
    files: RunFiles
    processes: Processes
    progress: Progress

    def finish(self, step: int, best: Best) -> dict[str, Any]:
        """Export the model, and say what of the summary follows from it.

        Args:
            step: the last one.
            best: the report with the best figure, if one is kept.
        """
        path, exported_step = self.begun.run.export_path, step
        if (weights := best.weights(self.encoder.device)) is not None:
            self.learner.put(weights)
            exported_step = best.step or 0
            self.progress.say(f"exporting {best}")
        self.export(path)
        return {"steps": step, "exported_step": exported_step, "model": str(path), **self._canary()}

    def export(self, path: Path) -> None:
        """Write the model as it stands."""
        with self.learner.measuring() as model:
            self.files.export(path, model, self.encoder, [self.begun.trained, *self.begun.taught_by])

    def _canary(self) -> dict[str, Any]:
        """Whether the tuned model still knows what nobody trained on."""
        if not self.config.canary:
            return {}
        with self.learner.measuring() as model:
            found = self.processes.by_first(lambda: check_canary(self.encoder, self._tuned(model)))
        self.progress.say(str(found))
        return {"canary": found.to_dict()}

    def _tuned(self, model: nn.Module) -> Encoder:
        """The model as it stands, as an encoder; it trains no more."""
        return Encoder(
            model,
            name=str(self.begun.run.path),
            model_cfg=self.encoder.model_cfg,
            prepare=self.encoder.prepare,
            tokenize=self.encoder.tokenize,
            device=self.encoder.device,
            precision=self.encoder.precision,
        )
