"""What an earlier run of the same step left in a column: rows keep it. It knows steps and the lineage of columns."""

from __future__ import annotations

from clipdata.lance_io.table import Table
from clipdata.lineage import Lineage
from clipdata.step_protocol import Step


def made_alike(step: Step, table: Table, column: str, *, any_version: bool = False) -> bool:
    """Whether a column was written by an earlier run of a step, of the same columns and with the same parameters.

    Args:
        step: that reads what it wrote before.
        table: that may have the column.
        column: where it wrote.
        any_version: older code of the step counts too.
    """
    earlier = table.lineage(column) if column in table.schema.names else None
    if earlier is None:
        return False
    version = earlier.step_version if any_version else step.version
    now = Lineage(step.name, version, step.parameters, step.model, tuple(step.reads))
    return earlier.differs_only_upstream(now)
