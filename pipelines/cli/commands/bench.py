"""`clipdata bench`: what limits the rate at which a table feeds a model."""

from __future__ import annotations

from typing import Annotated, Any, cast

import typer

from pipelines.cli.json_output import NUMBER, OBJECT, TEXT, WHOLE, counts, listed, maybe, record
from pipelines.cli.options import Device, TableArgument, VersionOptions, Where
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb

FOUND = record(
    table=TEXT,
    version=WHOLE,
    where=maybe(TEXT),
    num_rows=WHOLE,
    column=TEXT,
    row_bytes=NUMBER,
    batch_size=WHOLE,
    num_cores=WHOLE,
    model=maybe(TEXT),
    device=maybe(TEXT),
    rates=listed(
        record(
            part=TEXT,
            name=TEXT,
            rows_s=NUMBER,
            num_rows=WHOLE,
            seconds=NUMBER,
            bytes_s=maybe(NUMBER),
            note=TEXT,
        )
    ),
    errors=listed(record(fidelity=TEXT, mean=NUMBER, p99=NUMBER, largest=WHOLE, num_pictures=WHOLE)),
    refused=counts(),
    mixing=maybe(OBJECT),
    verdict=record(limit=TEXT, text=TEXT, command=maybe(TEXT)),
    seconds=NUMBER,
)


@verb(
    "bench",
    found=FOUND,
    examples=[
        "clipdata bench contest.lance",
        "clipdata bench contest.lance --model starter --train --workers 2",
        "clipdata bench gs://bucket/contest.lance --column image_trunk --where \"split = 'train'\"",
    ],
)
def bench(
    terminal: Terminal,
    table: TableArgument,
    *,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Model to measure, too; without one only the data is measured.")
    ] = None,
    column: Annotated[
        str | None, typer.Option(help="Column to stream; the image by default, else vectors, else texts.")
    ] = None,
    where: Where = None,
    batch_size: Annotated[int, typer.Option(min=1, max=1_000_000, help="Rows of a batch.")] = 64,
    workers: Annotated[int, typer.Option(min=0, max=1_000, help="Also measure with so many worker processes.")] = 0,
    fidelity: Annotated[str, typer.Option(help="Of the pixels: fast, as training has them; exact; scaled.")] = "fast",
    train: Annotated[bool, typer.Option("--train", help="Measure forward with backward, too.")] = False,
    mixing: Annotated[
        str | None, typer.Option(help="Tell how well batches mix the values of this column, such as a class.")
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0.001, max=86_400, help="To measure, about; starting workers comes on top.")
    ] = 20.0,
    device: Device = None,
    store: VersionOptions,
) -> None:
    """Measure what disk, decoder, workers and model can do, and say which of them limits and what changes it.

    Nothing is written. The rate of `decode` is that of one core, on the table's own pictures; that of `stream` is
    whole batches, taken by somebody who does nothing with them. Below stands how far the pixels of each fidelity are
    from those of open_clip's own transform.
    """
    import clipdata as cd
    from clipdata.errors import UsageError

    if train and model is None:
        raise UsageError("--train measures a model, and none is named", hint="--model starter")
    opened = store.open(table)
    found = cd.bench(
        opened,
        cd.load_encoder(model, device=device) if model is not None else None,
        column=column,
        where=where,
        batch_size=batch_size,
        num_workers=workers,
        fidelity=cast(Any, fidelity),  # held to the known ones there
        train=train,
        mixing=mixing,
        seconds=seconds,
        progress=terminal,
    )
    text = "\n".join([found.title, "", terminal.table(found.lines(), found.header), "", *found.remarks()])
    terminal.result(text, found.to_dict())
    terminal.hint(found.verdict.command)
