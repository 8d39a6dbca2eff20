"""Which recipe should classify by prompts? Candidates on cross-validated splits of the sample's training rows, by size.

    python benchmarks/class_recipe.py [--work DIR] [--sizes 60 300 0] [--seeds 5] [--candidates FILE.json]

For each seed a fifth of the subjects of the training rows is held out: both drawings of an emoji are of one subject, so
that none is on both sides. Of the other rows the wanted number is drawn (0: all). Test rows are never read. Printed for
each candidate and size: held-out top-1 in the mean over the seeds, its standard deviation over them, mean recall per
class, the smallest gain over the model before training, and how many of the seeds ended below their start by more than
the 95 % interval of the paired difference (clustered by subject).

Only projections train, so the runs take the product's own learner, loss, order, rate and steps over features that are
read once.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

import clipdata as cd
import ingest
from clipdata.progress import Silent
from clipdata.steps.class_prompts import class_prompts
from clipdata.stream.plan import Plan
from clipdata.training.classification import classification
from clipdata.training.config import TrainConfig
from clipdata.training.learner import Learner
from clipdata.training.schedules import rate_factor
from pipelines.sample import layouts

TRUNK, PROMPT, LABEL = "image_trunk", "prompt", "label_ind"
HELD_OUT_SHARE = 0.2
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


@dataclass(frozen=True)
class Rows:
    """Rows in memory.

    Args:
        trunk_NW: float32, of the image trunk.
        label_N: int64.
        subject: what each picture shows.
    """

    trunk_NW: torch.Tensor
    label_N: torch.Tensor
    subject: list[str]

    def at(self, places: np.ndarray) -> Rows:
        """Some of the rows."""
        return Rows(self.trunk_NW[places], self.label_N[places], [self.subject[place] for place in places.tolist()])


def read_rows(folder: Path, encoder: cd.Encoder) -> tuple[Rows, tuple[str, ...]]:
    """The training rows, and the names of the classes; the table is made once."""
    laid_out = layouts.class_lists(folder / "sample")
    table = ingest.from_class_list(laid_out / "images", laid_out / "meta", into=folder / "images.lance").table
    cd.map_column(table, cd.steps.ImageTrunk(encoder), TRUNK)
    read = table.to_table([TRUNK, "label", "filename"], where="split = 'train'").combine_chunks()
    classes = tuple(sorted(set(read["label"].to_pylist())))
    trunk = read[TRUNK].chunk(0)
    rows = Rows(
        torch.from_numpy(trunk.flatten().to_numpy().reshape(len(trunk), -1).copy()),
        torch.tensor([classes.index(name) for name in read["label"].to_pylist()]),
        [PurePosixPath(name).stem.split("-", 1)[1] for name in read["filename"].to_pylist()],
    )
    return rows, classes


def drawn(rows: Rows, seed: int, num_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Places to train on and places held out."""

    def at(name: object) -> bytes:
        return hashlib.sha256(f"{seed} {name}".encode()).digest()

    subjects = sorted(set(rows.subject), key=at)
    held = set(subjects[: round(HELD_OUT_SHARE * len(subjects))])
    held_out = np.array([place for place, name in enumerate(rows.subject) if name in held])
    others = sorted((place for place, name in enumerate(rows.subject) if name not in held), key=at)
    return np.array(sorted(others[: num_rows or None])), held_out


class Bench:
    """All runs, over one encoder and one set of text features."""

    def __init__(self, encoder: cd.Encoder, rows: Rows, classes: tuple[str, ...]) -> None:
        self.encoder, self.rows, self.classes = encoder, rows, classes
        self.prompts = class_prompts(classes, ["a photo of {}"])
        self.texts: Any = None

    def run(self, config: TrainConfig, size: int, seed: int) -> tuple[Rows, np.ndarray, np.ndarray, float]:
        """The held-out rows, which are right before and after, and the mean recall per class after."""
        train, held_out = (self.rows.at(places) for places in drawn(self.rows, seed, size))
        torch.manual_seed(config.seed)
        learner = Learner(self.encoder, config, len(train.subject))
        if self.texts is None:
            learner.forward.encode_once(self.prompts, Silent())
            self.texts = learner.forward.texts
        learner.forward.texts = self.texts
        before, _ = self.judged(learner, held_out)
        plan = Plan(len(train.subject), min(config.batch_size, len(train.subject)), config.seed)
        num_steps = config.num_steps(plan.num_batches)
        for step in range(num_steps):
            epoch, batch = divmod(step, plan.num_batches)
            places = plan.order(epoch).positions(*plan.bounds(batch))
            learner.step([self.batch(train.at(places))], rate_factor(step, num_steps, plan.num_batches, config))
        after, recall = self.judged(learner, held_out)
        return held_out, before, after, recall

    def batch(self, rows: Rows) -> dict[str, Any]:
        """As a stream would give them."""
        texts = [self.prompts[place] for place in rows.label_N.tolist()]
        return {TRUNK: rows.trunk_NW, PROMPT: texts, LABEL: rows.label_N}

    def judged(self, learner: Learner, rows: Rows) -> tuple[np.ndarray, float]:
        """Which rows are right among all classes, and the mean recall per class."""
        learner.training(False)
        with torch.no_grad():
            unit = torch.nn.functional.normalize
            image_BD = unit(learner.forward.towers.image_head(rows.trunk_NW), dim=-1)
            trunk_TW, _ = self.texts.of(self.prompts)
            class_CD = unit(learner.forward.towers.text_head(trunk_TW), dim=-1)
            right = ((image_BD @ class_CD.T).argmax(1) == rows.label_N).numpy()
            recall = classification(image_BD, class_CD, rows.label_N).mean_recall
        learner.training(True)
        return right, recall


def gain(before: np.ndarray, after: np.ndarray, subjects: list[str]) -> tuple[float, float]:
    """Mean paired difference, and its standard error with rows of one subject as one observation."""
    difference_N = after.astype(float) - before
    groups_N = np.unique(subjects, return_inverse=True)[1]
    sums_G = np.bincount(groups_N, difference_N - difference_N.mean())
    return float(difference_N.mean()), float(np.sqrt((sums_G**2).sum()) / len(difference_N))


def line(bench: Bench, name: str, config: TrainConfig, size: int, num_seeds: int) -> str:
    """One candidate at one size, over the seeds."""
    started_s, starts, afters, recalls, gains, below = time.monotonic(), [], [], [], [], 0
    for seed in range(num_seeds):
        held_out, before, after, recall = bench.run(replace(config, seed=seed), size, seed)
        mean, error = gain(before, after, held_out.subject)
        starts.append(100 * float(before.mean()))
        afters.append(100 * float(after.mean()))
        recalls.append(100 * recall)
        gains.append(100 * mean)
        below += mean + 1.96 * error < 0
    spread = statistics.stdev(afters) if num_seeds > 1 else 0.0
    return (
        f"{name:37} {size or 'all':>4} rows: {statistics.mean(starts):4.1f} → {statistics.mean(afters):4.1f} ± "
        f"{spread:3.1f} %, recall {statistics.mean(recalls):4.1f} %, least gain {min(gains):+5.1f}, below their start "
        f"{below}; {(time.monotonic() - started_s) / num_seeds:.1f} s a run"
    )


def main() -> None:
    """Print the table of candidates."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--work", type=Path, help="folder for the table, to use it again")
    words.add_argument("--sizes", type=int, nargs="+", default=[60, 300, 0])
    words.add_argument("--seeds", type=int, default=5)
    words.add_argument("--candidates", type=Path, help="JSON: name → fields of TrainConfig")
    given = words.parse_args()
    torch.set_num_threads(1)
    encoder = cd.load_encoder("starter", device="cpu")
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.work or Path(scratch)
        bench = Bench(encoder, *read_rows(folder, encoder))
        candidates = json.loads(given.candidates.read_text()) if given.candidates else CANDIDATES
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {' '.join(sys.argv)}", flush=True)
        for name, size in itertools.product(candidates, given.sizes):
            fields = {"image_trunk": TRUNK, "epochs": 5, **candidates[name]}
            if fields["objective"] == "class_prompts":
                fields["classes"] = list(bench.classes)
            print(line(bench, name, TrainConfig.from_json(fields), size, given.seeds), flush=True)


if __name__ == "__main__":
    main()
