"""Trial: a step on a handful of the rows that it is to compute, to say what all of them would take. It writes nothing.

It knows a step's contract, and neither commits nor other columns.
"""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from clipdata.engines.fill import compute_part, kind_of
from clipdata.lance_io.filling import Filling
from clipdata.lance_io.parts import Part
from clipdata.step_protocol import Step

TRIED_ROWS = 8


@dataclass(frozen=True)
class Trial:
    """What some rows took.

    Args:
        num_rows: that were computed.
        reads: column → mean bytes of a row.
        row_s: seconds of preparing and computing a row, reading aside; None when no row could be computed.
        failed: rows on which the step failed, by reason.
    """

    num_rows: int = 0
    reads: Mapping[str, float] = field(default_factory=dict)
    row_s: float | None = None
    failed: Mapping[str, int] = field(default_factory=dict)


def try_step(filling: Filling, step: Step, pending: Sequence[tuple[int, int]]) -> Trial:
    """Compute the first few rows of those that are pending.

    The very first is computed before the clock starts, for a step warms up on it.

    Args:
        pending: fragments with rows to compute, and how many.

    Raises:
        StepError: the step broke its contract.
    """
    for fragment_id, _ in pending:
        places, rows = _first(filling, fragment_id, 1 + TRIED_ROWS)
        if not len(places):  # all of its rows wait for an input
            continue
        warm = min(1, len(places) - 1)
        parts = [_computed(filling, step, places[:warm], rows[:warm])] if warm else []
        started_s = time.perf_counter()
        parts.append(_computed(filling, step, places[warm:], rows[warm:]))
        row_s = (time.perf_counter() - started_s) / (len(places) - warm)
        failed = Tally(kind_of(reason) for part in parts for reason in part.reasons.drop_null().to_pylist())
        reads = {name: rows.column(name).nbytes / len(places) for name in rows.schema.names}
        return Trial(len(places), reads, row_s, dict(failed))
    return Trial()


def _first(filling: Filling, fragment_id: int, num_rows: int) -> tuple[np.ndarray, pa.RecordBatch]:
    """Places and inputs of the first rows to compute of a fragment: int64 [n]; n is 0 where all wait."""
    places, batches = [np.empty(0, np.int64)], []
    for some, batch in filling.read(fragment_id, places[0], batch_rows=num_rows):
        places.append(some)
        batches.append(batch)
        if sum(map(len, places)) >= num_rows:
            break
    if not batches:
        return places[0], pa.record_batch([])
    rows = pa.Table.from_batches(batches).slice(0, num_rows).combine_chunks()
    return np.concatenate(places)[:num_rows], rows.to_batches()[0]


def _computed(filling: Filling, step: Step, places: np.ndarray, rows: pa.RecordBatch) -> Part:
    return compute_part(step, places, rows, step.prepare(rows), filling.unread)
