"""The section of a comparison: its figures, how values are distributed, what was trained on, and rows to look at.

Shapes: N compared rows.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from clipdata.comparison.intervals import Sampling
from clipdata.comparison.measurement import Measured, measure
from clipdata.comparison.records import RECORDS, Compared
from clipdata.comparison.text import coverage_words, trained_words
from clipdata.errors import SchemaError, UsageError
from clipdata.lance_io.table import Table
from clipdata.reporting.picture_rows import galleries
from clipdata.reporting.records import ComparisonSection, Leak, Spread
from clipdata.reporting.row_columns import RowColumns
from clipdata.statistics import AnyFloatArray

MOST_GROUPS = 40
_BINS = 24


def comparison_section(
    table: Table, before: str, after: str, *, sampling: Sampling, num_pictures: int, shown: RowColumns, **asked: Any
) -> ComparisonSection:
    """Compare two columns, as `clipdata.compare` does, with calibration wherever the scores are probabilities.

    Args:
        table: of the after side.
        before, after: columns.
        sampling: how intervals are made.
        num_pictures: rows of each kind to show.
        shown: columns to show of them.
        asked: further arguments of `compare`.
    """
    measured, not_calibrated = _measured(table, before, after, sampling, asked)
    compared = measured.comparison
    left_out = max(0, len(compared.groups) - MOST_GROUPS)
    told = dataclasses.replace(
        compared,
        groups=compared.groups[:MOST_GROUPS],
        num_groups_left_out=compared.num_groups_left_out + left_out,
    )
    return ComparisonSection(
        compared=told,
        leak=leak_of(compared),
        leakage=trained_words(compared),
        coverage=coverage_words(compared),
        spread=spread_of(measured.pairs.before_N, measured.pairs.after_N),
        galleries=galleries(measured, num_pictures, shown),
        not_calibrated=not_calibrated,
    )


def leak_of(compared: Compared) -> Leak:
    """Whether rows were trained on, as far as the models' own records tell."""
    trained, sides = compared.trained, (compared.seen_before, compared.seen_after)
    if trained is not None and (trained.num_rows or (trained.where == RECORDS and trained.num_rows_of_seen_clusters)):
        return "seen"
    if trained is None or trained.where != RECORDS or trained.num_untold or trained.num_of_untold_pictures:
        return "unknown"
    return "unknown" if any(side is not None and side.status in ("lost", "unknown") for side in sides) else "none"


def spread_of(before_N: AnyFloatArray, after_N: AnyFloatArray) -> Spread:
    """Both sides over bins that they share, from 0 to 1 for probabilities; and the changes, symmetrically about 0."""
    low, high = float(min(before_N.min(), after_N.min())), float(max(before_N.max(), after_N.max()))
    if low >= 0.0 and high <= 1.0 and high > 0.2:
        low, high = 0.0, 1.0
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, _BINS + 1)
    moved_N = np.asarray(after_N, np.float64) - before_N
    most = float(np.abs(moved_N).max()) or 1.0
    change_edges = np.linspace(-most, most, _BINS + 1)
    return Spread(
        tuple(edges.tolist()),
        _counts(before_N, edges),
        _counts(after_N, edges),
        tuple(change_edges.tolist()),
        _counts(moved_N, change_edges),
    )


def _counts(values_N: AnyFloatArray, edges: np.ndarray) -> tuple[int, ...]:
    return tuple(np.histogram(values_N, edges)[0].tolist())


def _measured(
    table: Table, before: str, after: str, sampling: Sampling, asked: dict[str, Any]
) -> tuple[Measured, str | None]:
    """The comparison, with calibration where there is something to calibrate; and why there is none."""
    try:
        return measure(table, before, after, sampling=sampling, num_rows_shown=0, calibration=True, **asked), None
    except (SchemaError, UsageError) as error:
        why = error.message.removeprefix("compare: ")
    # What is wrong beside the calibration is said by this one.
    return measure(table, before, after, sampling=sampling, num_rows_shown=0, **asked), why
