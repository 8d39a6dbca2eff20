"""Is `auto` ever below its start? Three tasks of the built-in sample, by size, beside the plain recipe.

    python -m benchmarks.auto_recipe [--work DIR] [--tasks captions …] [--sizes 60 300 1000 0] [--seeds 5]
                                     [--recipes auto plain] [--hard NAME …] [--results FILE]

    captions   which of five captions is right? (questions; no picture and no right caption is on both sides)
    classes    which of 33 classes is it? (pictures; no subject is on both sides)
    names      which of five Chinese names is it? The starter's text tower reads English alone
    unread     the same with a text tower that has met no text: a small BERT over characters, as of `run locked-image`

All rows are training rows of the sample, split anew for each seed; test rows are never read. Before each training
`auto` is chosen by the same facts as in `clipdata.choose_recipe`; the model's answers to the rows to train on are one.
The plain recipe is what most scripts do: AdamW at 2e-4 for five epochs, weight decay 0.1.

--hard makes the captions like other people's: `noise` gives a fifth of the rows to train on a wrong label, `two` leaves
two choices, `easy` the right caption and four that share no word of four letters or more with it or each other and are
the least like it of a hundred by the model's own text tower, `known` keeps questions of which the model answers 95 %
right before training, `long` puts 24 words before each caption, so that its end is cut, `alike` puts twelve, `scale`
begins at a logit scale of 100, `units` draws few captions with all of their pictures.

What is done is kept in --results, a line a run, and not done again. Printed for each task, size and recipe: the mean
over seeds before and after, the least gain, and how many seeds ended below their start by more than the 95 % interval
of the paired difference (clustered by picture).
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.class_recipe import classes_task
from benchmarks.cross_validation import TRUNK, Bench, Outcome, Outcomes, Task, starter
from benchmarks.default_recipe import CHOICES, LABEL, captions_task, make_table
from benchmarks.sample_names import Drawings, unread_model
from clipdata.training import recipes
from clipdata.training.config import TrainConfig

PLAIN = {"lr": 2e-4, "epochs": 5, "weight_decay": 0.1}
KNOWN_SHARE = 0.95
WRONG_SHARE = 0.2
EASY_CHOICES, DRAWN_FROM = 5, 100


def benches(folder: Path, names: list[str]) -> Iterator[Bench]:
    """The tasks by name, each made once it is wanted."""
    encoder = starter()
    table = make_table(folder, encoder)
    drawings = Drawings(table)
    for name in names:
        if name == "captions":
            yield Bench(encoder, captions_task(table))
        elif name == "classes":
            yield Bench(encoder, classes_task(drawings.trunk_NW, drawings.classes, drawings.filenames))
        else:
            task = drawings.named(name)
            yield Bench(unread_model(task.texts(), folder) if name == "unread" else encoder, task)


def noisy(bench: Bench) -> Bench:
    """A fifth of the labels to train on are wrong; held-out rows are judged by the right ones."""
    draw = np.random.default_rng(0)
    task = bench.task
    labels = task.columns[LABEL].clone()
    for place in np.flatnonzero(draw.random(len(labels)) < WRONG_SHARE).tolist():
        labels[place] = (labels[place] + 1 + int(draw.integers(4))) % len(task.columns[CHOICES][place])
    return Bench(bench.encoder, replace(task, columns={**task.columns, LABEL: labels}))


def of_two(bench: Bench) -> Bench:
    """The right caption and one other."""
    task, draw = bench.task, np.random.default_rng(0)
    choices, labels = [], []
    for row, right in zip(task.columns[CHOICES], task.answer, strict=True):
        other = row[(right + 1 + int(draw.integers(len(row) - 1))) % len(row)]
        labels.append(int(draw.integers(2)))
        choices.append([row[right], other] if labels[-1] == 0 else [other, row[right]])
    return Bench(bench.encoder, _asking(task, choices, labels))


def easy(bench: Bench) -> Bench:
    """The right caption among four that are about something else."""
    task, draw = bench.task, np.random.default_rng(0)
    right = [row[label] for row, label in zip(task.columns[CHOICES], task.answer, strict=True)]
    texts = sorted(set(right))
    place_of = {text: place for place, text in enumerate(texts)}
    text_TD = bench.encoder.encode_texts(texts).numpy()
    choices, labels = [], []
    for text in right:
        some = draw.permutation(len(texts))[:DRAWN_FROM]
        by_likeness = some[np.argsort(text_TD[some] @ text_TD[place_of[text]])]
        row = [text]
        for other in (texts[place] for place in by_likeness.tolist()):
            if len(row) < EASY_CHOICES and not any(_words(other) & _words(taken) for taken in row):
                row.append(other)
        order = draw.permutation(len(row)).tolist()
        choices.append([row[place] for place in order])
        labels.append(order.index(0))
    return Bench(bench.encoder, _asking(task, choices, labels))


def _words(text: str) -> set[str]:
    return {word for word in re.findall(r"\w+", text.lower()) if len(word) >= 4}


def known(bench: Bench) -> Bench:
    """Questions of which nearly all are answered right before training."""
    right_N, draw = bench.right_before(), np.random.default_rng(0)
    num_wrong = round(right_N.sum() * (1 - KNOWN_SHARE) / KNOWN_SHARE)
    wrong = draw.choice(np.flatnonzero(~right_N), num_wrong, replace=False)
    return Bench(bench.encoder, bench.task.at(sorted([*np.flatnonzero(right_N).tolist(), *wrong.tolist()])))


def prefixed(num_words: int) -> Callable[[Bench], Bench]:
    """As many equal words before each caption."""

    def change(bench: Bench) -> Bench:
        before = " ".join(["indeed"] * num_words)
        choices = [[f"{before} {text}" for text in row] for row in bench.task.columns[CHOICES]]
        return Bench(bench.encoder, _asking(bench.task, choices, list(bench.task.answer)))

    return change


def _asking(task: Task, choices: list[list[str]], labels: list[int]) -> Task:
    columns = {CHOICES: choices, LABEL: torch.tensor(labels)}
    return replace(task, columns=columns, choices=choices, answer=labels)


HARD: Mapping[str, Callable[[Bench], Bench]] = {
    "noise": noisy,
    "two": of_two,
    "easy": easy,
    "known": known,
    "long": prefixed(24),
    "alike": prefixed(12),
    "scale": lambda bench: bench,
    "units": lambda bench: Bench(bench.encoder, bench.task, whole_units=True),
}


def config_of(recipe: str, bench: Bench, size: int, seed: int, **fields: Any) -> TrainConfig:
    """A recipe for some rows of a task; `auto` is told the facts of these."""
    fields |= {**bench.task.objective, "image_trunk": TRUNK, "seed": seed}
    if recipe == "plain":
        return TrainConfig.from_json({**PLAIN, **fields})
    facts = bench.facts(size, seed)
    return recipes.auto(facts, **fields)


class Kept:
    """Outcomes in a file, a line each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self._found = {line["key"]: line for line in map(json.loads, lines)}

    def get(self, key: str, run: Callable[[], tuple[TrainConfig, Outcome]]) -> tuple[str, Outcome]:
        """What made the model, and its outcome; run where it was not."""
        if key not in self._found:
            config, outcome = run()
            line = {
                "key": key,
                "recipe": config.recipe,
                "before": outcome.before_N.astype(int).tolist(),
                "after": outcome.after_N.astype(int).tolist(),
                "picture": np.unique(outcome.picture, return_inverse=True)[1].tolist(),
                "seconds": outcome.seconds,
            }
            with self._path.open("a") as file:
                file.write(json.dumps(line) + "\n")
            self._found[key] = line
        line = self._found[key]
        right = (np.array(line[name], bool) for name in ("before", "after"))
        return line["recipe"] or "", Outcome(*right, line["picture"], [], line["seconds"])


def main() -> None:
    """Print the table."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--work", type=Path, help="folder for the tables, to use them again")
    words.add_argument("--tasks", nargs="+", default=["captions", "classes", "names", "unread"])
    words.add_argument("--sizes", type=int, nargs="+", default=[60, 300, 1000, 0])
    words.add_argument("--seeds", type=int, default=5)
    words.add_argument("--recipes", nargs="+", default=["auto", "plain"], choices=["auto", "plain"])
    words.add_argument("--hard", nargs="+", default=[], choices=list(HARD))
    words.add_argument("--threads", type=int, default=1)
    words.add_argument("--results", type=Path, help="file of the runs that are done")
    given = words.parse_args()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as scratch:
        kept = Kept(given.results or Path(scratch) / "results.jsonl")
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {' '.join(sys.argv)}", flush=True)
        made = [
            (hard, HARD[hard](bench) if hard else bench)
            for bench in benches(given.work or Path(scratch), given.tasks)
            for hard in given.hard or [""]
        ]
        for size, recipe, (hard, bench) in itertools.product(given.sizes, given.recipes, made):
            print(_line(kept, bench, hard, size, recipe, given.seeds), flush=True)


def _line(kept: Kept, bench: Bench, hard: str, size: int, recipe: str, num_seeds: int) -> str:
    """One recipe at one size, over the seeds."""
    fields = {"init_logit_scale": 100.0} if hard == "scale" else {}
    name = f"{bench.task.name}{' ' + hard if hard else ''}, {recipe}"
    made, found = set(), []
    for seed in range(num_seeds):

        def run(seed: int = seed) -> tuple[TrainConfig, Outcome]:
            config = config_of(recipe, bench, size, seed, **fields)
            return config, bench.run(config, size, seed)

        by, outcome = kept.get(f"{name} {size} {seed}", run)
        made.add(by)
        found.append(outcome)
    return f"{Outcomes(name, size, found)} {', '.join(sorted(made))}"


if __name__ == "__main__":
    main()
