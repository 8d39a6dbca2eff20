"""train(): fine-tune an encoder on the rows of a table, step by step, going on where a killed run stopped.

On a CPU N steps give bit for bit what k steps, a kill, and the rest give: the order of rows, dropout and the optimizer
all go on from the checkpoint. It knows everything below it, and no command line.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from clipdata.encoder import Encoder, export
from clipdata.errors import ClipdataError, UsageError
from clipdata.lance_io.table import AnyTable, as_table
from clipdata.progress import Counter, Progress, Silent
from clipdata.stream import Stream, load
from clipdata.stream.assembly import Batch
from clipdata.training import checkpoints, resumption
from clipdata.training.config import TrainConfig
from clipdata.training.evaluation import evaluate
from clipdata.training.learner import Learner, StepResult
from clipdata.training.metrics import MetricsFile
from clipdata.training.optimisers import rate_factor
from clipdata.training.run import Run, run_folder, write_json

EVALUATION_BATCH = 256


def train(
    table: AnyTable,
    encoder: Encoder,
    config: TrainConfig,
    *,
    out: str | os.PathLike[str],
    where: str | None = None,
    resume: bool = True,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Fine-tune an encoder. The encoder itself stays as it was; the run holds the tuned one.

    Args:
        table: read at the version it is pinned to, which is tagged.
        encoder: what to begin with.
        config: how; see `clipdata.training.recipes`.
        out: folder of the run. Asked for the same again, an unfinished run goes on, a finished one is returned at once.
        where: SQL condition on the rows to train on.
        resume: False refuses a folder that holds a run already.
        overwrite: discard a run that the folder holds.
        progress: watches.

    Raises:
        SchemaError: the table lacks a column, or it has another type or nulls.
        LineageMismatchError: the features in `config.image_trunk` are those of another encoder.
        UsageError: the folder holds another run; no row can be trained on.
        ClipdataError: the loss or the gradient is not a number any more.
    """
    progress = progress or Silent()
    folder = run_folder(out)
    pinned = as_table(table).pinned()
    _refuse_ranks()
    with resumption.alone_in(folder):
        resumption.clear(folder, resume=resume, overwrite=overwrite)
        begun = resumption.begin(folder, pinned, encoder, config, where=where, progress=progress)
        if isinstance(begun, Run):
            return begun
        with torch.random.fork_rng([encoder.device] if encoder.device.type == "cuda" else []):
            torch.manual_seed(config.seed)
            return _Loop(begun, encoder, config, progress).run()


def _refuse_ranks() -> None:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(
            f"train runs in one process, and WORLD_SIZE is {os.environ['WORLD_SIZE']}",
            hint="start it without torchrun; a Stream shares a table among the ranks of a loop of your own",
        )


@dataclass
class _Tally:
    """Sums over the steps of an epoch; the times are of this process alone."""

    loss: float = 0.0
    wait_s: float = 0.0
    step_s: float = 0.0

    def add(self, loss: float, wait_s: float, step_s: float) -> None:
        self.loss, self.wait_s, self.step_s = self.loss + loss, self.wait_s + wait_s, self.step_s + step_s

    @property
    def wait_share(self) -> float:
        return self.wait_s / max(self.wait_s + self.step_s, 1e-9)


class _Loop:
    """One process's part of a run."""

    def __init__(self, begun: resumption.Beginning, encoder: Encoder, config: TrainConfig, progress: Progress) -> None:
        self._begun, self._encoder, self._config, self._progress = begun, encoder, config, progress
        self._run = begun.run
        self._learner = Learner(encoder, config)
        self._encode_texts_once()
        offsets = begun.rows.offsets
        batch_size = min(config.batch_size, len(offsets))
        if batch_size < config.batch_size:
            progress.say(f"{len(offsets):,} rows make one batch: batch_size is {batch_size}, not {config.batch_size}")
        self._stream = self._make_stream(offsets, batch_size, until_epoch=config.epochs)
        self._num_steps = config.epochs * self._stream.plan.num_batches
        self._step = 0
        self._tally = _Tally()

    def run(self) -> Run:
        """Train what is left, export the model, and close the run."""
        num_bytes = self._restore()
        with MetricsFile(self._run.path / "metrics.jsonl", num_bytes) as metrics:
            if not num_bytes:
                self._end_epoch(metrics, 0)
            with self._progress.task("train", self._num_steps, "steps") as counter:
                counter.advance(self._step)
                self._steps(metrics, counter)
        self._learner.training(False)
        export(self._learner.model, self._encoder, self._run.export_path)
        write_json(self._run.path / "summary.json", {"steps": self._step, "model": str(self._run.export_path)})
        self._progress.say(f"the tuned model is in {self._run.export_path}")
        return self._run

    def _steps(self, metrics: MetricsFile, counter: Counter) -> None:
        every = self._config.checkpoint_every_steps
        on_gpu = self._encoder.device.type == "cuda"
        for batch, wait_s in _timed(load(self._stream, self._config.num_workers, pin_memory=on_gpu)):
            started_s = time.perf_counter()
            factor = rate_factor(self._step, self._num_steps, self._config)
            done = self._take_step(batch, factor)
            step_s = time.perf_counter() - started_s
            self._tally.add(done.loss, wait_s, step_s)
            metrics.write(self._line(done, factor, wait_s / (wait_s + step_s)))
            counter.advance()
            epoch, next_batch = batch["cursor"]
            if next_batch == 0:
                self._end_epoch(metrics, epoch)
            if next_batch == 0 or (every and self._step % every == 0):
                self._save(epoch, next_batch, metrics.sync())

    def _take_step(self, batch: Batch, factor: float) -> StepResult:
        try:
            done = self._learner.step(batch, factor)
        except ClipdataError as error:
            raise ClipdataError(f"step {self._step + 1}: {error.message}", hint=error.hint) from error
        self._step += 1
        return done

    def _line(self, done: StepResult, factor: float, wait_share: float) -> dict[str, Any]:
        return {
            "kind": "step",
            "step": self._step,
            "epoch": 1 + (self._step - 1) // self._stream.plan.num_batches,
            "loss": done.loss,
            "lr": self._config.lr * factor,
            "grad_norm": done.grad_norm,
            "logit_scale": done.logit_scale,
            "rows": done.num_rows,
            "wait": round(wait_share, 4),
        }

    def _end_epoch(self, metrics: MetricsFile, epoch: int) -> None:
        """Measure the held-out rows, write the epoch's line, and tell it. Epoch 0 is before the first step."""
        tally, self._tally = self._tally, _Tally()
        line: dict[str, Any] = {"kind": "epoch", "epoch": epoch, "step": self._step, "loss": None}
        parts = ["before training"]
        if epoch:
            loss = tally.loss / self._stream.plan.num_batches
            line |= {"loss": loss, "wait": round(tally.wait_share, 4)}
            parts = [f"mean loss {loss:.4g}", f"waited for data {tally.wait_share:.1%} of the time"]
        if self._begun.held_out is not None:
            found = self._evaluate(self._begun.held_out.offsets)
            line |= found.to_json()
            parts.append(str(found))
        if epoch or self._begun.held_out is not None:
            metrics.write(line)
            self._progress.say(f"epoch {epoch} of {self._config.epochs}: {', '.join(parts)}")

    def _evaluate(self, offsets: np.ndarray) -> Any:
        stream = self._make_stream(offsets, EVALUATION_BATCH, shuffle=False, drop_last=False)
        self._learner.training(False)
        with self._learner.autocast():
            found = evaluate(load(stream), self._learner.forward)
        self._learner.training(True)
        return found

    def _encode_texts_once(self) -> None:
        if self._learner.forward.text_trunk_trains:
            return
        texts: list[Sequence[str] | None] = [self._begun.rows.texts]
        if self._begun.held_out is not None:
            texts.append(self._begun.held_out.texts)
        known = [some for some in texts if some is not None]
        if len(known) == len(texts):
            self._learner.forward.encode_once([text for some in known for text in some], self._progress)

    def _make_stream(self, offsets: np.ndarray, batch_size: int, **options: Any) -> Stream:
        return Stream(
            self._begun.table,
            rows=offsets,
            batch_size=batch_size,
            seed=self._config.seed,
            num_threads=self._config.num_threads,
            **self._learner.forward.request(),
            **options,
        )

    def _save(self, epoch: int, batch: int, num_metrics_bytes: int) -> None:
        state = {
            **self._learner.state(),
            "cursor": {"epoch": epoch, "batch": batch},
            "loss_sum": self._tally.loss,
            "metrics_bytes": num_metrics_bytes,
        }
        folder = self._run.path / "checkpoints"
        checkpoints.save(folder, self._step, self._learner.tensors(), state)
        checkpoints.prune(folder, self._config.keep_checkpoints)

    def _restore(self) -> int:
        """Take up the newest checkpoint, and return how many bytes of metrics were written before it."""
        found = checkpoints.complete(self._run.path / "checkpoints")
        if not found:
            return 0
        tensors, state = found[-1].load(self._encoder.device)
        self._learner.restore(tensors, state)
        self._stream.load_state_dict(state["cursor"])
        self._step, self._tally.loss = found[-1].step, state["loss_sum"]
        self._progress.say(f"going on after step {self._step} of {self._num_steps}")
        return int(state["metrics_bytes"])


def _timed(batches: Iterator[Batch]) -> Iterator[tuple[Batch, float]]:
    """Pair every batch with the seconds it was waited for."""
    while True:
        started_s = time.perf_counter()
        batch = next(batches, None)
        if batch is None:
            return
        yield batch, time.perf_counter() - started_s
