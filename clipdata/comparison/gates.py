"""Bounds that a comparison is held to, as a script or CI writes them: `figure op number`.

Knows the record it reads figures from; nothing of tables.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence

from clipdata.comparison.changes import Change
from clipdata.comparison.records import Compared
from clipdata.errors import GateFailedError, UsageError

_CONDITION = re.compile(r"^\s*([a-z_.@0-9]*[a-z_])\s*(<=|>=|<|>|==|!=)\s*([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)\s*$")
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


_OF_A_CHANGE = {
    "before": "mean before",
    "after": "mean after",
    "difference": "after - before",
    "low": "lower end of its 95 % interval",
    "high": "upper end of its 95 % interval",
}


def _words(name: str, of_what: str) -> dict[str, str]:
    return {f"{name}.{word}": f"{of_what}: {text}" for word, text in _OF_A_CHANGE.items()}


FIGURES: dict[str, str] = {
    **_words("mean", "of the values"),
    **_words("accuracy", "of the shares of right answers"),
    "accuracy.chance": "share of right answers that guessing gives",
    "accuracy.p_value": "McNemar's test, two-sided",
    "mended": "answers wrong before and right after",
    "broken": "answers right before and wrong after",
    "rows": "rows compared",
    "clusters": "images, or other clusters, that were resampled",
    "wins": "rows whose value rose",
    "losses": "rows whose value fell",
    "ties": "rows whose value stayed",
    "uncovered_rows": "rows that lack one of the two values",
    "trained_rows": "rows that one of the models was trained on",
    "trained_images": "rows whose image one of the models was trained on",
    "worse_groups": "groups of --by that are worse, confirmed by Holm's procedure",
    **_words("log_loss", "of the log loss (--calibration)"),
    **_words("brier", "of the Brier score (--calibration)"),
    **_words("calibration_error", "of the expected calibration error (--calibration)"),
    **_words("reciprocal_rank", "of the mean reciprocal rank (--ranks)"),
    **_words("median_rank", "of the median rank (--ranks)"),
    **_words("recall@1", "of the recall at 1 (--ranks)"),
    **_words("recall@5", "of the recall at 5 (--ranks)"),
    **_words("recall@10", "of the recall at 10 (--ranks)"),
}
"""What a condition can name, in words; `difference` alone stands for `mean.difference`, and so do its neighbours."""


def figures(comparison: Compared) -> dict[str, float | None]:
    """The figures that a condition can name."""
    answers, trained, coverage = comparison.accuracy, comparison.trained, comparison.coverage
    found, ranks = comparison.probabilities, comparison.ranks
    recall = ranks.recall if ranks else {}
    return {
        **_change("mean", comparison.mean),
        **_change("accuracy", answers.change if answers else None),
        "accuracy.chance": answers.chance if answers else None,
        "accuracy.p_value": answers.p_value if answers else None,
        "mended": answers.num_mended if answers else None,
        "broken": answers.num_broken if answers else None,
        "rows": comparison.mean.num_rows,
        "clusters": comparison.mean.num_clusters,
        "wins": comparison.num_wins,
        "losses": comparison.num_losses,
        "ties": comparison.num_ties,
        "uncovered_rows": coverage.num_rows - coverage.num_both,
        # A number that is only the least it can be would pass a gate in silence.
        "trained_rows": trained.num_rows if trained and not trained.num_untold else None,
        "trained_images": (
            trained.num_rows_of_seen_clusters if trained and not trained.num_of_untold_pictures else None
        ),
        "worse_groups": sum(group.mean.verdict == "worse" for group in comparison.groups),
        **_change("log_loss", found.log_loss if found else None),
        **_change("brier", found.brier if found else None),
        **_change("calibration_error", found.calibration_error if found else None),
        **_change("reciprocal_rank", ranks.reciprocal if ranks else None),
        **_change("median_rank", ranks.median if ranks else None),
        **_change("recall@1", recall.get("1")),
        **_change("recall@5", recall.get("5")),
        **_change("recall@10", recall.get("10")),
    }


def require_conditions(conditions: Sequence[str]) -> None:
    """Check that conditions can be read, before anything is measured.

    Raises:
        UsageError: one cannot.
    """
    for condition in conditions:
        _parse(condition, FIGURES)


def hold(comparison: Compared, conditions: Sequence[str]) -> None:
    """Check every condition, and every margin of "no worse than".

    Raises:
        GateFailedError: at least one margin is not shown to be kept, or one condition is true, or names a figure that
            this comparison does not have.
        UsageError: a condition cannot be read.
    """
    known = figures(comparison)
    parsed = [(condition.strip(), *_parse(condition, known)) for condition in conditions]
    missed = []
    for condition, name, compare_with, bound in parsed:
        figure = known[name]
        if figure is None:
            missed.append(f"{condition}: this comparison has no {name}")
        elif compare_with(figure, bound):
            missed.append(f"{condition}: found {figure:.6g}")
    missed += [f"{margin.figure}: {margin.verdict}" for margin in comparison.margins if not margin.not_worse]
    if missed:
        num_bounds = len(parsed) + len(comparison.margins)
        raise GateFailedError(
            f"{comparison.before.column} → {comparison.after.column} missed {len(missed)} of {num_bounds} bound(s): "
            + "; ".join(missed),
            hint="look at the rows that lost most: where = " + comparison.worst_where() if comparison.worst else None,
        )


def _parse(condition: str, known: Mapping[str, object]) -> tuple[str, Callable[[float, float], bool], float]:
    found = _CONDITION.match(condition)
    if found is None:
        raise UsageError(
            f"cannot read the condition {condition!r}; expected figure, operator, number",
            hint="for example: accuracy.difference < -0.01",
        )
    name, sign, bound = found.groups()
    # The plain words stand for the figure that the comparison is about.
    name = f"mean.{name}" if f"mean.{name}" in known else name
    if name not in known:
        raise UsageError(f"a comparison has no figure {name!r}; it has {', '.join(known)}")
    try:
        return name, _OPERATORS[sign], float(bound)
    except ValueError as error:
        raise UsageError(f"{bound!r} in the condition {condition!r} is not a number") from error


def _change(name: str, change: Change | None) -> dict[str, float | None]:
    words = ("before", "after", "difference", "low", "high")
    return {f"{name}.{word}": getattr(change, word) if change else None for word in words}
