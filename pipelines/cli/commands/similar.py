"""`clipdata similar`: what a model finds like what, among texts and pictures."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clipdata.errors import StorageError, UsageError
from pipelines.cli.json_output import NUMBER, TEXT, WHOLE, listed, record
from pipelines.cli.options import Device, Encoding, Model, ReadOptions, TableLayout
from pipelines.cli.terminal import Terminal
from pipelines.cli.typed_texts import texts_of
from pipelines.cli.verbs import verb

if TYPE_CHECKING:
    from clipdata.similarity.records import Kind, Similarity

_MATCH = record(place=WHOLE, name=TEXT, probability=NUMBER, cosine=NUMBER)
_RANKINGS = listed(record(place=WHOLE, name=TEXT, matches=listed(_MATCH)))
_KINDS = ("image-text", "text-text", "image-image")
SIMILAR = record(
    model=TEXT,
    identity=TEXT,
    logit_scale=NUMBER,
    texts=listed(TEXT),
    images=listed(TEXT),
    tables=record(_KINDS, **dict.fromkeys(_KINDS, _RANKINGS)),
    refused={"type": "object", "additionalProperties": TEXT},
    notes=listed(TEXT),
)


@verb(
    "similar",
    found=SIMILAR,
    examples=[
        "clipdata similar --model runs/pairs --texts sentences.txt --images photos/",
        "clipdata similar --model runs/pairs --texts 小猪 佩奇 足球场 --csv likeness.csv",
        "clipdata similar --images a.png b.png c.png --top 1 --json",
    ],
)
def similar(
    terminal: Terminal,
    *,
    model: Model = "starter",
    texts: Annotated[
        list[str] | None, typer.Option("--texts", help="Texts, or text files with one a line; several may follow.")
    ] = None,
    images: Annotated[
        list[str] | None, typer.Option("--images", help="Pictures, folders, or URLs of them; several may follow.")
    ] = None,
    top: Annotated[int, typer.Option("--top", min=0, help="Matches to show of each; 0 shows all.")] = 5,
    csv_file: Annotated[
        str | None, typer.Option("--csv", help="File to write the same matches to, a line each.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace that file.")] = False,
    encoding: Encoding = "utf-8",
    device: Device = None,
    layout: TableLayout,
    store: ReadOptions,
) -> None:
    """Show what a model finds alike: pictures and texts, texts among themselves, pictures among themselves.

    The tables follow from what is given. Each row is a softmax over its candidates at the model's own scale; a text or
    picture is no candidate of itself.
    """
    if csv_file is not None and os.path.lexists(csv_file) and not overwrite:
        raise UsageError(f"{csv_file} is there already", hint="--overwrite replaces it, or name another file")
    sentences = [text for given in texts or [] for text in texts_of(given, encoding)]
    import clipdata as cd

    found = cd.similar(
        cd.load_encoder(model, device=device),
        texts=sentences,
        images=images or [],
        top=top or None,
        storage=store.storage,
        progress=terminal,
    )
    if csv_file is not None:
        _write_csv(found, Path(csv_file))
    blocks = [f"{found.title(kind)}\n{_shown(terminal, found, kind, layout)}" for kind in found.tables]
    remarks = "\n".join(found.remarks())
    terminal.result("\n\n".join([*blocks, remarks] if remarks else blocks), found.to_dict())


def _shown(terminal: Terminal, found: Similarity, kind: Kind, layout: TableLayout) -> str:
    from clipdata.similarity.records import shown_probability

    left, right = kind.split("-")
    folder = _folder_of(found.images)
    lines = []
    for ranking in found.tables[kind]:
        name = ranking.name.removeprefix(folder) if left == "image" else ranking.name
        for rank, match in enumerate(ranking.matches):
            other = match.name.removeprefix(folder) if right == "image" else match.name
            shown = name if not rank or layout.vertical else ""
            lines.append([shown, other, shown_probability(match.probability), f"{match.cosine:.4f}"])
    header = [left, f"nearest {right}" if left == right else right, "probability", "cosine"]
    return terminal.table(lines, header, full=layout.full, vertical=layout.vertical)


def _folder_of(places: Sequence[str]) -> str:
    """What all places begin with, up to their last common folder: left out where room is short."""
    shared = os.path.commonprefix(places)  # noqa: RUF071 - URLs too, cut back to a folder
    return shared[: shared.rfind("/") + 1]


def _write_csv(found: Similarity, file: Path) -> None:
    names = ["table", "place", "name", "rank", "match_place", "match", "probability", "cosine"]
    aside = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        with open(aside, "w", encoding="utf-8", errors="backslashreplace", newline="") as opened:
            writer = csv.DictWriter(opened, names)
            writer.writeheader()
            writer.writerows(found.records())
        os.replace(aside, file)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise StorageError(f"{file} cannot be written: {error.strerror}") from error
