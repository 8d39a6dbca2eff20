"""Plan: what a training would do, as its dry run says it: rows, steps, and what one batch took.

It knows records of runs and copies of models, and writes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import nn

from clipdata.encoder import Encoder
from clipdata.plurals import counted
from clipdata.printable import printable
from clipdata.progress import Progress, Silent
from clipdata.stream import Stream
from clipdata.training import resumption
from clipdata.training.checkpoints import complete
from clipdata.training.forward import PictureIds
from clipdata.training.learner import Learner
from clipdata.training.length import Length
from clipdata.training.memory_outlook import MemoryOutlook, outlook
from clipdata.training.rows_read import RowsRead
from clipdata.training.run import Run


@dataclass(frozen=True)
class BatchTimes:
    """What one batch took, on a copy of the model.

    Args:
        read_s: seconds of reading and decoding it.
        step_s: seconds of a step: forward, backward, and moving the weights.
        caption_s: seconds of encoding one caption, where captions are encoded once before the first step.
    """

    read_s: float
    step_s: float
    caption_s: float | None = None


@dataclass(frozen=True)
class TrainingPlan:
    """What a training would do.

    Args:
        path: folder of the run.
        state: whether the run begins, goes on, or begins in place of one that is discarded.
        record: config, encoder and table, as config.json would hold them.
        num_rows: to train on.
        num_usable: rows that could be trained on, without `limit` or `sample`.
        refused: rows that cannot be used, by reason.
        num_measured: rows to measure, or None.
        overlap: what these share with the rows to train on; None where nothing is measured.
        length: of the run.
        steps_done: by a run that is gone on with.
        num_captions: distinct captions that are encoded once, before the first step.
        times: of one batch; None where its pictures cannot be used, or the memory does not suffice.
        memory: what a step needs, and what is free; None where no picture of the batch can be used.
    """

    path: str
    state: Literal["begins", "goes on", "discards a run"]
    record: Mapping[str, Any]
    num_rows: int
    num_usable: int
    refused: Mapping[str, int]
    num_measured: int | None
    overlap: Mapping[str, int] | None
    length: Length
    steps_done: int = 0
    num_captions: int = 0
    times: BatchTimes | None = None
    memory: MemoryOutlook | None = None

    @property
    def estimate_s(self) -> float | None:
        """Seconds of the steps that are left and of the captions; reading goes on beside, and measuring is left out."""
        if self.times is None:
            return None
        captions_s = (self.times.caption_s or 0.0) * self.num_captions
        return self.times.step_s * max(self.length.num_steps - self.steps_done, 0) + captions_s

    def to_dict(self) -> dict[str, Any]:
        """JSON values: those of a run that has not begun, and the plan."""
        plan = {
            "state": self.state,
            "rows": self.num_rows,
            "usable": self.num_usable,
            "refused": dict(self.refused),
            "measured": self.num_measured,
            "overlap": dict(self.overlap) if self.overlap is not None else None,
            **asdict(self.length),
            "steps_done": self.steps_done,
            "captions": self.num_captions,
            "batch": asdict(self.times) if self.times is not None else None,
            "estimate_s": self.estimate_s,
            "memory": self.memory.to_json() if self.memory is not None else None,
        }
        told = {name: self.record[name] for name in ("config", "encoder", "table")}
        return {"path": self.path, "finished": False, **told, "epochs": [], "dry_run": True, "plan": plan}

    def __str__(self) -> str:
        length, table = self.length, self.record["table"]
        rows = counted(self.num_rows, "row") if self.num_rows == self.num_usable else self._part()
        lines = [
            f"run {self.path}: {self.state}; nothing was written",
            f"  {rows} of {table['uri']}, version {table['version']}",
            f"  {length.num_steps:,} steps of {length.batch_size:,} rows, {length.num_epochs:,} epochs",
        ]
        lines += [f"  {self.steps_done:,} of the steps are done"] if self.steps_done else []
        lines += [f"  left out: {count:,} with {reason}" for reason, count in self.refused.items()]
        lines += [f"  {counted(self.num_measured, 'row')} to measure"] if self.num_measured is not None else []
        if self.times is not None:
            batch = f"a batch took {self.times.read_s:.3g} s to read and {self.times.step_s:.3g} s to train on"
            lines.append(f"  {batch}: about {self.estimate_s:,.3g} s in all, measuring and waiting for data aside")
        if self.memory is not None:
            lines += [f"  {self.memory}", *([f"  {self.memory.warning}"] if self.memory.is_near else [])]
        return "\n".join(map(printable, lines))

    def _part(self) -> str:
        return f"{self.num_rows:,} of {self.num_usable:,} usable rows"


def plan_of(
    folder: Path, read: RowsRead, encoder: Encoder, *, resume: bool, overwrite: bool, progress: Progress
) -> TrainingPlan | Run:
    """Say what a training would do in a folder; a finished run is returned as it is.

    Raises:
        UsageError: the folder holds another run, or something else.
        SchemaError: the table is not what the config needs.
    """
    anew = resumption.is_discarded(folder, resume=resume, overwrite=overwrite)
    found = resumption.foresee(folder, read, encoder, progress=progress, anew=anew)
    if isinstance(found, Run):
        return found
    read, config = found.read, found.read.config
    length = Length.of(config, len(read.rows.offsets))
    newest = [] if found.is_new else complete(folder / "checkpoints")
    learner = Learner(encoder, config, len(read.rows.offsets), PictureIds(read.rows.offsets, read.rows.pictures_N))
    num_captions = _num_captions(read, learner)
    times, memory = try_batch(read, learner, length, encoder.model, encodes_once=bool(num_captions))
    return TrainingPlan(
        path=str(folder),
        state="discards a run" if anew else "begins" if found.is_new else "goes on",
        record=found.record,
        num_rows=len(read.rows.offsets),
        num_usable=read.rows.num_usable,
        refused=read.rows.refused,
        num_measured=len(read.held_out.offsets) if read.held_out is not None else None,
        overlap=found.overlap.to_json() if found.overlap is not None else None,
        length=length,
        steps_done=newest[-1].step if newest else 0,
        num_captions=num_captions,
        times=times,
        memory=memory,
    )


def try_batch(
    read: RowsRead, learner: Learner, length: Length, encoder_model: nn.Module, *, encodes_once: bool
) -> tuple[BatchTimes | None, MemoryOutlook | None]:
    """Train a copy of a model on one batch, twice, and say what the second time took, and what memory it needs.

    Args:
        learner: holds the copy, and is of no use afterwards.
        encoder_model: what it is a copy of.
        encodes_once: captions are encoded before the first step.

    Returns:
        Neither where no picture of the batch can be used, and no times where the memory does not suffice.

    Raises:
        ClipdataError: the loss or the gradient is not a number.
    """
    config, offsets = read.config, read.rows.offsets[: length.batch_size]
    caption_s = None
    if encodes_once:
        texts = _texts_of(read, offsets)
        started_s = time.perf_counter()
        learner.forward.encode_once(texts, Silent())
        caption_s = (time.perf_counter() - started_s) / len(texts)
    stream = Stream(
        read.table,
        rows=offsets,
        batch_size=len(offsets),
        shuffle=False,
        seed=config.seed,
        num_threads=config.num_threads,
        rank=0,
        world_size=1,
        **learner.forward.request(augmented=True),
    )
    started_s = time.perf_counter()
    batch = next(iter(stream))
    read_s = time.perf_counter() - started_s
    if not len(batch["offsets"]):
        return None, None
    memory = outlook(learner, batch, encoder_model, evaluates=read.held_out is not None)
    if memory.is_over:
        return None, memory
    for _ in range(2):
        started_s = time.perf_counter()
        learner.step([batch] * config.accumulate, 1.0)
    return BatchTimes(read_s, time.perf_counter() - started_s, caption_s), memory


def _texts_of(read: RowsRead, offsets: np.ndarray) -> list[str]:
    """Distinct texts that the objective reads of some rows."""
    objective, texts = read.config.objective, set(read.config.objective.prompts)
    if objective.text_columns:
        for column in read.table.take(offsets, list(objective.text_columns)).columns:
            for row in column.to_pylist():
                texts.update([row] if isinstance(row, str) else row)
    return sorted(texts)


def _num_captions(read: RowsRead, learner: Learner) -> int:
    """Distinct captions that a run encodes before its first step; 0 where it encodes them in every step."""
    if learner.forward.text_trunk_trains:
        return 0
    chosen = [read.rows, *([read.held_out] if read.held_out is not None else [])]
    texts = [some.texts for some in chosen]
    return len({text for some in texts for text in some or ()}) if None not in texts else 0
