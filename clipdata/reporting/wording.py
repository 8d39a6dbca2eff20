"""Wording: figures as they stand in the page. It knows numbers and changes."""

from __future__ import annotations

from clipdata.comparison.changes import Change
from clipdata.comparison.wording import decimals_for, number, signed
from clipdata.training.metrics import is_share, told

_MINUS = "\u2212"


def moved(change: Change, *, percent: bool = False) -> str:
    """A difference with its sign: "+0.052", or of shares "+5.2 points"."""
    return _typeset(_signed(change.difference, change, percent=percent)) + (" points" if percent else "")


def interval(change: Change, *, percent: bool = False) -> str:
    """Its 95 % interval; empty where there is none."""
    if change.low is None or change.high is None:
        return ""
    return _typeset(" … ".join(_signed(end, change, percent=percent) for end in (change.low, change.high)))


def sides(change: Change, *, percent: bool = False) -> tuple[str, str]:
    """Before and after."""
    decimals = decimals_for(change.standard_error)
    before, after = (f"{x:.1%}" if percent else number(x, decimals) for x in (change.before, change.after))
    return _typeset(before), _typeset(after)


def verdict(change: Change) -> str:
    """What the interval says, in words."""
    return {"better": "better", "worse": "worse", "unclear": "not told apart from no change"}.get(
        change.verdict, change.verdict
    )


def value(x: float | None, *, sign: bool = False) -> str:
    """A figure of one row."""
    if x is None:
        return "–"
    return _typeset(signed(x) if sign else number(x))


def plain(x: float | None) -> str:
    """A number of a column, as short as it can be told."""
    if x is None:
        return "–"
    return _typeset(f"{x:,.0f}" if float(x).is_integer() and abs(x) < 1e15 else f"{x:.4g}")


def measured(name: str, x: float | None) -> str:
    """A figure of held-out rows: a share as percent."""
    if x is None:
        return "–"
    return f"{x:.1%}" if is_share(name) else told(name, x).removeprefix(name.replace("_", " ")).strip()


def _signed(x: float, change: Change, *, percent: bool) -> str:
    return f"{100.0 * x:+.1f}" if percent else signed(x, decimals_for(change.standard_error))


def _typeset(text: str) -> str:
    return text.replace("-", _MINUS)
