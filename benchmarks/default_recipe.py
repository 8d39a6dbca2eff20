"""Which recipe should be the default? Candidates on cross-validated splits of the sample's training rows, by size.

    python benchmarks/default_recipe.py [--work DIR] [--sizes 60 300 1000 0] [--seeds 5] [--candidates FILE.json]
    python benchmarks/default_recipe.py --check

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
import hashlib
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import clipdata as cd
import ingest
from clipdata.encoder import Encoder
from clipdata.lance_io.table import Table
from clipdata.progress import Silent
from clipdata.stream.plan import Plan
from clipdata.training.config import TrainConfig
from clipdata.training.learner import Learner
from clipdata.training.losses import choice_logits
from clipdata.training.measures import right_answers
from clipdata.training.schedules import rate_factor
from clipdata.training.text_cache import TextFeatures
from pipelines import sample

TRUNK, CHOICES, LABEL = "image_trunk", "caption_choices", "label_ind"
HELD_OUT_SHARE = 0.2
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


@dataclass(frozen=True)
class Rows:
    """Rows in memory.

    Args:
        trunk_NW: float32, of the image trunk.
        choices: captions of each row.
        label_N: int64.
        picture: what each row's picture is known by.
        key: of each row.
    """

    trunk_NW: torch.Tensor
    choices: list[list[str]]
    label_N: torch.Tensor
    picture: list[str]
    key: list[str]

    def at(self, places: np.ndarray) -> Rows:
        """Some of the rows."""
        listed = places.tolist()
        return Rows(
            self.trunk_NW[listed],
            [self.choices[place] for place in listed],
            self.label_N[listed],
            [self.picture[place] for place in listed],
            [self.key[place] for place in listed],
        )

    def batch(self) -> dict[str, Any]:
        """As a stream would give them."""
        return {TRUNK: self.trunk_NW, CHOICES: self.choices, LABEL: self.label_N}


def make_table(folder: Path, encoder: Encoder) -> Table:
    """The sample's table with its trunk column, made once."""
    pictures = ingest.from_images(str(sample.images_path()), into=folder / "images.lance").table
    questions = ingest.from_parquet(str(sample.questions_path()), into=folder / "meta.lance").table
    table = ingest.merge(pictures, questions, on="filename", into=folder / "contest.lance")
    cd.map_column(table, cd.steps.LabelIndex("label", choices=CHOICES), LABEL)
    cd.map_column(table, cd.steps.ImageTrunk(encoder), TRUNK)
    return table


def read_rows(table: Table) -> Rows:
    """The training rows."""
    read = table.to_table([TRUNK, CHOICES, LABEL, "sha256", "id"], where="split = 'train'").combine_chunks()
    trunk = read[TRUNK].chunk(0)
    return Rows(
        torch.from_numpy(trunk.flatten().to_numpy().reshape(len(trunk), -1).copy()),
        read[CHOICES].to_pylist(),
        torch.tensor(read[LABEL].to_pylist()),
        read["sha256"].to_pylist(),
        read["id"].to_pylist(),
    )


def groups_of(rows: Rows) -> np.ndarray:
    """Number of the group of each row: rows of one picture or one right caption, directly or through others."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    for picture, choices, label in zip(rows.picture, rows.choices, rows.label_N.tolist(), strict=True):
        parent[root(f"picture {picture}")] = root(f"caption {choices[label]}")
    return np.unique([root(f"picture {picture}") for picture in rows.picture], return_inverse=True)[1]


def drawn(groups_N: np.ndarray, seed: int, num_rows: int, whole_groups: bool) -> tuple[np.ndarray, np.ndarray]:
    """Places to train on and places held out."""

    def at(group: int) -> float:
        return int.from_bytes(hashlib.sha256(f"{seed} {group}".encode()).digest()[:8], "big") / 2**64

    order = sorted(range(int(groups_N.max()) + 1), key=at)
    num_held_out = round(HELD_OUT_SHARE * len(order))
    held_out = np.flatnonzero(np.isin(groups_N, order[:num_held_out]))
    chosen: list[int] = []
    for group in order[num_held_out:]:
        chosen += np.flatnonzero(groups_N == group).tolist()
    if not whole_groups:
        chosen.sort(key=lambda place: at(-1 - place))
    return np.array(sorted(chosen[: num_rows or None])), held_out


def steps_of(config: TrainConfig, rows: Rows) -> Iterator[tuple[dict[str, Any], float]]:
    """Batches and rates of a whole run, in the order of a stream."""
    plan = Plan(len(rows.choices), min(config.batch_size, len(rows.choices)), config.seed)
    num_steps = config.num_steps(plan.num_batches)
    for step in range(num_steps):
        epoch, batch = divmod(step, plan.num_batches)
        if not batch:
            order = plan.order(epoch)
        yield (
            rows.at(order.positions(*plan.bounds(batch))).batch(),
            rate_factor(step, num_steps, plan.num_batches, config),
        )


class Bench:
    """All runs, over one encoder and one set of text features."""

    def __init__(self, encoder: Encoder, rows: Rows, whole_groups: bool) -> None:
        self.encoder, self.rows = encoder, rows
        self._groups_N, self._whole_groups = groups_of(rows), whole_groups
        self._texts: TextFeatures | None = None

    def drawn(self, size: int, seed: int) -> tuple[Rows, Rows]:
        """Rows to train on and rows held out."""
        train, held_out = drawn(self._groups_N, seed, size, self._whole_groups)
        return self.rows.at(train), self.rows.at(held_out)

    def run(self, config: TrainConfig, size: int, seed: int) -> tuple[list[float], np.ndarray, np.ndarray]:
        """Losses of the steps, and right answers of the held-out rows before and after."""
        train, held_out = self.drawn(size, seed)
        torch.manual_seed(config.seed)
        learner = Learner(self.encoder, config, len(train.choices))
        if self._texts is None:
            learner.forward.encode_once([text for row in self.rows.choices for text in row], Silent())
            self._texts = learner.forward.texts
        learner.forward.texts = self._texts
        before = self._right(learner, held_out)
        losses = [learner.step([batch], factor).loss for batch, factor in steps_of(config, train)]
        return losses, before, self._right(learner, held_out)

    def _right(self, learner: Learner, rows: Rows) -> np.ndarray:
        learner.training(False)
        with torch.no_grad():
            features, facts = learner.forward(rows.batch())
            logits_BN = choice_logits(
                features.image_BD,
                features.text_TD,
                features.logit_scale,
                text_index_K=facts.text_index_K,
                text_counts_B=facts.text_counts_B,
            )
            found = right_answers(logits_BN, facts.columns[LABEL]).numpy()
        learner.training(True)
        return found


def gain(before: np.ndarray, after: np.ndarray, pictures: list[str]) -> tuple[float, float]:
    """Mean paired difference, and its standard error with rows of one picture as one observation."""
    difference_N = after.astype(float) - before
    groups_N = np.unique(pictures, return_inverse=True)[1]
    sums_G = np.bincount(groups_N, difference_N - difference_N.mean())
    return float(difference_N.mean()), float(np.sqrt((sums_G**2).sum()) / len(difference_N))


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
    encoder = cd.load_encoder("starter", device="cpu")
    with tempfile.TemporaryDirectory() as scratch:
        table = make_table(given.work or Path(scratch), encoder)
        bench = Bench(encoder, read_rows(table), given.whole_groups)
        if given.check:
            check(bench, table, Path(scratch))
            return
        candidates = json.loads(given.candidates.read_text()) if given.candidates else CANDIDATES
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {' '.join(sys.argv)}", flush=True)
        for name, size in itertools.product(candidates, given.sizes):
            print(line(bench, name, config_of(candidates[name]), size, given.seeds), flush=True)


def line(bench: Bench, name: str, config: TrainConfig, size: int, num_seeds: int) -> str:
    """One candidate at one size, over the seeds."""
    started_s, afters, gains, below = time.monotonic(), [], [], 0
    for seed in range(num_seeds):
        _, before, after = bench.run(replace(config, seed=seed), size, seed)
        mean, error = gain(before, after, bench.drawn(size, seed)[1].picture)
        afters.append(100 * float(after.mean()))
        gains.append(100 * mean)
        below += mean + 1.96 * error < 0
    spread = statistics.stdev(afters) if num_seeds > 1 else 0.0
    return (
        f"{name:34} {size or 'all':>5} rows: {statistics.mean(afters):5.1f} ± {spread:3.1f} %, gain "
        f"{statistics.mean(gains):+5.1f}, least {min(gains):+5.1f}, below their start {below}; "
        f"{(time.monotonic() - started_s) / num_seeds:.1f} s a run"
    )


def check(bench: Bench, table: Table, folder: Path) -> None:
    """Train one case both ways, and compare."""
    config = config_of({"lr": 1e-3, "min_steps": 40, "pull": 6.0})
    losses, _, after = bench.run(config, 300, 0)
    train, held_out = bench.drawn(300, 0)
    wheres = [f"id in ({', '.join(map(repr, rows.key))})" for rows in (train, held_out)]
    run = cd.train(table, bench.encoder, replace(config, evaluate_where=wheres[1]), out=folder / "run", where=wheres[0])
    worst = max(abs(line["loss"] - loss) for line, loss in zip(run.metrics, losses, strict=True))
    print(f"{len(losses)} steps; largest difference of a loss: {worst:.2g}")
    print(f"held-out accuracy: {after.mean():.4f} here, {run.epochs[-1]['accuracy']:.4f} by clipdata.train")


if __name__ == "__main__":
    main()
