"""Which recipe should classify by prompts? Candidates on cross-validated splits of the sample's training rows, by size.

    python -m benchmarks.class_recipe [--work DIR] [--sizes 60 300 0] [--seeds 5] [--candidates FILE.json]

For each seed a fifth of the subjects of the training rows is held out: both drawings of an emoji are of one subject, so
that none is on both sides. Of the other rows the wanted number is drawn (0: all). Test rows are never read. Printed for
each candidate and size: held-out top-1 in the mean over the seeds, its standard deviation over them, the
smallest gain over the model before training, and how many of the seeds ended below their start by more than
the 95 % interval of the paired difference (clustered by subject).

Only projections train, so the runs take the product's own learner, loss, order, rate and steps over features that are
read once.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import torch

import clipdata as cd
import ingest
from benchmarks.cross_validation import TRUNK, Bench, Task, over_seeds, starter, trunk_of
from clipdata.encoder import Encoder
from clipdata.steps.class_prompts import class_prompts
from clipdata.training.config import TrainConfig
from pipelines.sample import layouts

PROMPT, LABEL = "prompt", "label_ind"
IN_BATCH = {"objective": "multi_positive", "text": PROMPT, "captions": "first", "group": LABEL}
SOFTMAX = {"objective": "class_prompts", "label": LABEL}
KEPT = {"weight_decay": 0.0}
CANDIDATES: dict[str, dict[str, Any]] = {
    "in-batch, 2e-4, 5 epochs": {**IN_BATCH, "lr": 2e-4},
    "in-batch, 1e-3, 200 steps": {**IN_BATCH, "lr": 1e-3, "min_steps": 200},
    "in-batch, 1e-3, 200 steps, pull 0.3": {**IN_BATCH, "lr": 1e-3, "min_steps": 200, "pull": 0.3, **KEPT},
    "in-batch, 1e-3, 200 steps, pull 1": {**IN_BATCH, "lr": 1e-3, "min_steps": 200, "pull": 1.0, **KEPT},
    "in-batch, 1e-3, 200 steps, pull 3": {**IN_BATCH, "lr": 1e-3, "min_steps": 200, "pull": 3.0, **KEPT},
    "in-batch, 1e-3, 100 steps, pull 1": {**IN_BATCH, "lr": 1e-3, "min_steps": 100, "pull": 1.0, **KEPT},
    "softmax, 1e-3, 200 steps, pull 1": {**SOFTMAX, "lr": 1e-3, "min_steps": 200, "pull": 1.0, **KEPT},
}


def classes_task(trunk_NW: torch.Tensor, names: Sequence[str], filenames: Sequence[str]) -> Task:
    """Which of all classes does a picture show? Units are subjects, of which each maker has a drawing.

    Args:
        trunk_NW: of each picture.
        names: of its class.
        filenames: `maker-subject.suffix`.
    """
    classes = tuple(sorted(set(names)))
    labels = [classes.index(name) for name in names]
    prompts = class_prompts(classes, ["a photo of {}"])
    subjects = [PurePosixPath(name).stem.split("-", 1)[1] for name in filenames]
    return Task(
        "classes",
        trunk_NW,
        {PROMPT: [prompts[label] for label in labels], LABEL: torch.tensor(labels)},
        unit=subjects,
        picture=subjects,
        row=range(len(labels)),
        choices=[prompts] * len(labels),
        answer=labels,
        objective=IN_BATCH,
        classes=classes,
    )


def read_classes(folder: Path, encoder: Encoder) -> Task:
    """The training rows of the sample in class folders; the table is made once."""
    laid_out = layouts.class_lists(folder / "sample")
    table = ingest.from_class_list(laid_out / "images", laid_out / "meta", into=folder / "images.lance").table
    cd.map_column(table, cd.steps.ImageTrunk(encoder), TRUNK)
    read = table.to_table([TRUNK, "label", "filename"], where="split = 'train'").combine_chunks()
    return classes_task(trunk_of(read[TRUNK]), read["label"].to_pylist(), read["filename"].to_pylist())


def main() -> None:
    """Print the table of candidates."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--work", type=Path, help="folder for the table, to use it again")
    words.add_argument("--sizes", type=int, nargs="+", default=[60, 300, 0])
    words.add_argument("--seeds", type=int, default=5)
    words.add_argument("--candidates", type=Path, help="JSON: name → fields of TrainConfig")
    given = words.parse_args()
    torch.set_num_threads(1)
    encoder = starter()
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(encoder, read_classes(given.work or Path(scratch), encoder))
        candidates = json.loads(given.candidates.read_text()) if given.candidates else CANDIDATES
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {' '.join(sys.argv)}", flush=True)
        for name, size in itertools.product(candidates, given.sizes):
            fields = {"image_trunk": TRUNK, "epochs": 5, **candidates[name]}
            if fields["objective"] == "class_prompts":
                fields["classes"] = list(bench.task.classes)
            print(over_seeds(bench, name, TrainConfig.from_json(fields), size, given.seeds), flush=True)


if __name__ == "__main__":
    main()
