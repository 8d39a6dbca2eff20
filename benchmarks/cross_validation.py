"""Held-out accuracy of configs on cross-validated splits of a task's training rows, over features that are read once.

    task = Task(…)                                   rows in memory, and a question about each
    bench = Bench(encoder, task)
    outcome = bench.run(config, size=60, seed=0)     which held-out rows are right before training, and after it
    print(Outcomes("a recipe", 60, [outcome, …]))

For each seed a fifth of the task's units (pictures of one subject, say) is held out, so that none is on both sides; of
the other rows the wanted number is drawn. Runs take the product's own learner, loss, order, rate and steps.
"""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

import clipdata as cd
from clipdata.encoder import Encoder
from clipdata.progress import Silent
from clipdata.stream.columns import distinct_texts
from clipdata.stream.plan import Plan
from clipdata.training.config import TrainConfig
from clipdata.training.evaluation import figures_of
from clipdata.training.learner import Learner
from clipdata.training.measures import right_answers
from clipdata.training.recipe_choice import Facts
from clipdata.training.recipe_facts import MEASURED, Answers, towers_of
from clipdata.training.schedules import rate_factor
from clipdata.training.text_cache import TextFeatures, encode_once

TRUNK = "image_trunk"
HELD_OUT_SHARE = 0.2
DRAWN_CHOICES = 5
SURE = 1.96
"""Standard errors on either side of a mean that 95 % lie between."""


@dataclass(frozen=True)
class Task:
    """Rows in memory, what a training reads of them, and a question about each.

    Args:
        name: in words.
        trunk_NW: float32, of the image trunk.
        columns: what the objective reads beside, as a stream would give it: lists, or tensors of N.
        unit: of each row; none is on both sides.
        picture: what each row's picture is known by; rows of one are one observation.
        row: what each row is drawn by.
        choices: texts of each row's question; None draws them among the texts of other held-out rows.
        answer: place of the right one; or where choices are drawn, the right text.
        objective: its fields.
        key: of each row in its table.
        classes: to choose from, where there are some.
    """

    name: str
    trunk_NW: torch.Tensor
    columns: Mapping[str, Any]
    unit: Sequence[object]
    picture: Sequence[str]
    row: Sequence[object]
    choices: Sequence[Sequence[str]] | None
    answer: Sequence[Any]
    objective: Mapping[str, Any]
    key: Sequence[str] = ()
    classes: Sequence[str] = ()

    def batch(self, places: Sequence[int]) -> dict[str, Any]:
        """Some of the rows, as a stream would give them."""
        found = {TRUNK: self.trunk_NW[list(places)]}
        for name, values in self.columns.items():
            some = [values[place] for place in places]
            found[name] = torch.stack(some) if isinstance(values, torch.Tensor) else some
        return found

    def at(self, places: Sequence[int]) -> Task:
        """The same task with some of the rows."""

        def some(values: Any) -> Any:
            return values[list(places)] if isinstance(values, torch.Tensor) else [values[place] for place in places]

        return replace(
            self,
            trunk_NW=some(self.trunk_NW),
            columns={name: some(values) for name, values in self.columns.items()},
            choices=some(self.choices) if self.choices is not None else None,
            **{name: some(getattr(self, name)) for name in ("unit", "picture", "row", "answer")},
            key=some(self.key) if self.key else (),
        )

    def texts(self) -> list[str]:
        """All that any row may be read or asked with."""
        read = [values for values in self.columns.values() if not isinstance(values, torch.Tensor)]
        flat = [text for values in read for one in values for text in ([one] if isinstance(one, str) else one)]
        asked = [text for row in self.choices for text in row] if self.choices is not None else list(self.answer)
        return sorted({*flat, *asked})

    def questions(self, places: Sequence[int], seed: int) -> tuple[list[list[str]], torch.Tensor]:
        """Texts to choose from for some rows, and the place of the right one, int64 [n]."""
        if self.choices is not None:
            return [list(self.choices[place]) for place in places], torch.tensor([self.answer[one] for one in places])
        names = sorted({self.answer[place] for place in places})
        draw = np.random.default_rng(seed)
        asked, answers = [], []
        for place in places:
            right = self.answer[place]
            others = [names[at] for at in draw.permutation(len(names)).tolist() if names[at] != right]
            asked.append(sorted([right, *others[: DRAWN_CHOICES - 1]]))
            answers.append(asked[-1].index(right))
        return asked, torch.tensor(answers)

    def drawn(self, seed: int, num_rows: int, *, whole_units: bool = False) -> tuple[list[int], list[int]]:
        """Places to train on and places held out.

        Args:
            num_rows: to train on; 0 for all.
            whole_units: take all rows of a few units instead of single rows.
        """

        def at(name: object) -> bytes:
            return hashlib.sha256(f"{seed} {name}".encode()).digest()

        units = sorted(set(self.unit), key=at)
        held = set(units[: round(HELD_OUT_SHARE * len(units))])
        rank = {unit: number for number, unit in enumerate(units)}
        held_out = [place for place, unit in enumerate(self.unit) if unit in held]
        others = [place for place, unit in enumerate(self.unit) if unit not in held]
        others.sort(key=(lambda place: rank[self.unit[place]]) if whole_units else (lambda place: at(self.row[place])))
        return sorted(others[: num_rows or None]), held_out


@dataclass(frozen=True)
class Outcome:
    """What a training did to held-out rows.

    Args:
        before_N, after_N: which are right.
        picture: of each row.
        losses: of the steps.
        seconds: of one core, that the steps took.
    """

    before_N: np.ndarray
    after_N: np.ndarray
    picture: Sequence[str]
    losses: Sequence[float]
    seconds: float

    @property
    def gain(self) -> float:
        """Mean paired difference."""
        return float(self.after_N.mean() - self.before_N.mean())

    @property
    def error(self) -> float:
        """Standard error of the gain, with rows of one picture as one observation."""
        return clustered_error(self.after_N.astype(float) - self.before_N, self.picture)


def clustered_error(difference_N: np.ndarray, picture: Sequence[str]) -> float:
    """Standard error of a mean of rows of which those of one picture go together."""
    groups_N = np.unique(picture, return_inverse=True)[1]
    sums_G = np.bincount(groups_N, difference_N - difference_N.mean())
    return float(np.sqrt((sums_G**2).sum()) / len(difference_N))


@dataclass(frozen=True)
class Outcomes:
    """One config at one size, over seeds."""

    name: str
    size: int
    found: Sequence[Outcome]

    @property
    def start(self) -> float:
        """Mean accuracy before training, in percent."""
        return 100 * statistics.mean(float(one.before_N.mean()) for one in self.found)

    @property
    def end(self) -> float:
        """Mean accuracy after it, in percent."""
        return 100 * statistics.mean(float(one.after_N.mean()) for one in self.found)

    @property
    def spread(self) -> float:
        """Standard deviation of the latter over seeds."""
        ends = [100 * float(one.after_N.mean()) for one in self.found]
        return statistics.stdev(ends) if len(ends) > 1 else 0.0

    @property
    def below(self) -> int:
        """How many seeds ended below their start by more than the 95 % interval."""
        return sum(one.gain + SURE * one.error < 0 for one in self.found)

    def __str__(self) -> str:
        least = 100 * min(one.gain for one in self.found)
        seconds = statistics.mean(one.seconds for one in self.found)
        return (
            f"{self.name:37} {self.size or 'all':>5} rows: {self.start:5.1f} → {self.end:5.1f} ± {self.spread:3.1f} %, "
            f"gain {self.end - self.start:+5.1f}, least {least:+5.1f}, below their start {self.below}; "
            f"{seconds:.1f} s of a core a run"
        )


class Bench:
    """Runs of one task, over one encoder and one set of text features."""

    def __init__(self, encoder: Encoder, task: Task, *, whole_units: bool = False) -> None:
        self.encoder, self.task, self.whole_units = encoder, task, whole_units
        self._texts: TextFeatures | None = None

    def drawn(self, size: int, seed: int) -> tuple[list[int], list[int]]:
        """Places to train on and places held out."""
        return self.task.drawn(seed, size, whole_units=self.whole_units)

    def run(self, config: TrainConfig, size: int, seed: int) -> Outcome:
        """Train on so many rows, and ask about the held-out ones before and after."""
        train, held_out = self.drawn(size, seed)
        torch.manual_seed(config.seed)
        learner = Learner(self.encoder, config, len(train))
        if not learner.forward.text_trunk_trains:
            learner.forward.texts = self._text_features(learner)
        questions = self.task.questions(held_out, seed)
        before = self._right(learner, held_out, questions)
        started_s = time.process_time()
        losses = [learner.step([batch], factor).loss for batch, factor in self._steps(learner, config, train)]
        seconds = time.process_time() - started_s
        after = self._right(learner, held_out, questions)
        return Outcome(before, after, [self.task.picture[place] for place in held_out], losses, seconds)

    def right_before(self) -> np.ndarray:
        """Which of all rows are right before training."""
        places = list(range(len(self.task.unit)))
        learner = Learner(self.encoder, TrainConfig(image_trunk=TRUNK), len(places))
        learner.forward.texts = self._text_features(learner)
        return self._right(learner, places, self.task.questions(places, 0))

    def facts(self, size: int, seed: int) -> Facts:
        """What `auto` goes by, as `clipdata.choose_recipe` gathers it of a table."""
        places, _ = self.drawn(size, seed)
        objective = TrainConfig.from_json(self.task.objective).objective
        config = TrainConfig(objective=objective, image_trunk=TRUNK)
        learner = Learner(self.encoder, config, len(places))
        learner.forward.texts = self._text_features(learner)
        learner.training(False)
        batch = self.task.batch(np.random.default_rng(seed).permutation(places)[:MEASURED].tolist())
        found = figures_of([batch], partial(learner.forward, every_text=True), objective)
        answers = Answers.of(found, objective)
        pictures = len({self.task.picture[place] for place in places})
        return Facts(len(places), pictures, reads=answers.reads, skill=answers.skill, **towers_of(self.encoder))

    def _text_features(self, learner: Learner) -> TextFeatures:
        if self._texts is None:
            self._texts = encode_once(self.task.texts(), self.encoder, learner.forward.towers, Silent())
        return self._texts

    def _steps(
        self, learner: Learner, config: TrainConfig, places: Sequence[int]
    ) -> Iterator[tuple[dict[str, Any], float]]:
        """Batches and rates of a whole run, in the order of a stream."""
        plan = Plan(len(places), min(config.batch_size, len(places)), config.seed)
        num_steps = config.num_steps(plan.num_batches)
        for step in range(num_steps):
            epoch, number = divmod(step, plan.num_batches)
            if not number:
                order = plan.order(epoch)
            batch = self.task.batch([places[at] for at in order.positions(*plan.bounds(number)).tolist()])
            column = config.objective.texts
            if column is not None and learner.forward.texts is None:
                batch |= self._tokens(batch[column])
            yield batch, rate_factor(step, num_steps, plan.num_batches, config)

    def _tokens(self, texts: Sequence[Any]) -> dict[str, torch.Tensor]:
        rows = [[one] if isinstance(one, str) else one for one in texts]
        distinct, index_K, counts_B = distinct_texts(rows)
        return {"tokens": self.encoder.tokenize(distinct), "text_index": index_K, "text_counts": counts_B}

    def _right(
        self, learner: Learner, places: Sequence[int], questions: tuple[list[list[str]], torch.Tensor]
    ) -> np.ndarray:
        choices, answer_N = questions
        texts = sorted({text for row in choices for text in row})
        place_of = {text: place for place, text in enumerate(texts)}
        most, unit, towers = max(map(len, choices)), torch.nn.functional.normalize, learner.forward.towers
        learner.training(False)
        with torch.no_grad():
            image_ND = unit(towers.image_head(self.task.trunk_NW[list(places)]), dim=-1)
            if learner.forward.texts is not None:
                trunk_TW, _ = learner.forward.texts.of(texts)
            else:
                trunk_TW = encode_once(texts, self.encoder, towers, Silent()).of(texts)[0]
            text_TD = unit(towers.text_head(trunk_TW), dim=-1)
            index_NC = torch.tensor([[place_of[text] for text in row] + [-1] * (most - len(row)) for row in choices])
            scores_NC = torch.einsum("nd,ncd->nc", image_ND, text_TD[index_NC])
            found = right_answers(scores_NC.masked_fill(index_NC < 0, -torch.inf), answer_N)
        learner.training(True)
        return found.numpy()


def over_seeds(bench: Bench, name: str, config: TrainConfig, size: int, num_seeds: int) -> Outcomes:
    """One config at one size, over the seeds 0, 1, …"""
    return Outcomes(name, size, [bench.run(replace(config, seed=seed), size, seed) for seed in range(num_seeds)])


def trunk_of(column: Any) -> torch.Tensor:
    """The rows of a trunk column, float32 [N, W]."""
    chunk = column.chunk(0)
    return torch.from_numpy(chunk.flatten().to_numpy().reshape(len(chunk), -1).copy())


def starter() -> Encoder:
    """The model of all these figures."""
    return cd.load_encoder("starter", device="cpu")
