"""Loop: a run step by step, from where its newest checkpoint left off to the exported model.

On a CPU N steps give bit for bit what k steps, a kill, and the rest give: the order of rows, dropout and the optimizer
all go on from the checkpoint. It knows steps, reports and checkpoints; what a run reads was decided before.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from functools import reduce
from operator import or_

from clipdata import hints
from clipdata.encoder import Encoder
from clipdata.errors import ClipdataError
from clipdata.progress import Counter, Progress
from clipdata.stream import load
from clipdata.stream.assembly import Batch
from clipdata.stream.workers import WorkerDied
from clipdata.training import checkpoints, resumption
from clipdata.training.config import TrainConfig
from clipdata.training.copies import Copies
from clipdata.training.cut_texts import count_cut
from clipdata.training.finishing import Finishing
from clipdata.training.forewords import forewords
from clipdata.training.forward import PictureIds
from clipdata.training.health import Health
from clipdata.training.held_out import HeldOut
from clipdata.training.interruption import Stopped, Stopping
from clipdata.training.learner import Learner
from clipdata.training.left_out import LeftOut, left_out_of
from clipdata.training.length import Length
from clipdata.training.lines import Lines
from clipdata.training.memory_watch import MemoryWatch
from clipdata.training.pace import Pace, told_at_the_end
from clipdata.training.processes import Processes
from clipdata.training.randomness import draw_from, seed_of_step
from clipdata.training.reports import Best, report_line, step_line, tell_report, told_if_worse
from clipdata.training.run import Run
from clipdata.training.run_contents import of_steps_taken
from clipdata.training.run_files import RunFiles
from clipdata.training.run_streams import RunStreams
from clipdata.training.schedules import rate_factor
from clipdata.training.tally import Tally


class Loop:
    """One process's part of a run: its share of every batch, and of what is measured. The first of them writes."""

    def __init__(
        self,
        begun: resumption.Beginning,
        encoder: Encoder,
        config: TrainConfig,
        progress: Progress,
        processes: Processes,
        copies: Copies | None = None,
    ) -> None:
        self._begun, self._encoder, self._config, self._progress = begun, encoder, config, progress
        self._processes = processes
        self._run, offsets = begun.run, begun.rows.offsets
        self._files = RunFiles(self._run, config, progress, copies, writes=processes.writes)
        pictures = _pictures_of(begun)
        self._learner = Learner(encoder, config, len(offsets), pictures)
        self._stopping = Stopping(progress, processes)
        streams = RunStreams(begun.table, config, processes)
        measured = begun.held_out.offsets if begun.held_out is not None else None
        self._held_out = HeldOut(measured, self._learner, streams, processes, self._stopping)
        self._finishing = Finishing(
            begun, encoder, self._learner, pictures, self._files, self._held_out, processes, progress
        )
        self._encode_texts_once()
        self._length = Length.of(config, len(offsets))
        self._num_steps, self._num_epochs = self._length.num_steps, self._length.num_epochs
        # Epochs of a small table are many and short: a report and a checkpoint are worth a few of them.
        self._epochs_a_report = max(self._num_epochs // config.epochs, 1)
        self._stream = streams.to_train_on(
            self._learner.forward, offsets, self._length.batch_size, num_epochs=self._num_epochs
        )
        self._left_out = LeftOut("rows to train on", len(offsets), config.max_bad_share)
        self._cut = count_cut(begun.table, offsets, config.objective, encoder.tokenize)
        self._memory = MemoryWatch(self._learner, encoder.model, evaluates=measured is not None, progress=progress)
        self._least_rows = 2 if self._learner.needs_two_rows else 1
        self._best = Best(self._run.path / "best", config.best, writes=processes.writes)
        self._step = 0
        self._took_steps = False
        self._unclosed: tuple[int, int] | None = None
        self._tally = Tally()
        self._pace = Pace(lambda: self._stream.shares, processes.world)
        self._health = Health(self._num_steps, config.lr, config.objective.kind)
        for word in forewords(begun, encoder, self._learner, self._length):
            progress.say(word)

    def _rate(self, step: int) -> float:
        """Learning rate of a step, from 0, as a part of the peak."""
        return rate_factor(step, self._num_steps, self._length.per_epoch, self._config)

    def run(self) -> Run:
        """Train what is left, export the model, and close the run.

        Raises:
            KeyboardInterrupt, SystemExit: on Ctrl-C and SIGTERM, behind a checkpoint.
        """
        with self._stopping, self._files:
            try:
                self._train()
            except Stopped:
                self._progress.say(f"stopped at step {self._step:,} of {self._num_steps:,}")
                raise
            return self._close()

    def _train(self) -> None:
        num_bytes = self._restore()
        with self._files.lines(num_bytes) as metrics:
            if self._unclosed is not None:
                self._close_step(*self._unclosed, metrics)
            elif not num_bytes:
                if self._cut.num_cut:
                    self._progress.say(str(self._cut))
                self._report(metrics, 0)
            with self._progress.task("train", self._num_steps, "steps") as counter:
                counter.advance(self._step)
                self._steps(metrics, counter)

    def _close(self) -> Run:
        """Export the model, and say what the run was."""
        self._processes.wait()  # for the best weights, which are written by now
        summary = self._finishing.finish(self._step, self._best)
        summary |= {
            "texts": self._cut.to_json(),
            "left_out": self._left_out.counts,
            "not_measured": self._held_out.left_out.counts,
            "pace": self._pace.whole().to_json(),
            "warnings": [warned.to_json() for warned in self._health.warnings],
        }
        summary |= {} if self._took_steps else of_steps_taken(self._run.path)
        self._files.close(summary)
        worse = told_if_worse(self._run.epochs, summary)
        if worse is not None:
            self._progress.say(worse)
        if self._left_out.counts:
            self._progress.say(f"not trained on, for their pictures cannot be used: {self._left_out}")
        if self._took_steps:
            self._progress.say(told_at_the_end(self._pace.whole(), self._bench_command()))
        self._progress.say(f"the tuned model is in {self._run.export_path}")
        return self._run

    def _bench_command(self) -> str:
        return hints.bench(self._begun.table.uri, self._encoder.name)

    def _steps(self, metrics: Lines, counter: Counter) -> None:
        if self._step == self._num_steps:
            return
        on_gpu = self._encoder.device.type == "cuda"
        batches = load(self._stream, self._config.num_workers, pin_memory=on_gpu)
        closed: tuple[int, int] | None = None
        with closing(batches):
            try:
                for together, wait_s in self._pace.groups(batches, self._config.accumulate):
                    self._take_step(together, wait_s, metrics)
                    counter.advance()
                    self._pace.show(counter, self._health.loss)
                    epoch, next_batch = together[-1]["cursor"]
                    self._close_step(epoch, next_batch, metrics)
                    closed = epoch, next_batch
                    if self._step == self._num_steps:
                        return
            except WorkerDied:
                if closed is None or not self._stopping.heard:
                    raise
                self._save(*closed, metrics.sync())  # what ends a group of processes ends the workers, too
                raise Stopped from None

    def _close_step(self, epoch: int, next_batch: int, metrics: Lines) -> None:
        """Report, checkpoint and export, as far as it is time for it; and stop, where somebody asked for it.

        Raises:
            Stopped: somebody did, and a checkpoint is written: before the report where it came while rows were
                measured, and else behind all that is to be done.
        """
        self._stopping.agree()
        config, is_last, ends = self._config, self._step == self._num_steps, next_batch == 0
        reports = is_last or (ends and epoch % self._epochs_a_report == 0)
        if reports:
            try:
                self._report(metrics, epoch + (next_batch > 0))
            except Stopped:
                self._save(epoch, next_batch, metrics.sync(), unclosed=(epoch, next_batch))
                raise
        number = epoch // self._epochs_a_report
        by_epochs = reports and (is_last or number % config.checkpoint_every_epochs == 0)
        by_steps = config.checkpoint_every_steps and self._step % config.checkpoint_every_steps == 0
        if by_epochs or by_steps or self._stopping.asked:
            self._save(epoch, next_batch, metrics.sync())
        if ends and config.export_every_epochs and epoch % config.export_every_epochs == 0:
            self._finishing.export(self._run.path / "epochs" / str(epoch))
        self._stopping.check()

    def _take_step(self, batches: Sequence[Batch], wait_s: float, metrics: Lines) -> None:
        """Move the weights by a step's batches; where nothing of them can be used, it counts and moves nothing."""
        for batch in batches:
            self._left_out.add(self._processes.joined(left_out_of(batch)))
        started_s, factor = time.perf_counter(), self._rate(self._step)
        num_rows = self._processes.totals([len(batch["offsets"]) for batch in batches])
        usable = [batch for batch, rows in zip(batches, num_rows, strict=True) if rows >= self._least_rows]
        done = None
        if usable:
            draw_from(self._encoder.device, seed_of_step(self._config.seed, self._step, self._processes.rank))
            try:
                with self._memory.step(usable[0]):
                    done = self._learner.step(usable, factor, looks=self._health.is_due(self._step + 1))
            except ClipdataError as error:
                raise ClipdataError(f"step {self._step + 1}: {error.message}", hint=error.hint) from error
        self._step, self._took_steps = self._step + 1, True
        step_s = time.perf_counter() - started_s
        self._pace.add(done.num_rows if done is not None else 0, step_s)
        if done is not None:
            self._tally.add(done.loss)
            if self._config.tell_every_steps and self._step % self._config.tell_every_steps == 0:
                told = f"loss {done.loss:.4g}, {self._pace.since_report()}"
                self._progress.say(f"step {self._step:,} of {self._num_steps:,}: {told}")
        epoch = 1 + (self._step - 1) // self._length.per_epoch
        metrics.write(step_line(self._step, epoch, self._config, factor, wait_s / (wait_s + step_s), done))
        if done is not None:
            for warned in self._health.see(self._step, done.loss, done.grad_norm, done.vitals):
                metrics.write({"kind": "warning", **warned.to_json()})
                self._progress.say(f"step {self._step:,}: {warned.text}")

    def _report(self, metrics: Lines, epoch: int) -> None:
        """Measure the held-out rows, write the epoch's line, and tell it. Epoch 0 is before the first step."""
        found = self._held_out.measure()
        tally, self._tally = self._tally, Tally()
        pace = self._pace.report()
        counts = {"left_out": self._left_out, "not_measured": self._held_out.left_out}
        line, parts = report_line(epoch, self._step, tally, pace, found, counts)
        if found is not None and found.num_rows and self._best.see(self._step, found, self._learner.measured_tensors):
            parts.append("the best so far")
        if epoch or found is not None:
            tell_report(line, parts, self._num_epochs, metrics, self._progress)
            self._files.draw()

    def _encode_texts_once(self) -> None:
        if self._learner.forward.text_trunk_trains:
            return
        begun = self._begun
        others = [some for some in (begun.held_out, begun.validation) if some is not None]
        texts: list[Sequence[str] | None] = [some.texts for some in (begun.rows, *others)]
        known = [some for some in texts if some is not None]
        if len(known) == len(texts):
            self._learner.forward.encode_once([text for some in known for text in some], self._progress)

    def _save(self, epoch: int, batch: int, num_metrics_bytes: int, *, unclosed: tuple[int, int] | None = None) -> None:
        """Write a checkpoint.

        Args:
            epoch, batch: where the stream stands.
            num_metrics_bytes: written so far.
            unclosed: the same where the step's report is still to come.
        """
        state = {
            **self._learner.state(),
            "cursor": {"epoch": epoch, "batch": batch},
            "loss_sum": self._tally.loss,
            "loss_steps": self._tally.num_steps,
            "left_out": self._left_out.state(),
            "best": self._best.state(),
            "health": self._health.state(),
            "metrics_bytes": num_metrics_bytes,
            "unclosed": unclosed,
        }
        self._files.save(self._step, self._learner.tensors(), state)
        self._best.forget_others()
        self._files.copy(self._step, num_metrics_bytes)

    def _restore(self) -> int:
        """Take up the newest checkpoint, and return how many bytes of metrics were written before it."""
        found = checkpoints.complete(self._run.path / "checkpoints")
        if not found:
            self._processes.make_equal(self._learner.tensors().values())
            return 0
        tensors, state = found[-1].load(self._encoder.device)
        self._learner.restore(tensors, state)
        self._stream.load_state_dict(state["cursor"])
        self._step = found[-1].step
        self._tally.num_steps, self._tally.loss = state["loss_steps"], state["loss_sum"]
        self._left_out.restore(state["left_out"])
        self._best.restore(state["best"])
        self._unclosed = state.get("unclosed")
        if "health" in state:  # not in checkpoints of an earlier release
            self._health.restore(state["health"])
        self._progress.say(f"going on after step {self._step} of {self._num_steps}")
        return int(state["metrics_bytes"])


def _pictures_of(begun: resumption.Beginning) -> PictureIds:
    """Of the rows to train on, of those to measure, and of those to choose by."""
    chosen = [some for some in (begun.rows, begun.held_out, begun.validation) if some is not None]
    return reduce(or_, (PictureIds(some.offsets, some.pictures_N) for some in chosen))
