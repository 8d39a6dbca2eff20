"""What a run says of itself: a line a step, and at the end of epochs losses, held-out figures, and the best of them.

It knows evaluations, metrics and folders of checkpoints, and nothing of steps or optimizers.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from clipdata.errors import ConfigError, StorageError
from clipdata.progress import Progress
from clipdata.training import checkpoints
from clipdata.training.config import TrainConfig
from clipdata.training.figures import Evaluation
from clipdata.training.learner import StepResult
from clipdata.training.left_out import LeftOut
from clipdata.training.lines import Lines
from clipdata.training.metrics import chief_figure, is_lower_better, of_exported, told
from clipdata.training.pace import Measured
from clipdata.training.tally import Tally


class Best:
    """The report with the best figure so far, and the weights of that step.

    Args:
        folder: of these weights.
        metric: name of the figure, or None to keep no best.
        writes: whether this process does, of those that train together.
    """

    def __init__(self, folder: Path, metric: str | None, *, writes: bool = True) -> None:
        self._folder, self._metric, self._writes = folder, metric, writes
        self._value: float | None = None
        self.step: int | None = None

    def see(self, step: int, found: Evaluation, tensors: Callable[[], Mapping[str, torch.Tensor]]) -> bool:
        """Keep the weights of a step if its figure is the best; tell whether it is.

        Raises:
            ConfigError: there is no such figure.
        """
        if self._metric is None:
            return False
        if self._metric not in found.metrics:
            listed = ", ".join(found.metrics)
            raise ConfigError([f"best is {self._metric!r}; measured are {listed}"], what="training config")
        value = found.metrics[self._metric]
        if not math.isfinite(value) or (self._value is not None and not self._is_better(value, self._value)):
            return False
        self._value, self.step = value, step
        if self._writes:
            checkpoints.save(self._folder, step, tensors(), {})
        return True

    def weights(self, device: torch.device) -> Mapping[str, torch.Tensor] | None:
        """Those of the best step; None where no best is kept.

        Raises:
            StorageError: they are gone, or cannot be read.
        """
        if self.step is None:
            return None
        kept = checkpoints.Checkpoint(self.step, self._folder / f"step-{self.step}")
        if not kept.path.is_dir():
            raise StorageError(
                f"{kept.path} is missing: it holds the best weights, which are to be exported",
                hint="train into another folder, or discard the run with --overwrite (overwrite=True)",
            )
        return kept.load(device)[0]

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"value": self._value, "step": self.step}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Stand where `state` was taken."""
        self._value, self.step = state["value"], state["step"]

    def forget_others(self) -> None:
        """Remove the weights of all steps but the best, once a checkpoint names it."""
        for one in checkpoints.complete(self._folder):
            if self._writes and one.step != self.step:
                shutil.rmtree(one.path)

    def _is_better(self, value: float, than: float) -> bool:
        return value < than if is_lower_better(str(self._metric)) else value > than

    def __str__(self) -> str:
        return f"the best {told(str(self._metric), self._value)}, of step {self.step:,}"


def told_if_worse(epochs: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]) -> str | None:
    """What to try where the chief figure of the exported model is worse than before training; None where it is not.

    Args:
        epochs: lines of reports, the first of them before the first step.
        summary: of the run.
    """
    reports = [line for line in epochs if chief_figure(line)]
    if not reports or reports[0]["epoch"] != 0:
        return None
    name = str(chief_figure(reports[0]))
    before = reports[0][name]
    after = of_exported(reports, summary)[name]
    if not (after > before if is_lower_better(name) else after < before):
        return None
    return (
        f"the measured rows do worse than before training: {told(name, before)} before and {told(name, after)} now; "
        f"--set best={name} exports the best step, --set wise_ft=auto mixes in the model before, --recipe auto goes by "
        "what there is"
    )


def step_line(
    step: int, epoch: int, config: TrainConfig, rate_factor: float, wait: float, done: StepResult | None
) -> dict[str, Any]:
    """The line of a step for metrics.jsonl.

    Args:
        step, epoch: from 1.
        config: of the run.
        rate_factor: part of the peak rate.
        wait: part of the time that was waited for data.
        done: what the step did; None where none of its rows could be used.
    """
    line: dict[str, Any] = {
        "kind": "step",
        "step": step,
        "epoch": epoch,
        "loss": None,
        "lr": config.lr * rate_factor,
        "rows": 0,
        "wait": round(wait, 4),
    }
    if done is None:
        return line
    line |= {"loss": done.loss, "grad_norm": done.grad_norm, "logit_scale": done.logit_scale, "rows": done.num_rows}
    if done.vitals is not None:
        line |= {"image_cosine": done.vitals.image_cosine, "flat_loss": done.vitals.flat_loss}
    return line | ({"penalty": done.penalty} if config.pull else {})


def report_line(
    epoch: int, step: int, tally: Tally, pace: Measured, found: Evaluation | None, counts: Mapping[str, LeftOut]
) -> tuple[dict[str, Any], list[str]]:
    """The line of a report for metrics.jsonl, and its parts in words.

    Args:
        epoch: 0 is before the first step.
        tally, pace: of the steps since the last report.
        found: what was measured, if anything.
        counts: name of a field → rows that were left out.
    """
    line: dict[str, Any] = {"kind": "epoch", "epoch": epoch, "step": step, "loss": None}
    parts = ["before training"]
    if epoch:
        loss = tally.loss / max(tally.num_steps, 1)
        line |= {"loss": loss, "pace": pace.to_json()}
        parts = [f"mean loss {loss:.4g}", str(pace)]
    if found is not None:
        line |= found.to_json() if found.num_rows else {}
        parts.append(f"held out: {found}")
    for name, what in counts.items():
        if what.counts:
            line[name] = what.counts
            parts.append(f"{name.replace('_', ' ')}: {what}")
    return line, parts


def tell_report(line: Mapping[str, Any], parts: list[str], num_epochs: int, metrics: Lines, progress: Progress) -> None:
    """Write a report, and tell it."""
    metrics.write(dict(line))
    progress.say(f"epoch {line['epoch']} of {num_epochs}: {', '.join(parts)}")
