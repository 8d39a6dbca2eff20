"""Confidence: how probable a row's given label is, which other label is likely, and where the row stands among all.

Pure functions of probabilities, and what is gathered of all rows: four bytes a row, and a sum for each class.

Shapes: B rows of a batch, C classes or choices, N rows of the table.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_SUM_TOLERANCE = 0.01  # float16 scores of a thousand classes add up to 1 that closely


@dataclass(frozen=True)
class Judged:
    """What is said of the labels of a batch.

    Args:
        probability_B: float64, of the given label.
        margin_B: float64, of the given label less the most probable other one; below 0 where another is likelier.
        suggested_B: int64, the label that is likely enough and most probable; the most probable where none is enough.
        suspect_B: bool, whether a label that is likely enough is another than the given one.
    """

    probability_B: np.ndarray
    margin_B: np.ndarray
    suggested_B: np.ndarray
    suspect_B: np.ndarray


def judge(shares_BC: np.ndarray, given_B: np.ndarray, threshold_C: np.ndarray) -> Judged:
    """Judge labels by confident learning: a label is likely enough where it is as probable as on its own rows.

    Args:
        shares_BC: probabilities; -1 where a row has fewer choices.
        given_B: int64, place of the given label.
        threshold_C: of each label, from `Gathered.thresholds`.

    Source: Northcutt, Jiang and Chuang 2021 (JAIR 70, "Confident Learning"), equation 1: off-diagonal entries of the
    confident joint; self-confidence and normalised margin are its rankings of section 3.2.
    """
    rows_B = np.arange(len(given_B))
    probability_B = shares_BC[rows_B, given_B]
    others_BC = shares_BC.copy()
    others_BC[rows_B, given_B] = -1
    margin_B = probability_B - np.maximum(others_BC.max(axis=1, initial=-1), 0)
    likely_BC = np.where(shares_BC >= threshold_C, shares_BC, -1)
    any_B = likely_BC.max(axis=1, initial=-1) >= 0
    suggested_B = np.where(any_B, likely_BC.argmax(axis=1), shares_BC.argmax(axis=1))
    return Judged(probability_B, margin_B, suggested_B, any_B & (suggested_B != given_B))


class Gathered:
    """The probabilities that all rows give their labels: thresholds of the labels, and ranks of rows.

    Args:
        num_labels: C; 1 where a place among choices says nothing, and all rows have one threshold.
    """

    def __init__(self, num_labels: int) -> None:
        self._sum_C = np.zeros(num_labels)
        self._count_C = np.zeros(num_labels, np.int64)
        self._parts: list[np.ndarray] = [np.zeros(0, np.float32)]
        self._sorted_N = np.zeros(0, np.float32)

    def add(self, probability_B: np.ndarray, given_B: np.ndarray) -> None:
        """Take in rows: the probability of the given label, and its place."""
        place_B = given_B if len(self._sum_C) > 1 else np.zeros_like(given_B)
        self._sum_C += np.bincount(place_B, probability_B, len(self._sum_C))
        self._count_C += np.bincount(place_B, minlength=len(self._sum_C))
        self._parts.append(probability_B.astype(np.float32))

    def close(self) -> None:
        """All rows were taken in."""
        self._sorted_N = np.concatenate(self._parts)
        self._parts = []
        self._sorted_N.sort()

    @property
    def thresholds(self) -> np.ndarray:
        """Mean probability of each label on the rows that are given it: float64 [C]; infinite where there are none."""
        none_C = self._count_C == 0
        means_C: np.ndarray = np.where(none_C, np.inf, self._sum_C / np.maximum(self._count_C, 1))
        return means_C

    def ranks(self, probability_B: np.ndarray) -> np.ndarray:
        """One more than the rows whose label is less probable: int64 [B]; equal rows share a rank."""
        lower_B: np.ndarray = np.searchsorted(self._sorted_N, probability_B.astype(np.float32))
        return lower_B + 1


def unfit(shares_BC: np.ndarray, given_B: np.ndarray, length_B: np.ndarray) -> list[str | None]:
    """Why rows cannot be judged by scores: they are no probabilities, or the label is not among them.

    Args:
        shares_BC: scores; -1 beyond a row's own.
        given_B: int64; negative where there is no label.
        length_B: int64, scores of each row; 0 where there are none.
    """
    held_BC = np.arange(shares_BC.shape[1]) < length_B[:, None]
    within_B = np.where(held_BC, (shares_BC >= 0) & (shares_BC <= 1 + _SUM_TOLERANCE), True).all(axis=1)
    total_B = np.where(held_BC, shares_BC, 0).sum(axis=1)
    adds_up_B = np.abs(total_B - 1) <= _SUM_TOLERANCE
    return [
        "no scores" if not length else "no label" if given < 0
        else f"label outside the scores: {given} of {length}" if given >= length
        else None if good else "the scores are no probabilities: they do not lie from 0 to 1 and add up to 1"
        for length, given, good in zip(length_B.tolist(), given_B.tolist(), within_B & adds_up_B, strict=True)
    ]  # fmt: skip
