"""`clipdata report`: a page about a table, what changed between two of its columns, and a training."""

from __future__ import annotations

from typing import Annotated

import typer

from clipdata.storage import redact
from pipelines.cli.comparison_options import ComparisonOptions
from pipelines.cli.json_output import TEXT, Schema
from pipelines.cli.options import Overwrite, VersionOptions
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb


def _reported() -> Schema:
    from clipdata.reporting import report_schema

    schema = report_schema()
    return {**schema, "properties": {**schema["properties"], "out": TEXT}, "required": [*schema["required"], "out"]}


@verb(
    "report",
    found=_reported,
    examples=[
        "clipdata report contest.lance -o contest.html",
        "clipdata report contest.lance label_prob label_prob_fine_tune --where \"split = 'test'\" --run runs/contest",
        "clipdata report --run runs/contest",
    ],
)
def report(
    terminal: Terminal,
    table: Annotated[str | None, typer.Argument(help="Table: a path, or gs:// s3:// az:// URL.")] = None,
    before: Annotated[str | None, typer.Argument(help="Column of the values before.")] = None,
    after: Annotated[str | None, typer.Argument(help="Column of the values after.")] = None,
    *,
    run: Annotated[str | None, typer.Option("--run", help="Folder of a training run to tell of.")] = None,
    out: Annotated[str, typer.Option("--out", "-o", help="File to write, here or in a bucket.")] = "report.html",
    image: Annotated[
        str | None, typer.Option(help="Column of the pictures; by default the one that looks like it.")
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="Column to show beside a picture; by default what was scored, or the first text.")
    ] = None,
    pictures: Annotated[int, typer.Option(min=0, help="Rows of each kind to show, at most 100.")] = 8,
    title: Annotated[str | None, typer.Option(help="Of the page.")] = None,
    overwrite: Overwrite = False,
    compared: ComparisonOptions,
    store: VersionOptions,
) -> None:
    """Write one HTML page to send: before and after with pictures, a training's curves, what a table holds."""
    import clipdata as cd
    from clipdata.shown_values import shown_bytes

    found = cd.report(
        store.open(table) if table is not None else None,
        before,
        after,
        run=run,
        out=out,
        overwrite=overwrite,
        image=image,
        text=text,
        num_pictures=pictures,
        title=title,
        storage=store.storage,
        progress=terminal,
        **compared.arguments(store, table),
    )
    size = shown_bytes(len(found.to_html().encode("utf-8")))
    terminal.result(f"{redact(out)}: {size}, {found.title}", {**found.to_dict(), "out": redact(out)})
