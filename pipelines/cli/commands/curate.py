"""`clipdata curate`: which rows filters keep, and the proof that they are worth training on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from clipdata.errors import GateFailedError, UsageError
from pipelines.cli.json_output import NUMBER, OBJECT, TEXT, WHOLE, listed, maybe, record
from pipelines.cli.listed_recipes import numbers_listed
from pipelines.cli.options import Device, Model, ReadOptions, Settings, TableArgument, parse_pairs
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb

if TYPE_CHECKING:
    from clipdata.lance_io.table import Table

_ARM = record(name=TEXT, rows=WHOLE, steps=WHOLE, runs=listed(TEXT))
_COMPARED = {"type": "object", "additionalProperties": OBJECT}
_PROOF = record(
    table=TEXT,
    version=WHOLE,
    where=maybe(TEXT),
    kept=TEXT,
    held_out=TEXT,
    objective=TEXT,
    seeds=listed(WHOLE),
    arms=listed(_ARM),
    figure=TEXT,
    verdict=TEXT,
    start={"type": "object", "additionalProperties": NUMBER},
    overlap=TEXT,
    against_all=_COMPARED,
    against_random=_COMPARED,
)
CURATED = record(
    table=TEXT,
    version=WHOLE,
    rows=WHOLE,
    kept=WHOLE,
    where=maybe(TEXT),
    condition=TEXT,
    stages=listed(OBJECT),
    proof=maybe(_PROOF),
)


@verb(
    "curate",
    found=CURATED,
    examples=[
        'clipdata curate contest.lance --keep "top_share(label_prob, 0.7)" --keep "quality.sharpness >= 100"',
        "clipdata curate pairs.lance --keep laion-2b-en",
        'clipdata curate contest.lance --keep "top_share(label_prob, 0.7)" --prove --out proof/ '
        "--set image_trunk=image_trunk",
    ],
)
def curate(
    terminal: Terminal,
    table: TableArgument,
    *,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            "--keep",
            help="Filter: an SQL condition, top_share(COLUMN, SHARE), at_least(COLUMN, NUMBER), at_most(…), or a "
            "published recipe such as laion-2b-en, datacomp-basic; applied in order. Repeatable.",
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option("--where", help="SQL condition of the rows to choose from; split = 'train' where there is one."),
    ] = None,
    prove: Annotated[
        bool,
        typer.Option("--prove", help="Train the same recipe on all of them, on those kept, and on as many at random."),
    ] = False,
    held_out: Annotated[
        str | None, typer.Option(help="SQL condition of the rows to measure on; split = 'test' by default.")
    ] = None,
    out: Annotated[str, typer.Option("--out", help="Folder of the runs of a proof.")] = "proof",
    seeds: Annotated[str, typer.Option(help="Seeds of a proof's trainings, such as 0,1,2.")] = "0,1,2",
    control: Annotated[bool, typer.Option(help="Whether a proof also trains on rows at random.")] = True,
    figure: Annotated[
        str | None, typer.Option(help="What a proof's verdict is about; the objective's first figure by default.")
    ] = None,
    must_help: Annotated[
        bool, typer.Option("--must-help", help="Exit with 7 unless the rows kept make the better model.")
    ] = False,
    model: Model = "starter",
    recipe: Annotated[str | None, typer.Option(help="Recipe of the trainings; as of train.")] = None,
    settings: Settings = None,
    device: Device = None,
    store: ReadOptions,
) -> None:
    """Show which rows filters keep, and prove by training that they make the better model."""
    import clipdata as cd
    from pipelines.cli.named_steps import config_named

    opened = store.open(table)
    if not prove:
        _refuse_idle(
            {
                "--held-out": held_out,
                "--figure": figure,
                "--recipe": recipe,
                "--set": settings,
                "--must-help": must_help,
            }
        )
    numbers = numbers_listed(seeds, "--seeds")
    where, held_out = _sides(opened, where, held_out, prove=prove)
    curated = cd.curate(opened, keep or [], where=where)
    if not prove:
        terminal.result(str(curated), curated.to_dict() | {"proof": None})
        return
    terminal.say(str(curated.funnel))
    config = config_named(curated.table, recipe, parse_pairs(settings))
    proof = cd.prove(
        curated,
        cd.load_encoder(model, device=device),
        config,
        held_out=str(held_out),
        out=out,
        seeds=numbers,
        control=control,
        figure=figure,
        progress=terminal,
    )
    terminal.result(str(proof), curated.to_dict() | {"proof": proof.to_dict()})
    if must_help and proof.verdict != "better":
        raise GateFailedError(f"the rows kept are to make the better model, and the verdict is: {proof.verdict}")


def _sides(table: Table, where: str | None, held_out: str | None, *, prove: bool) -> tuple[str | None, str | None]:
    """Rows to choose from and rows to measure on, by the table's split where nothing is said.

    Raises:
        UsageError: a proof has nothing to measure on.
    """
    has_split = "split" in table.schema.names
    where = where or ("split = 'train'" if has_split else None)
    held_out = held_out or ("split = 'test'" if has_split else None)
    if prove and held_out is None:
        raise UsageError(
            "a proof measures on rows that no training sees, and the table has no column 'split'",
            hint="--where CONDITION --held-out CONDITION; or make one: clipdata map TABLE pair-split split",
        )
    return where, held_out


def _refuse_idle(given: Mapping[str, object]) -> None:
    """Refuse options that say how to prove, where nothing is proven.

    Raises:
        UsageError: there are some.
    """
    if idle := [option for option, value in given.items() if value]:
        raise UsageError(f"{', '.join(idle)}: about a proof, and none is asked for", hint="add --prove")
