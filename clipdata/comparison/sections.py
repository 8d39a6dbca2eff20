"""Sections: what a comparison tells of ranks and probabilities, as text, where asked for. Knows records alone."""

from __future__ import annotations

from clipdata.comparison.records import Compared
from clipdata.comparison.score_records import TEMPERATURES, Probabilities, Ranks, Reliability, Tempered
from clipdata.comparison.wording import change_head, change_line, decimals_for, interval, number, signed


def all_of(comparison: Compared) -> list[list[str]]:
    """The sections that there are, each as lines."""
    found = [_ranks(comparison.ranks)] if comparison.ranks else []
    return found + ([_probabilities(comparison.probabilities)] if comparison.probabilities else [])


def _ranks(ranks: Ranks) -> list[str]:
    recalls = [change_line(f"R@{k}", change, percent=True) for k, change in ranks.recall.items()]
    others = [change_line("MRR", ranks.reciprocal), change_line("median rank", ranks.median)]
    return [change_head("ranks"), *recalls, *others]


def _probabilities(found: Probabilities) -> list[str]:
    lines = [
        change_head("probabilities"),
        change_line("log loss", found.log_loss),
        change_line("Brier score", found.brier),
        change_line("calibration", found.calibration_error),
    ]
    return lines + [f"  {line}" for line in said_of(found)]


def said_of(found: Probabilities) -> list[str]:
    """What is told of probabilities beside their changes."""
    sides = [f"{word:<6} {_parts(side)}" for word, side in (("before", found.before), ("after", found.after))]
    return sides + _tempered(found.tempered, found)


def _parts(side: Reliability) -> str:
    error = f"calibration error {side.calibration_error:.3f}"
    if side.calibration_low is not None and side.calibration_high is not None:
        error += f" ({side.calibration_low:.3f} … {side.calibration_high:.3f})"
    parts = (
        f"{side.reliability:.4f} reliability - {side.resolution:.4f} resolution + {side.uncertainty:.4f} uncertainty"
    )
    return f"Brier {side.brier:.4f} = {parts}; {error}"


def _tempered(tempered: Tempered | None, found: Probabilities) -> list[str]:
    if tempered is None:
        return ["too few images or other clusters to fit a temperature on half of them"]
    before, after = (_temperature(side) for side in (found.before, found.after))
    alone = tempered.alone
    decimals = decimals_for(alone.standard_error)
    after_all = signed(found.log_loss.difference, decimals)
    return [
        f"best temperature {before} before, {after} after (fitted on the other half)",
        f"temperature alone moves the log loss before by {signed(alone.difference, decimals)} "
        f"({interval(alone)}), where all that changed moves it by {after_all}",
        f"with its own temperature each: {number(tempered.beyond.before, decimals)} → "
        f"{number(tempered.beyond.after, decimals)}, {interval(tempered.beyond)}",
    ]


def _temperature(side: Reliability) -> str:
    """In words where the scores tell so little, or so much, that no temperature within bounds fits best."""
    assert side.temperature is not None, "both sides have a temperature where there is what it does"
    low, high = TEMPERATURES
    if side.temperature > 0.99 * high:
        return f"{high:g} or more"
    return f"{low:g} or less" if side.temperature < 1.01 * low else f"{side.temperature:.2f}"
