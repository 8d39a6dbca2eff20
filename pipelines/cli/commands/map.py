"""`clipdata map`: a column of what a step makes."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.field_help import steps_help
from pipelines.cli.json_output import FLAG, NUMBER, OBJECT, TEXT, WHOLE, counts, listed, maybe, record
from pipelines.cli.next_command import next_command
from pipelines.cli.options import (
    Device,
    DryRun,
    EngineOptions,
    Overwrite,
    StorageOptions,
    TableArgument,
    count_or_share,
    parse_pairs,
)
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb

MAPPED = record(
    ("stale", "reasons"),
    column=TEXT,
    computed=WHOLE,
    failed=counts(),
    kept=WHOLE,
    waiting=WHOLE,
    version=WHOLE,
    seconds=NUMBER,
    notes=OBJECT,
    failed_before=WHOLE,
    pending=WHOLE,
    dry_run=FLAG,
    read_bytes=counts(),
    row_s=maybe(NUMBER),
    estimate_s=maybe(NUMBER),
    stale=FLAG,
    reasons=listed(TEXT),
)


@verb(
    "map",
    found=MAPPED,
    more_help=steps_help,
    examples=[
        "clipdata map contest.lance image-trunk image_trunk --model starter",
        "clipdata map contest.lance choice-scores scores --model starter -p trunk=image_trunk",
        "clipdata map contest.lance pair-score pair_score --model starter -p text=caption",
        "clipdata map contest.lance label-index label_ind -p label=label",
        "clipdata map contest.lance class-scores class_scores --model starter -p classes=classes.txt",
        "clipdata map contest.lance drawn-choices caption_choices -p text=caption -p num_choices=10",
        "clipdata map contest.lance pick label_prob -p values=scores -p index=label_ind",
        "clipdata map contest.lance perceptual-hash perceptual_hash",
        "clipdata map contest.lance near-duplicates near_duplicates -p radius=8",
        "clipdata map contest.lance best-of-cluster kept -p cluster=near_duplicates",
        "clipdata map contest.lance image-embedding vector -m starter --where \"split = 'test'\" --limit 1000",
        "clipdata map contest.lance my_steps.py:sharpness sharpness",
        "clipdata map s3://bucket/contest.lance image-trunk image_trunk -m starter --engine ray -E workers=4 -E gpus=1",
    ],
)
def map_(
    terminal: Terminal,
    table: TableArgument,
    step: Annotated[str, typer.Argument(help="A step's name, or FILE.py:function for your own.")],
    column: Annotated[str, typer.Argument(help="Column to fill.")],
    *,
    model: Annotated[str | None, typer.Option("--model", "-m", help="Model of the steps that need one.")] = None,
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", help="key=value of the step; repeatable.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only say whether the column is up to date, by exit code 0 or 7.")
    ] = False,
    overwrite: Overwrite = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Compute rows that failed before too.")] = False,
    where: Annotated[
        str | None, typer.Option(help="Compute only rows that meet this SQL condition; the rest stay for the next run.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Compute so many rows at most; the rest stay for the next run.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Most rows the step gets at once; fewer where rows are large.")
    ] = None,
    dry_run: DryRun = False,
    max_failed: Annotated[
        str | None,
        typer.Option(
            "--max-failed", help="Exit with 6 when more rows fail: a number, or a share such as 0.1; any by default."
        ),
    ] = None,
    device: Device = None,
    engine: EngineOptions,
    store: StorageOptions,
) -> None:
    """Fill a column with what a step makes of each row, where it is null."""
    import clipdata as cd
    from pipelines.cli.named_steps import build_step, columns_told

    bound = count_or_share(max_failed, "--max-failed")
    opened = cd.open_table(table, storage=store.storage)
    given = parse_pairs(parameter)
    with columns_told(step, given, opened):
        built = build_step(
            step, given, model=model, device=device, say=terminal.say, table=opened, column=column, anew=overwrite
        )
        if check:
            checked = cd.check_column(opened, built, column)
            terminal.result(str(checked), checked.to_dict())
            checked.hold()
            return
        done = cd.map_column(
            opened,
            built,
            column,
            overwrite=overwrite,
            retry_failed=retry_failed,
            where=where,
            limit=limit,
            dry_run=dry_run,
            batch_rows=batch_size,
            engine=engine.make(),
            progress=terminal,
        )
    terminal.result(str(done), done.to_dict())
    done.hold(max_failed=bound)
    if not done.dry_run:
        terminal.hint(next_command(opened, table))
