"""Standings: several recipes with several seeds each on the same rows, in order, and which can be told apart.

Pure arrays in, records out. Knows nothing of tables, trainings or models.

Shapes: S seeds of a recipe, N rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from clipdata.comparison.seeds import SeedComparison, compare_seeds
from clipdata.statistics import holm

Verdict = Literal["better", "worse", "unclear", "too few to say"]
_ALPHA = 0.05


@dataclass(frozen=True)
class Difference:
    """One recipe less another, or less the model before training.

    Args:
        of: name of the recipe.
        than: name of the other; None for the model before training.
        found: the difference, with its interval.
        p_value: of no difference, adjusted by Holm for the number of differences that were asked for together; None
            when too few to say.
        verdict: of `of`, as far as the adjusted p-value confirms it.
    """

    of: str
    than: str | None
    found: SeedComparison
    p_value: float | None
    verdict: Verdict

    @property
    def is_told(self) -> bool:
        """Whether the two are told apart."""
        return self.verdict in ("better", "worse")


@dataclass(frozen=True)
class Standing:
    """One recipe among several.

    Args:
        name: of the recipe.
        mean: of its seeds' means.
        by_seed: mean over rows of each seed.
        spread: standard deviation of these; None for one seed.
        letters: recipes that share a letter are not told apart.
        to_best: its difference to the first recipe; None for that one.
        to_start: its difference to the model before training; None where nobody knows that.
    """

    name: str
    mean: float
    by_seed: tuple[float, ...]
    spread: float | None
    letters: str
    to_best: Difference | None
    to_start: Difference | None


@dataclass(frozen=True)
class Standings:
    """Several recipes over the same rows.

    Args:
        recipes: from the highest mean to the lowest.
        pairs: each recipe less each that stands before it.
    """

    recipes: tuple[Standing, ...]
    pairs: tuple[Difference, ...]


def stand(values: Mapping[str, Sequence[ArrayLike]], starts: Mapping[str, ArrayLike], clusters: ArrayLike) -> Standings:
    """Order recipes by their means, and say which are told apart over seeds and pictures.

    All pairs are one family of questions and all differences to the start are another; each is adjusted by Holm.

    Args:
        values: recipe → one array [N] a seed, a value a row.
        starts: recipe → the values before training; may lack recipes.
        clusters: [N], rows with equal values hang together (one picture's).

    Raises:
        UsageError: arrays differ in length, or no row has a value everywhere.
    """
    means = {name: float(np.mean(_by_seed(one))) for name, one in values.items()}
    order = sorted(values, key=lambda name: -means[name])  # stable: of equal ones the first that was given
    two = list(itertools.combinations(order, 2))
    pairs = _concluded([(low, high, compare_seeds(values[high], values[low], clusters)) for high, low in two])
    begun = [
        (name, None, compare_seeds([starts[name]], values[name], clusters, before_is_fixed=True))
        for name in order
        if name in starts
    ]
    to_start = {one.of: one for one in _concluded(begun)}
    to_best = {one.of: one for one in pairs if one.than == order[0]}
    letters = letters_of(order, [(one.of, str(one.than)) for one in pairs if one.is_told])
    return Standings(
        tuple(_standing(name, values[name], letters[name], to_best, to_start) for name in order), tuple(pairs)
    )


def _standing(
    name: str,
    values: Sequence[ArrayLike],
    letters: str,
    to_best: Mapping[str, Difference],
    to_start: Mapping[str, Difference],
) -> Standing:
    by_seed = _by_seed(values)
    spread = float(np.std(by_seed, ddof=1)) if len(by_seed) > 1 else None
    return Standing(name, float(np.mean(by_seed)), by_seed, spread, letters, to_best.get(name), to_start.get(name))


def _by_seed(values: Sequence[ArrayLike]) -> tuple[float, ...]:
    """The mean of each seed."""
    return tuple(float(np.nanmean(np.asarray(value_N, np.float64))) for value_N in values)


def _concluded(asked: Sequence[tuple[str, str | None, SeedComparison]]) -> list[Difference]:
    """Differences that were asked for together, each with its verdict as far as it is confirmed."""
    p_values = [found.p_value for _, _, found in asked if found.p_value is not None]
    adjusted = iter(holm(p_values))
    done = []
    for of, than, found in asked:
        p_value = next(adjusted) if found.p_value is not None else None
        verdict: Verdict = "unclear" if p_value is not None and p_value > _ALPHA else found.verdict
        done.append(Difference(of, than, found, p_value, verdict))
    return done


def letters_of(order: Sequence[str], told: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Letters by name: two that share one are not told apart, and any two that share none are.

    Source: H.-P. Piepho, An Algorithm for a Letter-Based Representation of All-Pairwise Comparisons (2004), insert and
        absorb.

    Args:
        order: names, best first; the letters begin there.
        told: pairs that are told apart.
    """
    sets = [frozenset(order)]
    for one, other in told:
        split = [part for part in sets if {one, other} <= part]
        parts = [part for part in sets if part not in split]
        parts += [part - {gone} for part in split for gone in (one, other)]
        sets = [part for part in dict.fromkeys(parts) if not any(part < larger for larger in parts)]
    place = {name: number for number, name in enumerate(order)}
    sets.sort(key=lambda part: sorted(place[name] for name in part))
    return {name: "".join(_letter(number) for number, part in enumerate(sets) if name in part) for name in order}


def _letter(number: int) -> str:
    return chr(ord("a") + number % 26) * (1 + number // 26)
