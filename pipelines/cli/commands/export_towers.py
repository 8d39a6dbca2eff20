"""`clipdata export-towers`: a model's towers for transformers and timm."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from pipelines.cli.json_output import TEXT, record
from pipelines.cli.options import Overwrite
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb

_BY_NAME = {"type": "object", "additionalProperties": TEXT}
TOWERS = record(path=TEXT, opens=_BY_NAME, not_written=_BY_NAME, notes=_BY_NAME)


@verb(
    "export-towers",
    found=TOWERS,
    examples=["clipdata export-towers runs/mine --out towers/"],
)
def export_towers(
    terminal: Terminal,
    model: Annotated[str, typer.Argument(help="starter, ViT-B-32/openai, hf-hub:…, local-dir:…, or a run's folder.")],
    *,
    out: Annotated[str, typer.Option("--out", help="Folder for vision/, text/ and whole/.")],
    overwrite: Overwrite = False,
) -> None:
    """Write a model's towers so that transformers and timm open each by itself, or say why one cannot be."""
    import clipdata as cd

    done = cd.export_towers(cd.load_encoder(model, device="cpu"), out, overwrite=overwrite)
    terminal.result(str(done), asdict(done))
