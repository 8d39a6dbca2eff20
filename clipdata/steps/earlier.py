"""What an earlier run of the same step left in a column: rows keep it; and by what a step knows its own decisions.

It knows steps and the lineage of columns.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from clipdata.lance_io.table import Table
from clipdata.lineage import Lineage
from clipdata.step_protocol import Step


def made_alike(step: Step, table: Table, column: str | None, *, whatever_changed: bool = False) -> bool:
    """Whether a column was written by an earlier run of a step: of the same columns, with the same parameters and code.

    Args:
        step: that reads what it wrote before.
        table: that may have the column.
        column: where it wrote; None where nothing counts that was written before.
        whatever_changed: older code of the step counts too, and columns read that were made anew since.
    """
    earlier = table.lineage(column) if column is not None and column in table.schema.names else None
    if earlier is None:
        return False
    origins = {name: origin for name in step.reads if (origin := table.lineage(name)) is not None}
    upstream = {name: origin.fingerprint for name, origin in origins.items()}
    now = Lineage(step.name, step.version, step.parameters, step.model, tuple(step.reads), upstream)
    if whatever_changed:
        return replace(earlier, step_version=now.step_version).differs_only_upstream(now)
    return earlier.fingerprint == now.fingerprint


def digest_of(*decided: np.ndarray) -> str:
    """A digest of arrays that hold what a step decided."""
    found = hashlib.blake2b(digest_size=16)
    for values in decided:
        found.update(np.ascontiguousarray(values).view(np.uint8).data)
    return found.hexdigest()
