"""Which recipe should be the default? Candidates on cross-validated splits of the sample's training rows, by size.

    python -m benchmarks.default_recipe [--work DIR] [--sizes 60 300 1000 0] [--seeds 5] [--candidates FILE.json]
    python -m benchmarks.default_recipe --check

For each seed a fifth of the groups of training rows is held out; rows of one picture or one right caption are of one
group, as in the pipeline's own split. Of the other rows the wanted number is drawn (0: all): single questions, or with
--whole-groups all questions of a few groups, which is harder (60 questions then are about 10 captions). Test rows are
never read. Printed for each candidate and size: held-out accuracy in the mean over the seeds, its
standard deviation over them, the smallest gain over the model before training, and how many of the seeds ended below
their start by more than the 95 % interval of the paired difference (clustered by picture).

Only projections train, so the runs take the product's own learner, loss, order, rate and steps over features that are
read once; --check trains one case with `clipdata.train` too, and compares the losses of all steps.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import clipdata as cd
import ingest
from benchmarks.cross_validation import TRUNK, Bench, Task, over_seeds, starter, trunk_of
from clipdata.encoder import Encoder
from clipdata.lance_io.table import Table
from clipdata.training.config import TrainConfig
from pipelines import sample

CHOICES, LABEL = "caption_choices", "label_ind"
PULLED = {"weight_decay": 0.0}
CANDIDATES: dict[str, dict[str, Any]] = {
    "before: 2e-4, 5 epochs": {"lr": 2e-4},
    "1e-3, 5 epochs": {"lr": 1e-3},
    "5e-4, 200 steps": {"lr": 5e-4, "min_steps": 200},
    "5e-4, 200 steps, pull 1": {"lr": 5e-4, "min_steps": 200, "pull": 1.0, **PULLED},
    "5e-4, 400 steps, pull 1": {"lr": 5e-4, "min_steps": 400, "pull": 1.0, **PULLED},
    "1e-3, 200 steps, pull 0.5": {"lr": 1e-3, "min_steps": 200, "pull": 0.5, **PULLED},
    "1e-3, 200 steps, pull 1": {"lr": 1e-3, "min_steps": 200, "pull": 1.0, **PULLED},
    "1e-3, 200 steps, pull 2": {"lr": 1e-3, "min_steps": 200, "pull": 2.0, **PULLED},
}


def make_table(folder: Path, encoder: Encoder) -> Table:
    """The sample's table with its trunk column, made once."""
    pictures = ingest.from_images(str(sample.images_path()), into=folder / "images.lance").table
    questions = ingest.from_parquet(str(sample.questions_path()), into=folder / "meta.lance").table
    table = ingest.merge(pictures, questions, on="filename", into=folder / "contest.lance")
    cd.map_column(table, cd.steps.LabelIndex("label", choices=CHOICES), LABEL)
    cd.map_column(table, cd.steps.ImageTrunk(encoder), TRUNK)
    return table


def captions_task(table: Table) -> Task:
    """The training rows: which of five captions is right? Units are pictures and right captions that go together."""
    read = table.to_table([TRUNK, CHOICES, LABEL, "sha256", "id"], where="split = 'train'").combine_chunks()
    choices, labels, pictures = (read[name].to_pylist() for name in (CHOICES, LABEL, "sha256"))
    right = [row[label] for row, label in zip(choices, labels, strict=True)]
    return Task(
        "captions",
        trunk_of(read[TRUNK]),
        {CHOICES: choices, LABEL: torch.tensor(labels)},
        unit=units_of(pictures, right),
        picture=pictures,
        row=range(-1, -1 - len(labels), -1),
        choices=choices,
        answer=labels,
        objective={"objective": "choice", "choices": CHOICES, "label": LABEL},
        key=read["id"].to_pylist(),
    )


def units_of(pictures: Sequence[str], right: Sequence[str]) -> list[int]:
    """Number of the unit of each row: rows of one picture or one right caption, directly or through others."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    for picture, caption in zip(pictures, right, strict=True):
        parent[root(f"picture {picture}")] = root(f"caption {caption}")
    numbers: list[int] = np.unique([root(f"picture {picture}") for picture in pictures], return_inverse=True)[
        1
    ].tolist()
    return numbers


def config_of(settings: Mapping[str, Any]) -> TrainConfig:
    """A candidate as a config."""
    return replace(TrainConfig(image_trunk=TRUNK, epochs=5), **settings)


def main() -> None:
    """Print the table of candidates."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--work", type=Path, help="folder for the table, to use it again")
    words.add_argument("--sizes", type=int, nargs="+", default=[60, 300, 1000, 0])
    words.add_argument("--seeds", type=int, default=5)
    words.add_argument("--whole-groups", action="store_true")
    words.add_argument("--threads", type=int, default=1)
    words.add_argument("--candidates", type=Path, help="JSON: name → fields of TrainConfig")
    words.add_argument("--check", action="store_true", help="show that clipdata.train takes the same steps")
    given = words.parse_args()
    torch.set_num_threads(given.threads)
    encoder = starter()
    with tempfile.TemporaryDirectory() as scratch:
        table = make_table(given.work or Path(scratch), encoder)
        bench = Bench(encoder, captions_task(table), whole_units=given.whole_groups)
        if given.check:
            check(bench, table, Path(scratch))
            return
        candidates = json.loads(given.candidates.read_text()) if given.candidates else CANDIDATES
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {' '.join(sys.argv)}", flush=True)
        for name, size in itertools.product(candidates, given.sizes):
            print(over_seeds(bench, name, config_of(candidates[name]), size, given.seeds), flush=True)


def check(bench: Bench, table: Table, folder: Path) -> None:
    """Train one case both ways, and compare."""
    config = config_of({"lr": 1e-3, "min_steps": 40, "pull": 6.0})
    outcome = bench.run(config, 300, 0)
    keys = [[bench.task.key[place] for place in places] for places in bench.drawn(300, 0)]
    wheres = [f"id in ({', '.join(map(repr, some))})" for some in keys]
    run = cd.train(table, bench.encoder, replace(config, evaluate_where=wheres[1]), out=folder / "run", where=wheres[0])
    worst = max(abs(line["loss"] - loss) for line, loss in zip(run.metrics, outcome.losses, strict=True))
    print(f"{len(outcome.losses)} steps; largest difference of a loss: {worst:.2g}")
    after = outcome.after_N.mean()
    print(f"held-out accuracy: {after:.4f} here, {run.epochs[-1]['accuracy']:.4f} by clipdata.train")


if __name__ == "__main__":
    main()
