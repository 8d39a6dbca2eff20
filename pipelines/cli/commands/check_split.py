"""`clipdata check-split`: what the sides of a split share."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.json_output import FLAG, NUMBER, TEXT, WHOLE, Schema, counts, listed, maybe, record
from pipelines.cli.options import ReadOptions, TableArgument, Where, names_in
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb

_INTERVAL = listed(NUMBER)
_BY_SIDE: Schema = {"type": "object"}

CHECKED = record(
    table=TEXT,
    version=WHOLE,
    column=TEXT,
    where=maybe(TEXT),
    trained=TEXT,
    sides=listed(
        record(
            name=TEXT,
            num_rows=WHOLE,
            share=NUMBER,
            share_interval=_INTERVAL,
            resolution=NUMBER,
            rows_shared=WHOLE,
            rows_of_trained=WHOLE,
        )
    ),
    num_without_side=WHOLE,
    evidence=listed(
        record(
            column=TEXT,
            kind=TEXT,
            num_values=WHOLE,
            num_shared=WHOLE,
            rows_by_side=counts(),
            rows_of_trained=WHOLE,
            rows_without=WHOLE,
            few_kinds=FLAG,
            examples=listed(record(value=TEXT, rows=_BY_SIDE)),
        )
    ),
    class_column=maybe(TEXT),
    classes=listed(record(name=TEXT, num_rows=counts(), share=_BY_SIDE, interval=_BY_SIDE)),
    num_classes=WHOLE,
    classes_untrained=WHOLE,
    classes_unmeasured=WHOLE,
    num_held_out=WHOLE,
    num_leaked=WHOLE,
    num_crossing=WHOLE,
)


@verb(
    "check-split",
    found=CHECKED,
    examples=[
        "clipdata check-split contest.lance --fail-if-leaks",
        "clipdata check-split contest.lance --by sha256,near_duplicates,caption --classes label",
    ],
)
def check_split(
    terminal: Terminal,
    table: TableArgument,
    *,
    column: Annotated[str, typer.Option("--column", help="Column that says which side a row is of.")] = "split",
    by: Annotated[
        str | None,
        typer.Option("--by", help="Columns that are evidence; by default digests, duplicates and captions."),
    ] = None,
    classes: Annotated[str | None, typer.Option("--classes", help="Column of classes, to tell their shares.")] = None,
    trained: Annotated[
        str | None, typer.Option("--trained", help="Side that is trained on; by default train, or the largest.")
    ] = None,
    where: Where = None,
    fail_if_leaks: Annotated[
        bool, typer.Option("--fail-if-leaks", help="Exit with 7 when sides share anything, or nothing tells.")
    ] = False,
    store: ReadOptions,
) -> None:
    """Say what the sides of a split share: pictures, look-alikes, captions; and how classes lie on them."""
    import clipdata as cd

    opened = store.open(table)
    done = cd.check_split(opened, column, by=names_in(by), classes=classes, trained=trained, where=where)
    terminal.result(str(done), done.to_dict())
    if fail_if_leaks:
        done.gate()
