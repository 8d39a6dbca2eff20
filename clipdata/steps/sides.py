"""Sides: which group of rows goes to which side of a split, as near to the shares as whole groups allow.

Groups that have a side keep it, and the others make up for what is lacking. They are gone through in an order that
follows from their values alone, and each goes to the side that lags most behind its share of those gone through so far:
so every part of the order, such as a class, is shared out alike, and the whole comes out right to less than a group.
Large groups come first, so that small ones even out what they leave.

It knows numbers, and no table. Shapes: G groups, S sides, T strata.

Source: drawing in proportion along an ordered list is systematic sampling: Madow: On the theory of systematic sampling
II (Annals of Mathematical Statistics 20, 1949).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from clipdata.errors import UsageError

_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Shares:
    """How much of the rows goes to each side.

    Args:
        of_side: name → share; they add up to 1.
    """

    of_side: Mapping[str, float]

    @classmethod
    def of(cls, step: str, given: Any) -> Shares:
        """Read shares as they are given: {"train": 0.8, "test": 0.2}, or "train=0.8,test=0.2".

        Raises:
            UsageError: they are no positive numbers that add up to 1, or of a single side.
        """
        named = _pairs_in(given) if isinstance(given, str) else given
        expected = "expected positive shares of two sides or more that add up to 1"
        hint = 'shares={"train": 0.8, "val": 0.1, "test": 0.1}, or -p shares=train=0.8,val=0.1,test=0.1'
        if not isinstance(named, Mapping) or len(named) < 2:
            raise UsageError(f"{step}: shares is {given!r:.80}; {expected}", hint=hint)
        for side, share in named.items():
            if not (isinstance(side, str) and side.strip()) or not _is_share(share):
                raise UsageError(f"{step}: shares holds {side!r:.40}: {share!r:.40}; {expected}", hint=hint)
        total = sum(float(share) for share in named.values())
        if abs(total - 1) > 1e-6:
            raise UsageError(f"{step}: shares add up to {total:.6g}; {expected}", hint=hint)
        return cls({side: float(share) / total for side, share in named.items()})

    def __str__(self) -> str:
        return ",".join(f"{side}={share!r}" for side, share in self.of_side.items())

    @classmethod
    def of_test(cls, step: str, test_share: Any) -> Shares:
        """Two sides, train and test.

        Raises:
            UsageError: the share is not between 0 and 1.
        """
        if not _is_share(test_share):
            raise UsageError(f"{step}: test_share is {test_share!r:.80}; expected a share between 0 and 1")
        return cls({"train": 1 - float(test_share), "test": float(test_share)})


def require_seed(step: str, seed: Any) -> None:
    """Hold what a split was given as its seed to be one.

    Raises:
        UsageError: it is no whole number.
    """
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise UsageError(f"{step}: seed is {seed!r:.80}; expected a whole number")


def allot(
    rows_G: np.ndarray,
    order_G: np.ndarray,
    stratum_G: np.ndarray,
    held_GS: np.ndarray,
    share_S: np.ndarray,
    *,
    by_stratum: bool,
) -> np.ndarray:
    """Choose a side for every group: int64 [G].

    Args:
        rows_G: how many rows each group has.
        order_G: uint64; groups of a stratum and about a size are gone through by it.
        stratum_G: int64, the class that each group counts for.
        held_GS: rows of each group that have a side already. Such a group goes where most of them are.
        share_S: add up to 1.
        by_stratum: every stratum by itself, to the nearest group, and with a group on every side where it has that
            many; else all together, so that small strata do not add up to another share than was asked for.
    """
    held_G = held_GS.sum(axis=1)
    side_G = np.where(held_G > 0, held_GS.argmax(axis=1), -1)
    open_G = np.flatnonzero(side_G < 0)
    size_class = np.floor(np.log2(np.maximum(rows_G, 1))).astype(np.int64)
    walk = open_G[np.lexsort((order_G[open_G], -size_class[open_G], stratum_G[open_G]))]
    lacking_TS = _lacking(rows_G, stratum_G, held_GS, share_S)
    part_of = np.cumsum(np.diff(stratum_G[walk], prepend=stratum_G[walk][:1]) != 0) if by_stratum else None
    side_G[walk] = _shared_out(rows_G[walk], lacking_TS[stratum_G[walk]], part_of)
    part_G = stratum_G if by_stratum else np.zeros_like(stratum_G)
    _leave_no_side_empty(side_G, walk, part_G, rows_G, share_S)
    return side_G


def _lacking(rows_G: np.ndarray, stratum_G: np.ndarray, held_GS: np.ndarray, share_S: np.ndarray) -> np.ndarray:
    """Of each stratum, how the rows without a side are to be shared out: float64 [T, S], each row adds up to 1."""
    num = int(stratum_G.max()) + 1 if len(stratum_G) else 0
    rows_T = np.bincount(stratum_G, weights=rows_G, minlength=num)
    held_TS = np.stack([np.bincount(stratum_G, weights=held, minlength=num) for held in held_GS.T], axis=1)
    lacking_TS = np.maximum(rows_T[:, None] * share_S - held_TS, 0)
    total_T1 = lacking_TS.sum(axis=1, keepdims=True)
    return np.where(total_T1 > 0, lacking_TS / np.maximum(total_T1, _TOLERANCE), share_S)


def _shared_out(rows_W: np.ndarray, wanted_WS: np.ndarray, part_W: np.ndarray | None) -> list[int]:
    """The side of each group along a walk: the one that lags most behind what was wanted of it so far."""
    num_sides = wanted_WS.shape[1]
    sides, lag, part = [], [0.0] * num_sides, None
    parts = part_W.tolist() if part_W is not None else [0] * len(rows_W)
    for rows, wanted, its_part in zip(rows_W.tolist(), wanted_WS.tolist(), parts, strict=True):
        if its_part != part:
            lag, part = [0.0] * num_sides, its_part
        for side in range(num_sides):
            lag[side] += rows * wanted[side]
        most = max(lag)
        chosen = next(side for side in range(num_sides) if lag[side] >= most - _TOLERANCE * (1 + rows))
        lag[chosen] -= rows
        sides.append(chosen)
    return sides


def _leave_no_side_empty(
    side_G: np.ndarray, walk: np.ndarray, part_G: np.ndarray, rows_G: np.ndarray, share_S: np.ndarray
) -> None:
    """Move a group to every side that has none, where there are as many groups as sides."""
    num_sides, num_parts = len(share_S), int(part_G.max()) + 1 if len(part_G) else 0
    num_PS = np.zeros((num_parts, num_sides), np.int64)
    np.add.at(num_PS, (part_G, side_G), 1)
    short = np.flatnonzero((num_PS == 0).any(axis=1) & (num_PS.sum(axis=1) >= num_sides))
    if not len(short):
        return
    of_part: dict[int, list[int]] = {part: [] for part in short.tolist()}
    for group in walk[np.isin(part_G[walk], short)].tolist():
        of_part[int(part_G[group])].append(group)
    for part, groups in of_part.items():
        for side in np.flatnonzero(num_PS[part] == 0).tolist():
            free = [group for group in groups if num_PS[part, side_G[group]] > 1]
            if free:
                moved = min(free, key=lambda group: (rows_G[group], -num_PS[part, side_G[group]]))
                num_PS[part, side_G[moved]] -= 1
                side_G[moved] = side
                num_PS[part, side] += 1


def _is_share(share: Any) -> bool:
    return isinstance(share, int | float) and not isinstance(share, bool) and 0 < share < 1


def _pairs_in(text: str) -> dict[str, Any]:
    """Shares as a person types them; what is no number stays a text, for the message."""
    found: dict[str, Any] = {}
    for part in text.split(","):
        side, _, share = part.strip().partition("=")
        try:
            found[side.strip()] = float(share)
        except ValueError:
            found[side.strip()] = share
    return found
