"""What verbs of one kind print at their end, and the schema of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clipdata import hints
from clipdata.errors import TooManyRejectsError
from pipelines.cli.json_output import (
    ANYTHING,
    FLAG,
    NUMBER,
    OBJECT,
    TEXT,
    WHOLE,
    Schema,
    counts,
    listed,
    maybe,
    record,
)
from pipelines.cli.next_command import next_command
from pipelines.cli.terminal import Terminal

if TYPE_CHECKING:
    from ingest import Ingested
    from pipelines.results import PipelineResult

COLUMN_DIFFERENCE = record(name=TEXT, what=TEXT, before=maybe(TEXT), after=maybe(TEXT), types=maybe(listed(TEXT)))
WRITTEN = {"inserted": WHOLE, "updated": WHOLE, "deleted": WHOLE}
INGESTED = record(
    table=TEXT,
    version=maybe(WHOLE),
    rows=WHOLE,
    items=TEXT,
    listed=WHOLE,
    unchanged=WHOLE,
    read=WHOLE,
    read_bytes=WHOLE,
    **WRITTEN,
    refused=counts(),
    examples={"type": "object", "additionalProperties": TEXT},
    refused_before=WHOLE,
    num_vanished=WHOLE,
    vanished=listed(TEXT),
    notes=OBJECT,
    dry_run=FLAG,
    seconds=NUMBER,
)
_DIFFERENCE = record(
    of=TEXT,
    than=maybe(TEXT),
    difference=NUMBER,
    low=maybe(NUMBER),
    high=maybe(NUMBER),
    standard_error=maybe(NUMBER),
    over=TEXT,
    p_value=maybe(NUMBER),
    verdict=TEXT,
)
_FIGURES: Schema = {"type": "object", "additionalProperties": NUMBER}
RANKING = record(
    ranking=record(
        table=TEXT,
        version=WHOLE,
        where=TEXT,
        objective=TEXT,
        figure=TEXT,
        rows=WHOLE,
        pictures=WHOLE,
        start=_FIGURES,
        recipes=listed(
            record(
                name=TEXT,
                mean=NUMBER,
                spread=maybe(NUMBER),
                by_seed=listed(NUMBER),
                letters=TEXT,
                to_best=maybe(_DIFFERENCE),
                to_start=maybe(_DIFFERENCE),
                figures=_FIGURES,
                seeds=listed(WHOLE),
                runs=listed(TEXT),
                rows=WHOLE,
                steps=WHOLE,
                seconds=maybe(NUMBER),
                steps_s=maybe(NUMBER),
            )
        ),
        pairs=listed(_DIFFERENCE),
        left_out={"type": "object", "additionalProperties": TEXT},
        notes=listed(TEXT),
    )
)
"""Recipes ranked by their runs."""
_MOVED = maybe(OBJECT)
CANARY = record(
    verdict=TEXT,
    num_pictures=WHOLE,
    num_classes=WHOLE,
    language=TEXT,
    accuracy_before=NUMBER,
    chance=NUMBER,
    accuracy=_MOVED,
    probability=_MOVED,
    margin=_MOVED,
    lost=listed(TEXT),
)
RUN = record(
    (
        *(
            "steps",
            "exported_step",
            "model",
            "texts",
            "left_out",
            "not_measured",
            "pace",
            "warnings",
            "canary",
            "mixture",
            "exported_figures",
        ),
        *("dry_run", "plan"),
    ),
    path=TEXT,
    finished={"type": "boolean"},
    config=OBJECT,
    encoder=OBJECT,
    table=OBJECT,
    epochs=listed(OBJECT),
    steps=WHOLE,
    exported_step=WHOLE,
    model=TEXT,
    texts=OBJECT,
    left_out=counts(),
    pace=OBJECT,
    canary=CANARY,
    mixture=record(alpha=NUMBER, num_rows=WHOLE, curve=listed(OBJECT)),
    exported_figures=OBJECT,
    warnings=listed(OBJECT),
    not_measured=counts(),
    dry_run=FLAG,
    plan=record(
        state=TEXT,
        rows=WHOLE,
        usable=WHOLE,
        refused=counts(),
        measured=maybe(WHOLE),
        overlap=maybe(counts()),
        batch_size=WHOLE,
        per_epoch=WHOLE,
        num_steps=WHOLE,
        num_epochs=WHOLE,
        steps_done=WHOLE,
        captions=WHOLE,
        batch=maybe(record(read_s=NUMBER, step_s=NUMBER, caption_s=maybe(NUMBER))),
        estimate_s=maybe(NUMBER),
        memory=maybe(
            record(
                weights_bytes=WHOLE,
                copies_bytes=WHOLE,
                gradients_bytes=WHOLE,
                optimizer_bytes=WHOLE,
                rows_bytes=WHOLE,
                total_bytes=WHOLE,
                rows_at_once=WHOLE,
                free_bytes=maybe(WHOLE),
                change=maybe(TEXT),
            )
        ),
    ),
)
EXPORTED = record(
    out=TEXT,
    format=TEXT,
    version=WHOLE,
    num_rows=WHOLE,
    num_bytes=WHOLE,
    num_files=WHOLE,
    num_new_files=WHOLE,
    refused=counts(),
    columns=listed(TEXT),
    left_out=listed(TEXT),
    notes=OBJECT,
    pictures_from=listed(TEXT),
    dry_run=FLAG,
)
ROW = {"type": "object", "additionalProperties": ANYTHING}


def pipeline_schema() -> Schema:
    """What every pipeline finds; `evaluations` holds those of its own, by name."""
    from clipdata.comparison import json_schema

    return record(
        table=TEXT,
        version=WHOLE,
        run=RUN,
        comparison=json_schema(),
        trained=maybe(json_schema()),
        evaluations={"type": "object", "additionalProperties": OBJECT},
        changed=FLAG,
        report=maybe(TEXT),
    )


def report_pipeline(terminal: Terminal, result: PipelineResult, **more: str) -> None:
    """Print what a pipeline found, and what to do next; `more` stands beside it in JSON."""
    if not result.changed:
        terminal.say("nothing changed since the last run: the figures are those of the tables as they are")
    terminal.result(str(result), more | result.to_dict())
    terminal.hint(hints.log(result.table.uri))


def report_ingest(terminal: Terminal, done: Ingested, into: str, *, naming: str | None = None) -> None:
    """Print what an ingest did, and what to do next.

    Args:
        naming: the column of metadata that names pictures, where that is known.

    Raises:
        TooManyRejectsError: all that the source listed was refused.
    """
    terminal.result(str(done), done.to_dict())
    if not done.usable:
        raise TooManyRejectsError(
            f"nothing that was read could be used: the table has no row of this source, of {done.listed:,} listed",
            hint=f"clipdata rejects {hints.typed(into)} lists the reasons",
        )
    if done.dry_run:
        return
    if done.num_refused:
        terminal.hint(f"clipdata rejects {hints.typed(into)}")
    else:
        terminal.hint(next_command(done.table, into, naming=naming))
