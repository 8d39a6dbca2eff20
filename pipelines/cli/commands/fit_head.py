"""`clipdata fit-head`: a classifier on a column of embeddings."""

from __future__ import annotations

from typing import Annotated

import typer

from clipdata.hints import typed
from pipelines.cli.json_output import OBJECT, TEXT, record
from pipelines.cli.options import Device, Model, ReadOptions, TableArgument, Where
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb

FITTED = record(
    path=TEXT,
    identity=TEXT,
    classes={"type": "array", "items": TEXT},
    model=TEXT,
    model_name=TEXT,
    trained_on={"type": "array", "items": TEXT},
    fitted=OBJECT,
)


@verb(
    "fit-head",
    found=FITTED,
    examples=[
        "clipdata fit-head animals.lance --embedding embedding --label class_name --model starter --out heads/animals "
        "--where \"split = 'train'\"",
        "clipdata map animals.lance head-scores probabilities -p head=heads/animals",
    ],
)
def fit_head(
    terminal: Terminal,
    table: TableArgument,
    *,
    out: Annotated[str, typer.Option("--out", help="Folder of the head; one that is there is replaced.")],
    embedding: Annotated[str, typer.Option(help="Column of the model's image embeddings.")] = "embedding",
    label: Annotated[str, typer.Option(help="Column of class names, or of their places.")] = "class_name",
    model: Model = "starter",
    classes: Annotated[
        str | None, typer.Option(help="File with the names of all classes, one a line; the column's by default.")
    ] = None,
    templates: Annotated[
        str, typer.Option(help="Prompt with braces for the class; several as a JSON list, or a file.")
    ] = "a photo of {}",
    where: Where = None,
    device: Device = None,
    store: ReadOptions,
) -> None:
    """Fit a classifier on embeddings, from the classes' prompts and the rows' labels; no picture is read."""
    import clipdata as cd

    head = cd.fit_head(
        store.open(table),
        cd.load_encoder(model, device=device),
        embedding=embedding,
        label=label,
        classes=classes,
        templates=templates,
        where=where,
    ).save(out)
    made_with = f"-p {typed(f'head={out}')} -p {typed(f'embedding={embedding}')}"
    terminal.hint(f"clipdata map {typed(table)} head-scores probabilities {made_with}")
    terminal.result(f"{head}, in {out}", {"path": out, **head.to_dict()})
