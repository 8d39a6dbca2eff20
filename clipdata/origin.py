"""Origin: the lineage that a step gives a column of a table, what changed since, and what its models were trained on.

It knows tables and what a step is, and nothing of how a column is filled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import clipdata
from clipdata.lance_io.state import StateFolder
from clipdata.lance_io.table import Table
from clipdata.lineage import Lineage
from clipdata.step_protocol import Step
from clipdata.storage import redact
from clipdata.trained_rows import FOLDER, TrainedRows


def lineage_of(table: Table, step: Step) -> Lineage:
    """What the lineage of a column will be that the step makes of the table as it is.

    Raises:
        UsageError: nothing tells the value of something that the step depends on.
    """
    origins = {name: origin for name in step.reads if (origin := table.lineage(name)) is not None}
    return Lineage(
        step=step.name,
        step_version=step.version,
        parameters=dict(step.parameters),
        model=step.model,
        model_name=getattr(step, "model_name", None),
        inputs=tuple(step.reads),
        upstream={name: origin.fingerprint for name, origin in origins.items()},
        trained_on=_all_trained_on(step, origins.values()),
        tables=tuple("." if uri == table.uri else redact(uri) for uri in getattr(step, "tables", ())),
        table_version=table.version,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        made_by=f"clipdata {clipdata.__version__}",
    )


def changed_inputs(table: Table, lineage: Lineage) -> list[str]:
    """Which inputs were made in another way than when a column was computed from them, a line each."""
    lines = []
    for source in lineage.inputs:
        made = table.lineage(source) if source in table.schema.names else None
        then, now = lineage.upstream.get(source), made.fingerprint if made is not None else None
        if then == now:
            continue
        if now is None:
            lines.append(f"column {source!r} that it reads was made by a step, and is not any more")
        else:
            lines.append(f"column {source!r} that it reads was made anew, in another way, since")
    return lines


def _trained_on(step: Step) -> tuple[TrainedRows, ...] | None:
    """What the step's model was trained on; None when it has a model and does not say."""
    said = getattr(step, "trained_on", None)
    return tuple(said) if said is not None else None if step.model is not None else ()


def _all_trained_on(step: Step, origins: Iterable[Lineage]) -> tuple[Mapping[str, Any], ...] | None:
    """Records of the trainings of all models behind a column; None when one of them is not known."""
    own = _trained_on(step)
    if own is None:
        return None
    records: dict[str, Mapping[str, Any]] = {rows.digest: rows.to_record() for rows in own}
    for origin in origins:
        if origin.trained_on is None:
            return None
        records |= {str(record["digest"]): record for record in origin.trained_on}
    return tuple(records[digest] for digest in sorted(records))


def kept_trained_rows(table: Table, columns: Iterable[str]) -> tuple[TrainedRows, ...]:
    """Which rows the models behind some columns were trained on, as far as it is kept beside the table."""
    told = (lineage.trained_on or () for name in columns if (lineage := table.lineage(name)) is not None)
    folder, found = StateFolder(table, FOLDER), []
    for digest in dict.fromkeys(str(record["digest"]) for records in told for record in records):
        if (data := folder.read_bytes(f"{digest}.arrow")) is not None:
            found.append(TrainedRows.from_bytes(data))
    return tuple(found)


def keep_trained_rows(table: Table, step: Step) -> None:
    """Store beside the table which rows the step's model was trained on, for whoever compares."""
    if rows := _trained_on(step):
        folder = StateFolder(table, FOLDER)
        for record in rows:
            if folder.read_bytes(f"{record.digest}.arrow") is None:
                folder.write_bytes(f"{record.digest}.arrow", record.to_bytes())
