"""`clipdata evaluate`: a model's figures on the rows of a table."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.json_output import NUMBER, OBJECT, TEXT, WHOLE, counts, maybe, record
from pipelines.cli.options import Device, Model, ReadOptions, RowsSample, Seed, TableArgument, Where, parse_pairs
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb

EVALUATED = record(
    objective=OBJECT,
    model=record(name=TEXT, identity=TEXT),
    table=record(uri=TEXT, version=WHOLE, where=maybe(TEXT)),
    rows=WHOLE,
    metrics={"type": "object", "additionalProperties": maybe(NUMBER)},
    more=OBJECT,
    refused=counts(),
    rows_trained_on=WHOLE,
    written=maybe(TEXT),
)


@verb(
    "evaluate",
    found=EVALUATED,
    examples=[
        "clipdata evaluate contest.lance --model starter --where \"split = 'test'\"",
        "clipdata evaluate flickr.lance --model runs/x --set objective=multi_positive --set text=captions",
        "clipdata evaluate animals.lance --model starter --set objective=class_prompts --set label=class_name "
        '--set templates="a photo of a {}, a kind of animal"',
    ],
)
def evaluate(
    terminal: Terminal,
    table: TableArgument,
    *,
    model: Model = "starter",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", "-s", help="objective=NAME, and key=value of its fields; by the table's columns by default."
        ),
    ] = None,
    where: Where = None,
    sample: RowsSample = None,
    seed: Seed = 0,
    image: Annotated[str, typer.Option(help="Column of pictures.")] = "image",
    trunk: Annotated[
        str | None, typer.Option(help="Column of this model's image trunk, read instead of the pictures.")
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="File with the names of all classes, one a line, for class_prompts.")
    ] = None,
    write: Annotated[
        str | None, typer.Option("--write", help="Also fill a column with each row's scores, for compare.")
    ] = None,
    device: Device = None,
    store: ReadOptions,
) -> None:
    """Measure a model: recall of captions and pictures, the right one of several captions, or classes."""
    import clipdata as cd
    from clipdata.steps.class_prompts import class_names
    from clipdata.training.objectives import objective_with
    from clipdata.training.scoring import scores_of

    opened = store.open(table)
    named = {"classes": tuple(map(str, class_names(classes, asker="evaluate")))} if classes is not None else {}
    objective = objective_with(opened, cd.TrainConfig.parse_settings(parse_pairs(settings)) | named)
    encoder = cd.load_encoder(model, device=device)
    done = cd.evaluate(
        opened,
        encoder,
        objective,
        where=where,
        sample=sample,
        seed=seed,
        image=image,
        image_trunk=trunk,
        progress=terminal,
    )
    if write is not None:
        step = scores_of(encoder, done.objective, opened.schema, image=image, trunk=trunk)
        terminal.say(str(cd.map_column(opened, step, write, progress=terminal)))
    terminal.result(str(done), done.to_dict() | {"written": write})
