"""What happens between the last step of a run and its summary: which weights are exported, and what became of the rest.

    the best report's weights or their average, where asked for → mixed with those before → export → canary

All of it is done again from the last checkpoint if the process ends in between, and gives the same: nothing of it goes
into what trains. It knows learners, encoders and exports; nothing of steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from clipdata.encoder import Encoder
from clipdata.printable import shell_word
from clipdata.progress import Progress
from clipdata.training.canary import check_canary
from clipdata.training.config_checks import AUTO
from clipdata.training.evaluation import figures_of
from clipdata.training.figures import Evaluation
from clipdata.training.forward import Forward, PictureIds
from clipdata.training.held_out import HeldOut
from clipdata.training.learner import Learner
from clipdata.training.mixing import Mixture, choose, mixed
from clipdata.training.processes import Processes
from clipdata.training.reports import Best
from clipdata.training.resumption import Beginning
from clipdata.training.run_files import RunFiles
from clipdata.training.run_streams import RunStreams

_MOST_KEPT_BYTES = 1 << 29
"""Of pixels of the rows to choose by; more are read anew for every mixture."""


@dataclass(frozen=True)
class Finishing:
    """Ends a run.

    Args:
        begun: its folder, and its rows.
        encoder: what it began with.
        learner: holds what was trained, and the config.
        pictures: of all rows.
        files: takes the model.
        held_out: rows that are measured.
        processes: of which one writes and measures.
        progress: is told.
    """

    begun: Beginning
    encoder: Encoder
    learner: Learner
    pictures: PictureIds
    files: RunFiles
    held_out: HeldOut
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
        summary = {"steps": step, "exported_step": exported_step, "model": str(path)}
        with self._mixed() as (model, mixture):
            self._write(path, model)
            if mixture is not None:
                self.progress.say(str(mixture))
                summary["mixture"] = mixture.to_dict()
                found = self.held_out.measure(self._forward(model))
                if found is not None and found.num_rows:
                    self.progress.say(f"the mixture, held out: {found}")
                    summary["exported_figures"] = {"step": exported_step, "epoch": None, **found.to_json()}
            return summary | self._canary(model)

    def export(self, path: Path) -> None:
        """Write the model as it stands, of whatever it will be mixed with in the end."""
        with self.learner.measuring() as model:
            self._write(path, model)

    def _write(self, path: Path, model: nn.Module) -> None:
        self.files.export(path, model, self.encoder, [self.begun.trained, *self.begun.taught_by])

    @contextmanager
    def _mixed(self) -> Iterator[tuple[nn.Module, Mixture | None]]:
        """The model that is exported, and what it is a mixture of; None where it is none."""
        with self.learner.measuring() as model:
            mixture = self._mixture(model)
            if mixture is None:
                yield model, None
            else:
                yield mixed(self.encoder.model, model.state_dict(), mixture.alpha), mixture

    def _mixture(self, model: nn.Module) -> Mixture | None:
        asked = self.learner.config.wise_ft
        if asked is None or (asked == AUTO and self.begun.validation is None):
            return None
        if asked != AUTO:
            return Mixture(float(asked))
        after = model.state_dict()
        return self.processes.by_first(lambda: self._chosen(after))

    def _chosen(self, after: Mapping[str, torch.Tensor]) -> Mixture:
        """The mixture with the least loss on the rows to choose by, which are read once unless they are too many."""
        config, validation, own = self.learner.config, self.begun.validation, self.learner.forward
        assert validation is not None
        stream = RunStreams(self.begun.table, config, Processes()).to_measure(own, validation.offsets)
        num_bytes = 0 if config.image_trunk is not None else 3 * math.prod(self.encoder.prepare.size)
        batches = stream if len(validation.offsets) * num_bytes > _MOST_KEPT_BYTES else list(stream)

        def figures(alpha: float) -> Evaluation:
            forward = self._forward(mixed(self.encoder.model, after, alpha))
            usable = (batch for batch in batches if len(batch["offsets"]))
            with self.learner.autocast():
                return figures_of(usable, partial(forward, every_text=True), config.objective)

        return choose(figures)

    def _forward(self, model: nn.Module) -> Forward:
        """What a mixture makes of batches, with the texts' features that training keeps."""
        forward = Forward(model, self.encoder, self.learner.config, self.pictures)
        forward.texts = self.learner.forward.texts
        return forward

    def _canary(self, model: nn.Module) -> dict[str, Any]:
        """Whether the tuned model still knows what nobody trained on."""
        if not self.learner.config.canary:
            return {}
        found = self.processes.by_first(lambda: check_canary(self.encoder, self._tuned(model)))
        self.progress.say(str(found))
        if found.verdict == "worse":
            run = shell_word(str(self.begun.run.path))
            self.progress.say(f"to keep more of it: clipdata interpolate {run} --sweep")
        return {"canary": found.to_dict()}

    def _tuned(self, model: nn.Module) -> Encoder:
        """The exported model, as an encoder."""
        return Encoder(
            model,
            name=str(self.begun.run.path),
            model_cfg=self.encoder.model_cfg,
            prepare=self.encoder.prepare,
            tokenize=self.encoder.tokenize,
            device=self.encoder.device,
            precision=self.encoder.precision,
        )
