"""`clipdata report`: a page about a table, what changed between two of its columns, and a training."""

from __future__ import annotations

from typing import Annotated

import typer

from clipdata.storage import redact
from pipelines.cli.json_output import TEXT, Schema
from pipelines.cli.options import VersionOptions, Where, version_of
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
    where: Where = None,
    by: Annotated[str | None, typer.Option(help="Column of groups to show apart.")] = None,
    table_before: Annotated[str | None, typer.Option(help="Another table that holds the values before.")] = None,
    version_before: Annotated[str | None, typer.Option(help="Version of the table that holds them.")] = None,
    on: Annotated[str | None, typer.Option(help="Column that pairs two tables; their key by default.")] = None,
    cluster: Annotated[
        str | None, typer.Option(help="Column whose equal values are resampled together; the image by default.")
    ] = None,
    scores_before: Annotated[
        str | None, typer.Option(help="Score lists behind BEFORE; by default those that it was picked from.")
    ] = None,
    scores_after: Annotated[str | None, typer.Option(help="The same for AFTER.")] = None,
    label_index: Annotated[
        str | None, typer.Option(help="Column with the place of the right choice; by default the one picked by.")
    ] = None,
    trained_where: Annotated[
        str | None, typer.Option(help="SQL condition of rows trained on, beside those in the models' own records.")
    ] = None,
    lower_is_better: Annotated[
        bool, typer.Option("--lower-is-better", help="A fall is a gain: losses, ranks.")
    ] = False,
    ranks: Annotated[
        bool, typer.Option("--ranks", help="Also R@k, MRR, median rank: of score lists, or of columns of ranks.")
    ] = False,
    any_scale: Annotated[
        bool, typer.Option("--any-scale", help="Compare a probability with a cosine all the same.")
    ] = False,
    pictures: Annotated[int, typer.Option(min=0, help="Rows of each kind to show, at most 100.")] = 8,
    resamples: Annotated[int, typer.Option(min=200, help="Bootstrap draws.")] = 2000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same intervals.")] = 0,
    title: Annotated[str | None, typer.Option(help="Of the page.")] = None,
    store: VersionOptions,
) -> None:
    """Write one HTML page to send: before and after with pictures, a training's curves, what a table holds."""
    import clipdata as cd
    from clipdata.shown_values import shown_bytes

    other = None
    if table is not None and (table_before is not None or version_before is not None):
        other = cd.open_table(
            table_before or table,
            version=version_of(version_before) if version_before else None,
            storage=store.storage,
        )
    found = cd.report(
        store.open(table) if table is not None else None,
        before,
        after,
        run=run,
        out=out,
        where=where,
        by=by,
        table_before=other,
        on=on,
        cluster=cluster,
        scores_before=scores_before,
        scores_after=scores_after,
        label_index=label_index,
        trained_where=trained_where,
        lower_is_better=lower_is_better,
        ranks=ranks,
        any_scale=any_scale,
        num_pictures=pictures,
        resamples=resamples,
        seed=seed,
        title=title,
        storage=store.storage,
        progress=terminal,
    )
    size = shown_bytes(len(found.to_html().encode("utf-8")))
    terminal.result(f"{redact(out)}: {size}, {found.title}", {**found.to_dict(), "out": redact(out)})
