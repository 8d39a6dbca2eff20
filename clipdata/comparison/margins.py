"""Margins: "no worse than half a point", read from words and held to an interval. Knows changes; no table.

Source: D. J. Schuirmann, A comparison of the two one-sided tests procedure (1987), on sameness; the CONSORT statement
    for non-inferiority trials (Piaggio et al., 2012), on reading it off one 95 % interval.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Literal

from clipdata.comparison.changes import Change, Margin
from clipdata.errors import UsageError

_WORDS = re.compile(
    r"^\s*(?:(?P<figure>[a-z_@.0-9]*[a-z_][a-z_@.0-9]*)\s*[=:]\s*)?(?P<size>[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*"
    r"(?P<unit>pt|pts|pp|point|points|%)?\s*$"
)
_EXAMPLES = "for example 0.5pt, 0.01, or accuracy=1pt"


def read_margins(asked: str | float | Sequence[str | float]) -> list[tuple[str, float, bool]]:
    """The figure, the size in its own unit, and whether it was said in points, of each margin.

    Args:
        asked: a size, as a number or in words ("0.5pt" is 0.005), or "figure=size"; one or several.

    Raises:
        UsageError: it is no size above zero.
    """
    listed = [asked] if isinstance(asked, (str, int, float)) else list(asked)
    return [_read(one) for one in listed]


def _read(asked: str | float) -> tuple[str, float, bool]:
    found = _WORDS.match(str(asked)) if isinstance(asked, (str, int, float)) and not isinstance(asked, bool) else None
    size = float(found["size"]) if found else 0.0
    if found is None or not 0.0 < size < math.inf:
        raise UsageError(f"compare: no_worse_than={asked!r}; expected a margin above zero", hint=_EXAMPLES)
    in_points = found["unit"] is not None
    return found["figure"] or "mean", size / 100.0 if in_points else size, in_points


def hold_margins(asked: Sequence[tuple[str, float, bool]], known: Mapping[str, Change | None]) -> tuple[Margin, ...]:
    """What the intervals say of each margin.

    Args:
        asked: as `read_margins` gives them.
        known: the changes by name; None where this comparison has no such figure.

    Raises:
        UsageError: there is no such figure, or points are asked of a figure that is no share and no probability.
    """
    return tuple(_held(figure, size, in_points, known) for figure, size, in_points in asked)


def _held(figure: str, size: float, in_points: bool, known: Mapping[str, Change | None]) -> Margin:
    change = known.get(figure)
    if change is None:
        listed = ", ".join(name for name, one in known.items() if one is not None)
        raise UsageError(
            f"compare: no_worse_than names {figure!r}, which this comparison does not have; it has {listed}",
            hint="right answers need lists of scores and label_index=…, log_loss and brier need calibration=True",
        )
    if in_points and not (0.0 <= change.before <= 1.0 and 0.0 <= change.after <= 1.0):
        raise UsageError(
            f"compare: no_worse_than asks for points of {figure!r}, which is {change.before:.6g} and "
            f"{change.after:.6g}; expected a share or a probability",
            hint=f"give the margin in the figure's own unit: {figure}={size * 100.0:g}",
        )
    said = f"{size * 100.0:g} point{'' if size == 0.01 else 's'}" if in_points else f"{size:g}"
    unit: Literal["points", "absolute"] = "points" if in_points else "absolute"
    if change.low is None or change.high is None:
        return Margin(figure, size, unit, False, False, "too few to say")
    worst, best = (change.low, change.high) if change.higher_is_better else (-change.high, -change.low)
    not_worse, same = worst > -size, -size < worst and best < size
    if same:
        verdict = f"the same within {said}"
    elif not_worse:
        verdict = f"not worse than {said}"
    elif best < -size:
        verdict = f"worse by more than {said}"
    else:
        verdict = f"not shown to be within {said}"
    return Margin(figure, size, unit, not_worse, same, verdict)
