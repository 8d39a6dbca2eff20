"""Proof: what the same recipe makes of all rows and of those that are kept, as a value and as text. Trains nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from clipdata.comparison.seeds import SeedComparison
from clipdata.comparison.wording import aligned
from clipdata.curation.arms import ALL, KEPT, RANDOM
from clipdata.plurals import counted
from clipdata.printable import printable

_TOLD = {ALL: "all rows", KEPT: "kept", RANDOM: "as many at random"}


@dataclass(frozen=True)
class TrainedArm:
    """What one side trained on.

    Args:
        name: "all", "kept" or "random".
        rows: trained on in each run.
        steps: of each run.
        runs: their folders, one a seed.
    """

    name: str
    rows: int
    steps: int
    runs: tuple[str, ...]


@dataclass(frozen=True)
class Proof:
    """How a model does that was trained on the rows kept, beside one that was trained on all of them.

    Args:
        table: location.
        version: of the table, the same for all trainings.
        where: condition of the rows to choose from.
        kept: condition of the rows that are kept.
        held_out: condition of the rows that all models are measured on.
        objective: kind of what they trained for.
        seeds: of the trainings of each side.
        arms: the sides.
        figure: the one that the verdict is about.
        start: figure → what the model had before any training.
        against_all: figure → kept rows against all rows, over seeds and pictures.
        against_random: figure → kept rows against as many at random; empty without that side.
        overlap: what the held-out rows share with the rows to choose from, or with rows of an earlier training of the
            model, in words: pictures, look-alikes, captions; "" for nothing.
    """

    table: str
    version: int
    where: str | None
    kept: str
    held_out: str
    objective: str
    seeds: tuple[int, ...]
    arms: tuple[TrainedArm, ...]
    figure: str
    start: Mapping[str, float]
    against_all: Mapping[str, SeedComparison]
    against_random: Mapping[str, SeedComparison]
    overlap: str = ""

    @property
    def verdict(self) -> str:
        """Whether the rows kept are the better ones to train on, by `figure`."""
        return self.against_all[self.figure].verdict

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        sides = {"against_all": self.against_all, "against_random": self.against_random}
        found = {side: {name: one.to_dict() for name, one in by.items()} for side, by in sides.items()}
        arms = [asdict(arm) | {"runs": list(arm.runs)} for arm in self.arms]
        plain = {name: getattr(self, name) for name in ("table", "version", "where", "kept", "held_out", "objective")}
        told = {"figure": self.figure, "verdict": self.verdict, "start": dict(self.start), "overlap": self.overlap}
        return {**plain, "seeds": list(self.seeds), "arms": arms, **told, **found}

    def __str__(self) -> str:
        judged = self.against_all[self.figure]
        pictures = f" of {counted(judged.num_clusters, 'picture')}" if judged.num_clusters < judged.num_rows else ""
        head = [
            f"prove: {self.table} version {self.version}, {self.objective}, seeds {_listed(self.seeds)}",
            f"  measured on {judged.num_rows:,} held-out rows{pictures} where {self.held_out}",
        ]
        head += [f"  {_TOLD[arm.name]}: {arm.rows:,} rows, {arm.steps:,} steps" for arm in self.arms]
        head += [f"  {self.overlap}"] if self.overlap else []
        over = [f"  the intervals are over {judged.over}: {_ONE_OF[judged.over]}"] if judged.over in _ONE_OF else []
        last = f"{_SAID[self.verdict]} (by {_words(self.figure)})"
        return "\n".join(map(printable, [*head, "", *self._lines(), *over, "", last]))

    def _lines(self) -> list[str]:
        """Every figure of every side, and then how far the rows kept differ from the others."""
        means = [["", "start", *(_TOLD[arm.name] for arm in self.arms)]]
        for name, against in self.against_all.items():
            random = [self.against_random[name].before] if self.against_random else []
            figures = [self.start[name], against.before, against.after, *random]
            means.append([_words(name), *(f"{figure:.3f}" for figure in figures)])
        changes = [["", "change", "95 % interval", ""]]
        for other, found in ((ALL, self.against_all), (RANDOM, self.against_random)):
            changes += [[f"{_words(name)}, kept - {other}", *_change(one)] for name, one in found.items()]
        return [*aligned(means), "", *aligned(changes)]


def _change(found: SeedComparison) -> list[str]:
    said = f"{found.low:+.3f} … {found.high:+.3f}" if found.low is not None and found.high is not None else "none"
    return [f"{found.difference:+.3f}", said, found.verdict]


_ONE_OF = {
    "pictures only": "one seed tells nothing of how trainings differ from one another",
    "seeds only": "one picture tells nothing of how pictures differ from one another",
}
_SAID = {
    "better": "the rows kept make the better model",
    "worse": "the rows kept make the worse model",
    "unclear": "no difference can be told between the rows kept and all rows",
    "too few to say": "too few held-out rows or seeds to say",
}


def _words(name: str) -> str:
    return name.replace("_", " ")


def _listed(seeds: tuple[int, ...]) -> str:
    return ", ".join(map(str, seeds))
