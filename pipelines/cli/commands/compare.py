"""`clipdata compare`: the difference between two columns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipdata.errors import UsageError
from pipelines.cli.comparison_options import ComparisonOptions
from pipelines.cli.field_help import figures_help
from pipelines.cli.json_output import Schema, either
from pipelines.cli.listed_recipes import runs_listed
from pipelines.cli.options import Device, ReadOptions, TableArgument
from pipelines.cli.reports import RANKING
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb

if TYPE_CHECKING:
    from clipdata.comparison import Comparison, Comparisons
    from clipdata.lance_io.table import Table


def _compared() -> Schema:
    from clipdata.comparison import several_schema

    return either(several_schema(), RANKING)


@verb(
    "compare",
    found=_compared,
    more_help=figures_help,
    examples=[
        "clipdata compare contest.lance label_prob label_prob_fine_tune --where \"split = 'test'\"",
        "clipdata compare contest.lance scores@12 scores --calibration --ranks --no-worse-than accuracy=0.5pt",
        "clipdata compare contest.lance label_prob prob_a prob_b --all-pairs",
        "clipdata compare contest.lance --runs trials/ --where \"split = 'validation'\"",
        "clipdata compare contest.lance --made-by starter,runs/a --where \"split = 'test'\"",
    ],
)
def compare(
    terminal: Terminal,
    table: TableArgument,
    before: Annotated[
        str | None, typer.Argument(help="Column of the values before; scores@12 is what it held in version or tag 12.")
    ] = None,
    after: Annotated[
        list[str] | None, typer.Argument(help="Column of the values after; several are compared with the first.")
    ] = None,
    *,
    runs: Annotated[
        str | None,
        typer.Option(
            "--runs",
            help="Runs, in place of columns: A,B, or a folder of runs. Measured on the rows, and ranked by recipe over "
            "seeds and pictures.",
        ),
    ] = None,
    made_by: Annotated[
        str | None, typer.Option("--made-by", help="Models, in place of columns: A,B. The columns that they made.")
    ] = None,
    figure: Annotated[
        str | None, typer.Option(help="Of runs: what they are ranked by; the objective's first figure by default.")
    ] = None,
    objective: Annotated[
        str | None, typer.Option(help="Of runs: what they are measured by; what they trained for by default.")
    ] = None,
    device: Device = None,
    all_pairs: Annotated[bool, typer.Option("--all-pairs", help="Of several columns, compare each with each.")] = False,
    model_before: Annotated[
        str | None, typer.Option(help="Identity of the model that must be behind BEFORE; else exit code 1.")
    ] = None,
    model_after: Annotated[
        str | None, typer.Option(help="Identity of the model that must be behind AFTER; else exit code 1.")
    ] = None,
    no_worse_than: Annotated[
        list[str] | None,
        typer.Option(
            help="Margin that the mean must be shown to keep, or exit code 7: 0.5pt, 0.01, accuracy=1pt. Repeatable."
        ),
    ] = None,
    calibration: Annotated[
        bool, typer.Option("--calibration", help="Also log loss, Brier score, calibration, temperature.")
    ] = False,
    anytime: Annotated[
        bool, typer.Option("--anytime", help="Intervals for those who look every night as rows come in.")
    ] = False,
    num_rows_shown: Annotated[int, typer.Option("--rows-shown", min=0, help="Worst and best rows to list.")] = 5,
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
    compared: ComparisonOptions,
    store: ReadOptions,
) -> None:
    """Compare two columns over the same rows: difference with its interval, accuracy, wins and losses, worst rows."""
    import clipdata as cd
    from clipdata.comparison.gates import require_conditions

    require_conditions(fail_if or [])
    opened = store.open(table)
    named = [before, *(after or [])] if before is not None else []
    options = {
        **compared.arguments(store, table),
        "models": (model_before, model_after),
        "no_worse_than": no_worse_than or (),
        "calibration": calibration,
        "anytime": anytime,
        "num_rows_shown": num_rows_shown,
    }
    if runs is not None:
        _refuse_beside_runs(named, made_by, options, {"all_pairs": all_pairs, "fail_if": fail_if, "certain": certain})
        ranking = cd.compare_runs(
            opened,
            runs_listed([runs, *named]),
            where=compared.where,
            objective=objective,
            figure=figure,
            device=device,
            progress=terminal,
        )
        terminal.result(str(ranking), {"ranking": ranking.to_dict()})
        return
    columns = _columns(terminal, opened, named, made_by)
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


def _refuse_beside_runs(
    named: list[str], made_by: str | None, options: Mapping[str, Any], more: Mapping[str, Any]
) -> None:
    """Refuse what is about columns, where runs are compared.

    Raises:
        UsageError: there is some of it.
    """
    columns = [word for word in named if not Path(word).expanduser().is_dir()]
    if columns or made_by is not None:
        found = f"{len(columns)} column(s) stand beside runs" if columns else "--made-by stands beside --runs"
        raise UsageError(
            f"compare: {found}; expected one of them",
            hint="clipdata compare TABLE BEFORE AFTER, or clipdata compare TABLE --runs A,B",
        )
    plain = {"models": (None, None), "no_worse_than": (), "num_rows_shown": 5, "resamples": 2000, "seed": 0}
    given = {name: value for name, value in {**options, **more}.items() if name != "where"}
    if idle := [name for name, value in given.items() if value != plain.get(name, None if value is None else False)]:
        listed = ", ".join(f"--{name.replace('_', '-')}" for name in idle)
        raise UsageError(
            f"compare: {listed}: about columns, and runs are compared",
            hint="fill a column with each, clipdata map TABLE choice-scores NAME --model RUN, and compare these",
        )


def _columns(terminal: Terminal, table: Table, named: list[str], made_by: str | None) -> list[str]:
    """The columns to compare: those that are named, or those that models made.

    Raises:
        UsageError: neither two columns are named nor two models, or both are.
    """
    if made_by is None and len(named) >= 2:
        return named
    listed = [model.strip() for model in (made_by or "").split(",") if model.strip()]
    if named or len(set(listed)) < 2:
        found = f"{len(named)} column(s) and {len(listed)} model(s)"
        raise UsageError(
            f"compare: {found}; expected two columns or more, or runs, or two models that made columns",
            hint="clipdata compare TABLE BEFORE AFTER, or clipdata compare TABLE --runs A,B",
        )
    import clipdata as cd
    from clipdata.comparison import columns_of_models

    models = []
    for model in listed:
        terminal.say(f"loading {model}")
        models.append(cd.load_encoder(model).identity)
    return columns_of_models(table, models, listed)
