"""Ranking: which recipe is best on held-out rows, and which are not told apart: a value, its text, its notebook view.

It knows figures and names, and trains and measures nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clipdata.comparison.standings import Difference, Standing
from clipdata.comparison.wording import aligned
from clipdata.notebook import html_table
from clipdata.plurals import counted
from clipdata.printable import printable

_CANNOT_TELL = {
    "pictures only": "the intervals are over pictures only: one seed tells nothing of how trainings differ from one "
    "another; --seeds 0,1,2",
    "seeds only": "the intervals are over seeds only: one picture tells nothing of how others differ from it",
    "nothing": "one seed and one picture tell nothing: there is no interval",
}


@dataclass(frozen=True)
class RankedRecipe:
    """One recipe of a ranking.

    Args:
        standing: its mean over seeds, and what it is told apart from.
        figures: mean over seeds of everything that was measured.
        seeds: of its runs.
        runs: their folders.
        rows: trained on in each.
        steps: of each.
        seconds: of the steps of a run, mean over runs; None where no record tells.
        steps_s: steps a second.
    """

    standing: Standing
    figures: Mapping[str, float]
    seeds: tuple[int, ...]
    runs: tuple[str, ...]
    rows: int
    steps: int
    seconds: float | None
    steps_s: float | None

    @property
    def name(self) -> str:
        """Of the recipe."""
        return self.standing.name

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        one = self.standing
        differences = {"to_best": one.to_best, "to_start": one.to_start}
        return {
            "name": one.name,
            "mean": one.mean,
            "spread": one.spread,
            "by_seed": list(one.by_seed),
            "letters": one.letters,
            **{name: None if found is None else difference_to_dict(found) for name, found in differences.items()},
            "figures": dict(self.figures),
            "seeds": list(self.seeds),
            "runs": list(self.runs),
            **{name: getattr(self, name) for name in ("rows", "steps", "seconds", "steps_s")},
        }


@dataclass(frozen=True)
class Ranking:
    """Recipes on the same held-out rows, best first.

    Args:
        table: location of the rows that they are measured on.
        version: of that table.
        where: condition of these rows.
        objective: kind of what is measured.
        figure: that the order goes by.
        rows: measured.
        pictures: that these rows show.
        start: figures of the model before training; empty where it cannot be loaded, or recipes began with others.
        recipes: best first.
        pairs: every recipe less every one that stands before it.
        left_out: folder → why its run is not in it.
        notes: what a reader must know before believing the order.
    """

    table: str
    version: int
    where: str
    objective: str
    figure: str
    rows: int
    pictures: int
    start: Mapping[str, float]
    recipes: tuple[RankedRecipe, ...]
    pairs: tuple[Difference, ...]
    left_out: Mapping[str, str]
    notes: tuple[str, ...]

    @property
    def best(self) -> RankedRecipe:
        """The recipe with the highest mean, which others may not be told apart from."""
        return self.recipes[0]

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        plain = asdict_of(self, ("table", "version", "where", "objective", "figure", "rows", "pictures"))
        return {
            **plain,
            "start": dict(self.start),
            "recipes": [one.to_dict() for one in self.recipes],
            "pairs": [difference_to_dict(one) for one in self.pairs],
            "left_out": dict(self.left_out),
            "notes": list(self.notes),
        }

    def to_json(self, *, indent: int | None = None) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False, allow_nan=False)

    def __str__(self) -> str:
        pictures = f" of {counted(self.pictures, 'picture')}" if self.pictures < self.rows else ""
        head = [
            f"{len(self.recipes)} recipe{'s'[: len(self.recipes) > 1]} by {_words(self.figure)}: {self.table} version "
            f"{self.version}, {self.objective}",
            f"  measured on {self.rows:,} held-out rows{pictures} where {self.where}",
        ]
        blocks = [head, aligned(self._lines()), aligned(self._costs())]
        if self.pairs:
            blocks.append(aligned([_PAIR_HEAD, *(_pair(one) for one in self.pairs)]))
        blocks.append([f"  {line}" for line in self._explained()])
        blocks.append([f"  note: {note}" for note in self._said()])
        return "\n\n".join("\n".join(map(printable, block)) for block in blocks if block)

    def _repr_html_(self) -> str:
        title = (
            f"{len(self.recipes)} recipes by {_words(self.figure)} on {self.rows:,} held-out rows where {self.where}"
        )
        told = [
            (self._lines(), title),
            (self._costs(), "what they took"),
            ([_PAIR_HEAD, *map(_pair, self.pairs)], "pairs"),
        ]
        notes = [{"note": note} for note in [*self._explained(), *self._said()]]
        return "".join(_html(*one) for one in told if len(one[0]) > 1) + (html_table(notes) if notes else "")

    def _lines(self) -> list[list[str]]:
        """A line a recipe, and one of the model before training."""
        several = len(self.recipes) > 1
        letters = ["alike"] if several else []
        lines = [["", _words(self.figure), "± seeds", "seeds", *letters, "to before", "95 % interval", ""]]
        for one in self.recipes:
            found = one.standing
            spread = "" if found.spread is None else f"± {found.spread:.3f}"
            line = [found.name, f"{found.mean:.3f}", spread, str(len(one.seeds)), *([found.letters] if several else [])]
            lines.append([*line, *_change(found.to_start), "" if found.to_start is None else found.to_start.verdict])
        if self.start:
            lines.append([_BEFORE, f"{self.start[self.figure]:.3f}", *[""] * (len(lines[0]) - 2)])
        return lines

    def _costs(self) -> list[list[str]]:
        """What else was measured of each recipe, and what its runs took."""
        others = [name for name in self.recipes[0].figures if name != self.figure]
        lines = [["", *map(_words, others), "rows", "steps", "s a run", "steps/s"]]
        for one in self.recipes:
            figures = [f"{one.figures[name]:.3f}" if name in one.figures else "" for name in others]
            cost = [f"{one.rows:,}", f"{one.steps:,}", _number(one.seconds), _number(one.steps_s)]
            lines.append([one.name, *figures, *cost])
        if self.start and others:
            lines.append([_BEFORE, *(f"{self.start[name]:.3f}" for name in others), *[""] * 4])
        return lines

    def _explained(self) -> list[str]:
        """What the table's words mean, and what is concluded."""
        said = []
        if len(self.recipes) > 1:
            num = len(self.pairs)
            said.append(f"recipes that share a letter are not told apart (Holm over {num} pair{'s'[: num > 1]})")
            alike = [
                one.name for one in self.recipes[1:] if set(one.standing.letters) & set(self.best.standing.letters)
            ]
            said.append(
                f"{self.best.name} is the best of them"
                if not alike
                else f"{self.best.name} is ahead, and not told apart from {', '.join(alike)}"
            )
        return said

    def _said(self) -> list[str]:
        over = dict.fromkeys(
            one.found.over
            for recipe in self.recipes
            for one in (recipe.standing.to_best, recipe.standing.to_start)
            if one is not None
        )
        left_out = [f"not in it: {path}, {why}" for path, why in self.left_out.items()]
        return [*(_CANNOT_TELL[kind] for kind in over if kind in _CANNOT_TELL), *self.notes, *left_out]


_BEFORE = "before training"
_PAIR_HEAD = ["pairs", "change", "95 % interval", "", "Holm"]


def difference_to_dict(one: Difference) -> dict[str, Any]:
    """JSON values of a difference."""
    found = one.found
    measured = asdict_of(found, ("difference", "low", "high", "standard_error", "over"))
    return {"of": one.of, "than": one.than, **measured, "p_value": one.p_value, "verdict": one.verdict}


def asdict_of(record: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """Some fields of a record by name."""
    return {name: getattr(record, name) for name in names}


def _html(lines: list[list[str]], title: str) -> str:
    """Lines of which the first names the columns; two columns of one name are one to a notebook."""
    names = [name or " " * place for place, name in enumerate(lines[0])]
    return html_table([dict(zip(names, line, strict=True)) for line in lines[1:]], title=title)


def _pair(one: Difference) -> list[str]:
    p_value = "" if one.p_value is None else "<0.001" if one.p_value < 0.001 else f"{one.p_value:.3f}"
    verdict = one.verdict if one.verdict != "unclear" else "not told apart"
    return [f"{one.of} - {one.than}", *_change(one), verdict, p_value]


def _change(one: Difference | None) -> list[str]:
    """A difference and its interval."""
    if one is None:
        return ["", ""]
    low, high = one.found.low, one.found.high
    said = "none" if low is None or high is None else f"{low:+.3f} … {high:+.3f}"
    return [f"{one.found.difference:+.3f}", said]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.3g}"


def _words(name: str) -> str:
    return name.replace("_", " ")
