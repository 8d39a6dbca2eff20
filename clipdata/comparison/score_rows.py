"""Score rows: what is kept of the score lists of both sides while they stream by, and never the lists themselves.

40 bytes a row for probabilities, 8 for ranks, and the lists of a sample of rows. Knows Arrow lists and numpy.

Shapes: K rows of a batch, M rows of all in which both sides can be judged, E entries of their lists, S rows of the
sample.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from clipdata.answers import Lists, lay_out
from clipdata.errors import SchemaError
from clipdata.statistics import FloatArray, IntArray

NUM_BINS = 20
SAMPLED_ENTRIES = 2_000_000
_SUM_TOLERANCE = 0.01
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9)


@dataclass(frozen=True)
class SideScores:
    """One side of M rows.

    Args:
        rank_M: int32, place of the right choice from 1, after all that score as high.
        loss_M: negative natural logarithm of its probability.
        brier_M: squared differences between probabilities and truth, summed over the row's choices.
        confidence_M: float32, the highest probability.
        cells: float64 [NUM_BINS, 5], over bins of probability: entries, their sum and sum of squares, right ones, and
            the sum of the right ones' probabilities. Entries are all choices of all rows, or of a label the yes alone.
        lists: those of the sampled rows, clipped from below.
        clipped_M: bool, whether the right choice has a probability of 0.
        pairs_only: whether every row has two choices.
    """

    rank_M: np.ndarray
    loss_M: FloatArray
    brier_M: FloatArray
    confidence_M: np.ndarray
    cells: FloatArray
    lists: Lists
    clipped_M: np.ndarray
    pairs_only: bool


@dataclass(frozen=True)
class ScoreRows:
    """Both sides of M rows.

    Args:
        before: one side.
        after: the other.
        sampled_S: places of the sampled rows among the M.
    """

    before: SideScores
    after: SideScores
    sampled_S: IntArray


@dataclass
class _Side:
    """What has been kept of one side."""

    name: str
    of_label: bool = False
    pairs_only: bool = True
    rank: list[np.ndarray] = field(default_factory=list)
    loss: list[FloatArray] = field(default_factory=list)
    brier: list[FloatArray] = field(default_factory=list)
    confidence: list[np.ndarray] = field(default_factory=list)
    clipped: list[np.ndarray] = field(default_factory=list)
    cells: FloatArray = field(default_factory=lambda: np.zeros((NUM_BINS, 5)))
    sampled: list[Lists] = field(default_factory=list)

    def add(self, lists: Lists, least: float, *, ranks: bool, calibration: bool) -> None:
        if ranks:
            as_high_E = lists.scores_E >= np.repeat(lists.scores_E[lists.right_K], lists.size_K)
            self.rank.append(np.add.reduceat(as_high_E, lists.first_K, dtype=np.int32))
        if calibration:
            self._add_probabilities(lists, least)

    def _add_probabilities(self, lists: Lists, least: float) -> None:
        self._require_probabilities(lists)
        right_K = lists.scores_E[lists.right_K]
        self.clipped.append(right_K < least)
        self.loss.append(-np.log(np.maximum(right_K, least)))
        squares_K = np.add.reduceat(lists.scores_E**2, lists.first_K)
        self.brier.append(squares_K - 2.0 * right_K + 1.0)
        self.confidence.append(np.maximum.reduceat(lists.scores_E, lists.first_K).astype(np.float32))
        self.pairs_only = self.pairs_only and bool((lists.size_K == 2).all())
        said_E, true_E = lists.scores_E, np.zeros(len(lists.scores_E))
        true_E[lists.right_K] = 1.0
        if self.of_label:
            said_E, true_E = said_E[1::2], true_E[1::2]
        bin_E = np.clip((said_E * NUM_BINS).astype(np.int64), 0, NUM_BINS - 1)
        weights = (None, said_E, said_E**2, true_E, said_E * true_E)
        self.cells += np.column_stack([np.bincount(bin_E, weight, NUM_BINS) for weight in weights])

    def _require_probabilities(self, lists: Lists) -> None:
        sum_K = np.add.reduceat(lists.scores_E, lists.first_K)
        low_K, high_K = (ends.reduceat(lists.scores_E, lists.first_K) for ends in (np.minimum, np.maximum))
        tolerance_K = _SUM_TOLERANCE
        wrong_K = (low_K < -1e-6) | (high_K > 1.0 + _SUM_TOLERANCE) | (np.abs(sum_K - 1.0) > tolerance_K)
        if wrong_K.any():
            k = int(np.argmax(wrong_K))
            raise SchemaError(
                f"compare: {self.name!r} holds no probabilities: a row's scores run from {low_K[k]:.4g} to "
                f"{high_K[k]:.4g} and add up to {sum_K[k]:.4g}; expected 1",
                hint="map them as probabilities (choice-scores -p probabilities=true), or leave --calibration out",
            )

    def joined(self) -> SideScores:
        return SideScores(
            _joined(self.rank, np.int32),
            _joined(self.loss),
            _joined(self.brier),
            _joined(self.confidence, np.float32),
            self.cells,
            _end_to_end(self.sampled),
            _joined(self.clipped, np.bool_),
            self.pairs_only,
        )


class ScoreCollector:
    """Keeps what is needed of each batch.

    Args:
        names: of both columns of lists.
        ranks: whether ranks are wanted.
        calibration: whether probabilities are.
        of_label: whether the lists are of a label that is so or not.
    """

    def __init__(self, names: tuple[str, str], *, ranks: bool, calibration: bool, of_label: bool = False) -> None:
        self._sides = (_Side(names[0], of_label), _Side(names[1], of_label))
        self._wanted = {"ranks": ranks, "calibration": calibration}
        self._hash: list[np.ndarray] = []  # of the sampled rows
        self._place: list[IntArray] = []
        self._bound, self._entries, self._rows = np.uint64(2**64 - 1), 0, 0

    def add(self, before: pa.Array, after: pa.Array, label: pa.Array, judged_N: np.ndarray) -> None:
        """Keep what is needed of those rows of a batch that can be judged on both sides."""
        if not judged_N.any():
            return
        laid = tuple(lay_out(scores, label, judged_N) for scores in (before, after))
        for side, lists, scores in zip(self._sides, laid, (before, after), strict=True):
            side.add(lists, _least(scores.type), **self._wanted)
        if self._wanted["calibration"]:
            self._sample(laid, tuple(_least(scores.type) for scores in (before, after)))
        self._rows += int(judged_N.sum())

    def _sample(self, laid: tuple[Lists, ...], least: tuple[float, ...]) -> None:
        """The rows of the smallest hashes, as many as memory is set apart for."""
        place_K = np.arange(self._rows, self._rows + len(laid[0].row_K))
        hash_K = (place_K.astype(np.uint64) + np.uint64(1)) * _GOLDEN
        hash_K = (hash_K ^ (hash_K >> np.uint64(29))) * _MIX
        kept_K = np.flatnonzero(hash_K <= self._bound)
        self._hash.append(hash_K[kept_K])
        self._place.append(place_K[kept_K])
        for side, lists, smallest in zip(self._sides, laid, least, strict=True):
            side.sampled.append(_taken(lists, kept_K, smallest))
        self._entries += max(int(lists.size_K[kept_K].sum()) for lists in laid)
        while self._entries > SAMPLED_ENTRIES:
            self._thin()

    def _thin(self) -> None:
        """Half of the rows of the sample."""
        self._bound = self._bound // np.uint64(2)
        hash_S, place_S = _joined(self._hash, np.uint64), _joined(self._place, np.int64)
        kept_S = np.flatnonzero(hash_S <= self._bound)
        self._hash, self._place = [hash_S[kept_S]], [place_S[kept_S]]
        for side in self._sides:
            side.sampled = [_taken(_end_to_end(side.sampled), kept_S, 0.0)]
        self._entries = max(len(side.sampled[0].scores_E) for side in self._sides)

    def rows(self) -> ScoreRows | None:
        """What was kept; None where no row can be judged on both sides."""
        if not self._rows:
            return None
        before, after = (side.joined() for side in self._sides)
        return ScoreRows(before, after, _joined(self._place, np.int64))


def _least(kind: pa.DataType) -> float:
    """The least that a type tells from 0 beside 1, which stands in for a probability of 0.

    Source: scikit-learn's `log_loss`, which clips at the machine epsilon of the type.
    """
    value = kind.value_type
    return float(np.finfo(value.to_pandas_dtype() if pa.types.is_floating(value) else np.float64).eps)


def _taken(lists: Lists, rows_k: IntArray, least: float) -> Lists:
    size_k = lists.size_K[rows_k]
    first_k = np.cumsum(size_k) - size_k
    entry = np.repeat(lists.first_K[rows_k] - first_k, size_k) + np.arange(int(size_k.sum()))
    right_k = first_k + (lists.right_K[rows_k] - lists.first_K[rows_k])
    return Lists(lists.row_K[rows_k], np.maximum(lists.scores_E[entry], least), first_k, size_k, right_k)


def _end_to_end(parts: list[Lists]) -> Lists:
    shift = np.cumsum([0, *(len(part.scores_E) for part in parts)])
    moved = list(zip(parts, shift.tolist(), strict=False))
    return Lists(
        _joined([part.row_K for part in parts], np.int64),
        _joined([part.scores_E for part in parts]),
        _joined([part.first_K + by for part, by in moved], np.int64),
        _joined([part.size_K for part in parts], np.int64),
        _joined([part.right_K + by for part, by in moved], np.int64),
    )


def _joined(parts: list[Any], dtype: Any = np.float64) -> Any:
    return np.concatenate(parts) if parts else np.zeros(0, dtype)
