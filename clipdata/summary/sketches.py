"""Sketches: numbers and values of any count in bounded memory, exact as long as they fit and with a known error after.

They know numpy and Arrow arrays, and nothing of columns.
"""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata.statistics import FloatArray
from clipdata.summary.records import Distribution

NUMBERS_KEPT = 1 << 18
VALUES_KEPT = 1 << 16
VALUES_BYTES = 32 << 20
_PENDING = 1 << 18
_SHARES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
NUM_BINS = 20


class Numbers:
    """Count, moments, quantiles and histogram of numbers that go by.

    The first 262,144 are all kept. Of more, every second one of a sorted stretch stays and stands for two, then for
    four and so on: at 10 million, seven stretches of 2 MB. Smallest, largest, mean and deviation stay exact.

    Source: the compactors of Manku, Rajagopalan and Lindsay (SIGMOD 1998), "Approximate medians and other quantiles in
    one pass and with limited memory"; moments are merged as in Chan, Golub and LeVeque (1983).
    """

    def __init__(self, kept: int = NUMBERS_KEPT) -> None:
        self.count = self.not_finite = 0
        self._kept = kept
        self._mean = self._squares = 0.0
        self._lowest, self._highest = math.inf, -math.inf
        self._levels: list[list[FloatArray]] = [[]]
        self._sizes, self._halvings = [0], [0]
        self._error = 0  # in ranks

    def add(self, found: FloatArray) -> None:
        """Take in float64 [n]; those that are no number are counted apart."""
        finite = np.isfinite(found)
        if not finite.all():
            self.not_finite += int(len(found) - finite.sum())
            found = found[finite]
        if not len(found):
            return
        self._add_moments(found)
        for start in range(0, len(found), self._kept):
            self._put(0, found[start : start + self._kept])

    def _add_moments(self, found: FloatArray) -> None:
        mean = float(found.mean())
        delta, total = mean - self._mean, self.count + len(found)
        squares = float(np.square(found - mean).sum())
        self._squares += squares + delta * delta * self.count * len(found) / total
        self._mean += delta * len(found) / total
        self.count = total
        self._lowest, self._highest = min(self._lowest, float(found.min())), max(self._highest, float(found.max()))

    def _put(self, level: int, found: FloatArray) -> None:
        if level == len(self._levels):
            self._levels.append([])
            self._sizes.append(0)
            self._halvings.append(0)
        self._levels[level].append(found)
        self._sizes[level] += len(found)
        if self._sizes[level] > self._kept:
            ordered = np.sort(np.concatenate(self._levels[level]))
            offset = self._halvings[level] & 1  # now the lower of two stays, now the higher
            self._halvings[level] += 1
            left = ordered[-1:] if len(ordered) % 2 else ordered[:0]
            self._levels[level], self._sizes[level] = ([left] if len(left) else []), len(left)
            self._error += 1 << level
            self._put(level + 1, ordered[offset : len(ordered) - len(ordered) % 2 : 2])

    def distribution(self) -> Distribution | None:
        """What was found; None where there was no number."""
        if not self.count:
            return None
        values = np.concatenate([one for level in self._levels for one in level])
        weights = np.concatenate([np.full(size, 1 << level, np.int64) for level, size in enumerate(self._sizes)])
        order = np.argsort(values, kind="stable")
        values, weights = values[order], weights[order]
        edges = np.linspace(self._lowest, self._highest, NUM_BINS + 1)
        counts = np.histogram(values, edges, weights=weights)[0] if self._highest > self._lowest else [self.count]
        return Distribution(
            count=self.count,
            mean=self._mean,
            std=math.sqrt(self._squares / (self.count - 1)) if self.count > 1 else None,
            quantiles=self._quantiles(values, np.cumsum(weights)),
            edges=tuple(edges.tolist()) if self._highest > self._lowest else (self._lowest, self._highest),
            counts=tuple(int(count) for count in counts),
            rank_error=self._error / self.count,
        )

    def _quantiles(self, values: FloatArray, ranks: np.ndarray) -> dict[str, float]:
        """Numbers at some shares: of all that were kept as numpy's own, and of a sketch the nearest one kept."""
        if not self._error:
            found = np.quantile(values, _SHARES)
        else:
            wanted = np.ceil(np.array(_SHARES) * self.count)
            found = values[np.minimum(np.searchsorted(ranks, np.maximum(wanted, 1)), len(values) - 1)]
        named = {f"{share:g}": float(value) for share, value in zip(_SHARES, found, strict=True)}
        return {**named, "0": self._lowest, "1": self._highest}


class Values:
    """The most common of values that go by, and how many different ones there are while they fit.

    All are counted up to 65,536 different ones, or 32 MB of them. Beyond, the rare ones go, and the count of each that
    stays is too low by at most `error`.

    Source: Misra and Gries (1982), "Finding repeated elements", in the form of mergeable summaries (Agarwal et al.,
    PODS 2012).
    """

    def __init__(self, kept: int = VALUES_KEPT) -> None:
        self._kept = kept
        self.error = 0
        self._pruned = 0
        self._tables: list[pa.Table] = []
        self._pending = 0

    def add(self, found: pa.Array) -> None:
        """Take in an array; nulls do not count."""
        found = found.drop_null()
        if not len(found):
            return
        counted = found.value_counts()
        self._tables.append(pa.table({"value": counted.field("values"), "count": counted.field("counts")}))
        self._pending += len(counted)
        if self._pending > _PENDING + self._kept:
            self._merge()

    def _merge(self) -> pa.Table | None:
        if not self._tables:
            return None
        merged = pa.concat_tables(self._tables)
        if len(self._tables) > 1:
            merged = merged.group_by("value").aggregate([("count", "sum")]).rename_columns(["value", "count"])
        most = min(self._kept, max(merged.num_rows * VALUES_BYTES // max(merged.nbytes, 1), 1))
        if merged.num_rows > most:
            counts = merged.column("count").to_numpy()
            cut = int(np.partition(counts, len(counts) - most - 1)[len(counts) - most - 1])
            self._pruned = max(self._pruned, merged.num_rows)
            self.error += cut
            merged = merged.set_column(1, "count", pc.subtract(merged.column("count"), cut))
            merged = merged.filter(pc.greater(merged.column("count"), 0))
        self._tables, self._pending = [merged], merged.num_rows
        return merged

    @property
    def distinct(self) -> int | None:
        """How many different values there are; None where they did not fit."""
        merged = self._merge()
        return None if self._pruned else merged.num_rows if merged is not None else 0

    @property
    def at_least(self) -> int:
        """So many different values were there at once."""
        return self._pruned

    def common(self, most: int) -> list[tuple[object, int]]:
        """The most common values, the most first, and among equals in their own order."""
        merged = self._merge()
        if merged is None or not merged.num_rows:
            return []
        counts = merged.column("count").to_numpy()
        least = np.partition(counts, max(len(counts) - most, 0))[max(len(counts) - most, 0)]
        chosen = np.flatnonzero(counts >= least)[: 1000 * most]
        rows = merged.take(pa.array(chosen)).to_pylist()
        ordered = sorted(rows, key=lambda row: (-row["count"], str(row["value"])))
        return [(row["value"], row["count"]) for row in ordered[:most]]
