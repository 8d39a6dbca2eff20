"""`clipdata compare`: the difference between two columns."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.field_help import figures_help
from pipelines.cli.json_output import Schema
from pipelines.cli.options import ReadOptions, TableArgument, Where, version_of
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb


def _compared() -> Schema:
    from clipdata.comparison import json_schema

    return json_schema()


@verb(
    "compare",
    found=_compared,
    more_help=figures_help,
    examples=["clipdata compare contest.lance label_prob label_prob_fine_tune --where \"split = 'test'\""],
)
def compare(
    terminal: Terminal,
    table: TableArgument,
    before: Annotated[str, typer.Argument(help="Column of the values before; of a version or tag: scores@12.")],
    after: Annotated[str, typer.Argument(help="Column of the values after.")],
    *,
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
    model_before: Annotated[
        str | None, typer.Option(help="Identity of the model that must be behind BEFORE; else exit code 1.")
    ] = None,
    model_after: Annotated[str | None, typer.Option(help="The same for AFTER.")] = None,
    lower_is_better: Annotated[
        bool, typer.Option("--lower-is-better", help="A fall is a gain: losses, ranks.")
    ] = False,
    no_worse_than: Annotated[
        list[str] | None,
        typer.Option(
            help="Margin that the mean must be shown to keep, or exit code 7: 0.5pt, 0.01, accuracy=1pt. Repeatable."
        ),
    ] = None,
    calibration: Annotated[
        bool, typer.Option("--calibration", help="Also log loss, Brier score, calibration, temperature.")
    ] = False,
    ranks: Annotated[
        bool, typer.Option("--ranks", help="Also R@k, MRR, median rank: of score lists, or of columns of ranks.")
    ] = False,
    anytime: Annotated[
        bool, typer.Option("--anytime", help="Intervals for those who look every night as rows come in.")
    ] = False,
    any_scale: Annotated[
        bool, typer.Option("--any-scale", help="Compare a probability with a cosine all the same.")
    ] = False,
    num_rows_shown: Annotated[int, typer.Option("--rows-shown", min=0, help="Worst and best rows to list.")] = 5,
    resamples: Annotated[int, typer.Option(min=200, help="Bootstrap draws.")] = 2000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same intervals.")] = 0,
    fail_if: Annotated[
        list[str] | None,
        typer.Option("--fail-if", help='Gate such as "accuracy.difference < 0"; exit code 7. Repeatable.'),
    ] = None,
    min_difference: Annotated[float | None, typer.Option(help="Gate: least difference of the means.")] = None,
    min_accuracy_difference: Annotated[
        float | None, typer.Option(help="Gate: least difference of the shares of right answers.")
    ] = None,
    certain: Annotated[
        bool, typer.Option("--certain", help="Hold the lower end of the interval to these two, not the difference.")
    ] = False,
    store: ReadOptions,
) -> None:
    """Compare two columns over the same rows: difference with its interval, accuracy, wins and losses, worst rows."""
    import clipdata as cd

    opened = store.open(table)
    other = None
    if table_before is not None or version_before is not None:
        other = store.open(table_before or table, version=version_of(version_before) if version_before else None)
    done = cd.compare(
        opened,
        before,
        after,
        where=where,
        table_before=other,
        on=on,
        by=by,
        cluster=cluster,
        scores_before=scores_before,
        scores_after=scores_after,
        label_index=label_index,
        trained_where=trained_where,
        models=(model_before, model_after),
        lower_is_better=lower_is_better,
        no_worse_than=no_worse_than or (),
        calibration=calibration,
        ranks=ranks,
        anytime=anytime,
        any_scale=any_scale,
        num_rows_shown=num_rows_shown,
        resamples=resamples,
        seed=seed,
    )
    terminal.result(str(done), done.to_dict())
    done.gate(
        fail_if=fail_if or [],
        min_difference=min_difference,
        min_accuracy_difference=min_accuracy_difference,
        certain=certain,
    )
