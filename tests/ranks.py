"""Trainings for tests/test_processes.py, made by torchrun in each of its processes, and in one to compare with.

    python -m torch.distributed.run --standalone --nproc-per-node 2 -m tests.ranks FOLDER NAME …

Each name is one of `JOBS`. A job trains into `FOLDER/runs-WORLD/NAME`; what a process is told, or what ended it, goes
into `FOLDER/told-WORLD.RANK.json`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa
import torch

from clipdata.encoder import Encoder
from clipdata.errors import ClipdataError
from clipdata.lance_io.table import open_table
from clipdata.training.config import TrainConfig
from clipdata.training.fine_tuning import train
from clipdata.training.objectives import Choice, ClassPrompts, Contrastive, SigLip, SoftTarget
from tests.contracts.objectives import NAMES, biased_encoder, objective_table
from tests.telling import Told
from tests.tiny_models import tiny_dual_encoder


@cache
def plain() -> Encoder:
    return biased_encoder()


@cache
def with_batchnorm(dropout: float = 0.0) -> Encoder:
    """A ResNet and a BERT; dropout of several processes is another than that of one."""
    folder = Path(os.environ["TMPDIR"]) / f"dual-{os.getpid()}-{dropout}"
    made = tiny_dual_encoder(folder)
    shutil.rmtree(folder)
    for module in made.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = dropout
    return made


class Stopped(Exception):
    """Stands for a fault of one process."""


class StopsAt(Told):
    """A progress whose process fails at a step."""

    def __init__(self, step: int | None, *, is_killed: bool = False) -> None:
        super().__init__()
        self._step, self._is_killed = step, is_killed

    @contextmanager
    def task(self, label, total, unit="rows"):
        yield self if unit == "steps" else Told()

    def advance(self, num=1):
        super().advance(num)
        if self.steps == self._step:
            if self._is_killed:
                os.kill(os.getpid(), signal.SIGKILL)
            raise Stopped(f"stopped at step {self.steps}")


@dataclass(frozen=True)
class Job:
    """A training.

    Args:
        table: name of the table in the folder.
        stops_at: step at which the first process fails.
        is_killed: it fails by SIGKILL.
    """

    changes: dict[str, Any] = field(default_factory=dict)
    table: str = "t.lance"
    encoder: Callable[[], Encoder] = plain
    stops_at: int | None = None
    is_killed: bool = False

    def run(self, folder: Path, out: Path) -> Told:
        """Train; returns what was told."""
        told = StopsAt(self.stops_at, is_killed=self.is_killed)
        config = TrainConfig(**{
            "epochs": 2, "batch_size": 7, "drop_last": False, "lr": 1e-3, "train": "all", "evaluate_where": None,
            "canary": False, **self.changes,
        })  # fmt: skip
        train(open_table(folder / self.table), self.encoder(), config, out=out, progress=told)
        return told


MEASURED = {"evaluate_where": "split = 'test'", "evaluation_batch": 5}
CUT = {"objective": Choice(), "checkpoint_every_steps": 2, **MEASURED}
DROPPED = {
    "objective": Contrastive("captions"),
    "train": "lora",
    "ema": 0.5,
    "grad_cache_chunk": 3,
    "wise_ft": 0.5,
    "checkpoint_every_steps": 2,
}
# The batches of 7 of 22 to 24 rows are shared unevenly, and the last one leaves a process without a row.
JOBS = {
    "choice": Job({"objective": Choice(), "accumulate": 2, **MEASURED}),
    "contrastive": Job({"objective": Contrastive("captions"), "batch_size": 11, **MEASURED}),
    "siglip": Job({"objective": SigLip("captions", captions="all"), "grad_clip": 0.1}),
    "class_prompts": Job({"objective": ClassPrompts(classes=tuple(NAMES)), **MEASURED}),
    "soft_target": Job({"objective": SoftTarget("captions"), "train": "projections", "pull": 1.0}),
    "bad_pictures": Job({"objective": Choice(), "shuffle": False, "batch_size": 8, "max_bad_share": 0.5, **MEASURED},
                        table="bad.lance"),
    "batchnorm": Job({"objective": Contrastive("captions"), "freeze_batchnorm": False, "batch_size": 8, "lr": 3e-4,
                      "drop_last": True}, encoder=with_batchnorm),
    "together": Job({"objective": Contrastive("captions", negatives="caption_choices"), "train": "lora", "ema": 0.5,
                     "lora_dropout": 0.0, "grad_cache_chunk": 3, "gradient_checkpointing": True, "lr": 0.01,
                     **MEASURED}),
    "dropped": Job(DROPPED),
    "dropped_cut": Job(DROPPED, stops_at=5),
    "dropout": Job({"objective": Contrastive("captions"), "checkpoint_every_steps": 2},
                   encoder=lambda: with_batchnorm(0.3)),
    "dropout_cut": Job({"objective": Contrastive("captions"), "checkpoint_every_steps": 2},
                       encoder=lambda: with_batchnorm(0.3), stops_at=5),
    "whole": Job(CUT),
    "cut": Job(CUT, stops_at=5),
    "killed": Job(CUT, stops_at=5, is_killed=True),
    "too_bad": Job({"objective": Choice(), "shuffle": False, "batch_size": 8, "max_bad_share": 0.1}, "bad.lance"),
    "too_few": Job({"objective": Contrastive("captions")}, table="one.lance"),
    "unlike": Job({"objective": Choice(), "seed": int(os.environ.get("RANK", "0"))}),
}  # fmt: skip


def make_tables(folder: Path) -> None:
    """Write what jobs read."""
    rows = objective_table(folder).to_table()
    # In the table's order the first of two processes takes the first four of every eight rows.
    images = [b"no image" if 8 <= n < 12 or n == 17 else one for n, one in enumerate(rows["image"].to_pylist())]
    bad = rows.drop_columns(["image"]).append_column("image", pa.array(images, pa.large_binary()))
    lance.write_dataset(bad, folder / "bad.lance")
    lance.write_dataset(rows.slice(2, 1), folder / "one.lance")


def figures(line: dict[str, Any]) -> dict[str, Any]:
    """What of a line of metrics does not depend on the clock."""
    return {name: value for name, value in line.items() if isinstance(value, (int, float)) and name != "wait"}


def main(folder: Path, names: list[str]) -> None:
    """Do jobs, "NAME" or "NAME:RUN" for a run of another name, one after the other; a failed one ends only itself."""
    rank, world = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    told = {}
    for name in names:
        job, _, out = name.partition(":")
        try:
            found = JOBS[job].run(folder, folder / f"runs-{world}" / (out or job))
            told[name] = {"said": found.said, "steps": found.steps}
        except (ClipdataError, Stopped) as error:
            told[name] = {"error": type(error).__name__, "message": str(error)}
    (folder / f"told-{world}.{rank}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
