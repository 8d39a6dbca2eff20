"""`clipdata compare`: the difference between two columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipdata.errors import UsageError
from pipelines.cli.field_help import figures_help
from pipelines.cli.json_output import Schema
from pipelines.cli.options import ReadOptions, TableArgument, Where, version_of
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb

if TYPE_CHECKING:
    from clipdata.comparison import Comparison, Comparisons
    from clipdata.lance_io.table import Table


def _compared() -> Schema:
    from clipdata.comparison import several_schema

    return several_schema()


@verb(
    "compare",
    found=_compared,
    more_help=figures_help,
    examples=[
        "clipdata compare contest.lance label_prob label_prob_fine_tune --where \"split = 'test'\"",
        "clipdata compare contest.lance scores@12 scores --calibration --ranks --no-worse-than accuracy=0.5pt",
        "clipdata compare contest.lance label_prob prob_a prob_b --all-pairs",
        "clipdata compare contest.lance --runs runs/a,runs/b --where \"split = 'test'\"",
    ],
)
def compare(
    terminal: Terminal,
    table: TableArgument,
    before: Annotated[
        str | None, typer.Argument(help="Column of the values before; of a version or tag: scores@12.")
    ] = None,
    after: Annotated[
        list[str] | None, typer.Argument(help="Column of the values after; several are compared with the first.")
    ] = None,
    *,
    runs: Annotated[
        str | None, typer.Option("--runs", help="Runs, in place of columns: A,B. Those that their models made.")
    ] = None,
    all_pairs: Annotated[bool, typer.Option("--all-pairs", help="Of several columns, compare each with each.")] = False,
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
    from clipdata.comparison.gates import require_conditions

    require_conditions(fail_if or [])
    opened = store.open(table)
    other = None
    if table_before is not None or version_before is not None:
        other = store.open(table_before or table, version=version_of(version_before) if version_before else None)
    columns = _columns(terminal, opened, before, after or [], runs)
    options: dict[str, Any] = {
        "where": where,
        "table_before": other,
        "on": on,
        "by": by,
        "cluster": cluster,
        "scores_before": scores_before,
        "scores_after": scores_after,
        "label_index": label_index,
        "trained_where": trained_where,
        "models": (model_before, model_after),
        "lower_is_better": lower_is_better,
        "no_worse_than": no_worse_than or (),
        "calibration": calibration,
        "ranks": ranks,
        "anytime": anytime,
        "any_scale": any_scale,
        "num_rows_shown": num_rows_shown,
        "resamples": resamples,
        "seed": seed,
    }
    done: Comparison | Comparisons
    if len(columns) > 2:
        done = cd.compare_columns(opened, columns, pairs="all" if all_pairs else "first", **options)
    else:
        done = cd.compare(opened, *columns, **options)
    terminal.result(str(done), done.to_dict())
    done.gate(
        fail_if=fail_if or [],
        min_difference=min_difference,
        min_accuracy_difference=min_accuracy_difference,
        certain=certain,
    )


def _columns(terminal: Terminal, table: Table, before: str | None, after: list[str], runs: str | None) -> list[str]:
    """The columns to compare: those that are named, or those that the models of runs made.

    Raises:
        UsageError: neither two columns are named nor two runs, or both are.
    """
    named = [before, *after] if before is not None else []
    if runs is None and len(named) >= 2:
        return named
    listed = [run.strip() for run in (runs or "").split(",") if run.strip()]
    if named or len(set(listed)) < 2:
        found = f"{len(named)} column(s) and {len(listed)} run(s)"
        raise UsageError(
            f"compare: {found}; expected two columns or more, or two runs or more",
            hint="clipdata compare TABLE BEFORE AFTER, or clipdata compare TABLE --runs A,B",
        )
    import clipdata as cd
    from clipdata.comparison import columns_of_models

    models = []
    for run in listed:
        terminal.say(f"loading {run}")
        models.append(cd.load_encoder(run).identity)
    return columns_of_models(table, models, listed)
