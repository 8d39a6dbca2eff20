"""The page at the end of a pipeline: what it found, to send. It knows a result, and no pipeline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import clipdata as cd
from clipdata.errors import ClipdataError
from clipdata.progress import Progress
from clipdata.storage import Storage, is_remote
from pipelines.results import PipelineResult

FILE = "report.html"


def told_on_a_page(
    result: PipelineResult, out: str, trained_where: str, storage: Storage, progress: Progress
) -> PipelineResult:
    """Write a report of a result, and name it in the result; one of the same figures stays as it is.

    What keeps it from being written is said, and takes nothing from the result.

    Args:
        result: of a pipeline.
        out: file to write.
        trained_where: SQL condition of the rows that were trained on.
        storage: how to reach the table, and `out`.
        progress: is told why there is none.
    """
    found = result.comparison
    if not result.changed and not is_remote(out) and Path(out).exists():
        return replace(result, report=out)
    try:
        cd.report(
            result.table,
            found.before.column,
            found.after.column,
            run=result.run,
            out=out,
            where=found.where,
            trained_where=trained_where,
            lower_is_better=not found.mean.higher_is_better,
            notes={name.replace("_", " "): str(told) for name, told in result.evaluations.items()},
            storage=storage,
        )
    except ClipdataError as error:
        progress.say(f"no report was written: {error.message}")
        return result
    return replace(result, report=out)
