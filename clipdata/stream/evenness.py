"""Evenness: how well an order mixes the values of a column, against a perfect shuffle of the same rows.

It knows values and batches; it must not know how an order is made.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from clipdata.plurals import counted
from clipdata.stream.rows import Rows
from clipdata.value_hashes import hashes_of

MOST_ROWS = 65_536  # that are looked at
_COUNTED_AT_ONCE = 2**20  # values that are counted together


@dataclass(frozen=True)
class Mixing:
    """How many values of a column a batch holds.

    In a perfect shuffle each batch is a draw of its rows without replacement, and the number of values to expect in it
    is the sum over all values c of 1 - C(N - n_c, B) / C(N, B), for N rows of which n_c hold c, and batches of B.
    Source: Hurlbert, "The nonconcept of species diversity", Ecology 52 (1971), formula 14.

    Args:
        column: whose values.
        num_rows: that are streamed, N.
        num_values: distinct ones among them; null is one.
        batch_rows: B.
        num_batches: that were looked at, evenly over the epoch.
        values_a_batch: distinct values in one, the mean.
        values_expected: the same in a perfect shuffle.
    """

    column: str
    num_rows: int
    num_values: int
    batch_rows: int
    num_batches: int
    values_a_batch: float
    values_expected: float

    @property
    def share(self) -> float:
        """What was found of what a perfect shuffle gives: 1 is perfect; a batch of one value has 1 / expected."""
        return self.values_a_batch / self.values_expected if self.values_expected else 1.0

    def __str__(self) -> str:
        return (
            f"a batch of {self.batch_rows:,} holds {self.values_a_batch:.1f} of the {self.num_values:,} values of "
            f"{self.column!r}; a perfect shuffle gives {self.values_expected:.1f} (share {self.share:.2f}, "
            f"{counted(self.num_batches, 'batch', 'batches')} looked at)"
        )


class Order(Protocol):
    """The order of an epoch."""

    def positions(self, start: int, stop: int) -> np.ndarray:
        """Row positions at places [start, stop) of it, int64."""


def measure(column: str, rows: Rows, order: Order, batch_rows: int, *, most_batches: int) -> Mixing:
    """Measure how well an order mixes the values of a column; see `Mixing`.

    Args:
        rows: at least one.
        batch_rows: of a batch, at least 1.
        most_batches: to look at; fewer where they would be more than 65,536 rows.
    """
    batch_rows = min(batch_rows, len(rows))
    num_batches = max(min(most_batches, len(rows) // batch_rows, MOST_ROWS // batch_rows), 1)
    starts = np.linspace(0, len(rows) // batch_rows - 1, num_batches).astype(np.int64) * batch_rows
    places = np.concatenate([order.positions(start, start + batch_rows) for start in starts.tolist()])
    found = mean_values(rows.table.take(rows.selection.at(places), [column]).column(0), batch_rows)
    count_V = counts_of(rows.values(column))
    expected = expected_values(count_V, batch_rows)
    return Mixing(column, len(rows), len(count_V), batch_rows, num_batches, found, expected)


def counts_of(values: Iterable[pa.Array | pa.ChunkedArray]) -> np.ndarray:
    """How often each distinct value comes, in 16 bytes a distinct value; int64 [values], in no order."""
    hash_V, count_V = np.empty(0, np.uint64), np.empty(0, np.int64)
    waiting: list[np.ndarray] = []
    num_waiting = 0
    for part in values:
        waiting.append(hashes_of(part))
        num_waiting += len(part)
        if num_waiting >= max(_COUNTED_AT_ONCE, len(hash_V)):
            hash_V, count_V = _counted(hash_V, count_V, waiting)
            waiting, num_waiting = [], 0
    return _counted(hash_V, count_V, waiting)[1]


def expected_values(count_V: np.ndarray, batch_rows: int) -> float:
    """Distinct values that a draw of rows without replacement holds, as expected; see `Mixing`.

    Args:
        count_V: int64 [values], rows of each.
        batch_rows: at most their sum.
    """
    from scipy.special import gammaln

    size_S, times_S = np.unique(count_V, return_counts=True)
    num_rows = int(count_V.sum())
    left_S = (num_rows - size_S).astype(np.float64)
    with np.errstate(invalid="ignore"):  # where every draw holds the value, the logarithm is of nothing
        missed_S = (gammaln(left_S + 1) - gammaln(left_S - batch_rows + 1)) - (
            gammaln(num_rows + 1.0) - gammaln(num_rows - batch_rows + 1.0)
        )
    missed_S = np.where(left_S < batch_rows, 0.0, np.exp(np.minimum(missed_S, 0.0)))
    return float((times_S * (1 - missed_S)).sum())


def mean_values(values: pa.Array | pa.ChunkedArray, batch_rows: int) -> float:
    """Distinct values of a batch, the mean over batches that come one after another.

    Args:
        values: [batches * batch_rows].
    """
    hash_NB = np.sort(hashes_of(values).reshape(-1, batch_rows), axis=1)
    return float((1 + (np.diff(hash_NB, axis=1) != 0).sum(axis=1)).mean())


def _counted(hash_V: np.ndarray, count_V: np.ndarray, more: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    new_W, new_count_W = np.unique(np.concatenate([*more, hash_V[:0]]), return_counts=True)
    found, place_N = np.unique(np.concatenate([hash_V, new_W]), return_inverse=True)
    total = np.zeros(len(found), np.int64)
    np.add.at(total, place_N, np.concatenate([count_V, new_count_W]))
    return found, total
