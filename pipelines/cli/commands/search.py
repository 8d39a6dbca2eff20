"""`clipdata search`: rows of a table that answer texts, pictures, other rows, or words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.json_output import ANYTHING, NUMBER, TEXT, WHOLE, counts, listed, maybe, record
from pipelines.cli.options import Device, TableArgument, TableLayout, VersionOptions, Where, names_in
from pipelines.cli.terminal import Terminal
from pipelines.cli.typed_texts import sentence
from pipelines.cli.verbs import verb

if TYPE_CHECKING:
    from clipdata.similarity.found import Answer

_HIT = record(
    rank=WHOLE,
    row=TEXT,
    cosine=maybe(NUMBER),
    distance=maybe(NUMBER),
    score=maybe(NUMBER),
    values={"type": "object", "additionalProperties": ANYTHING},
)
_WAY = record(column=TEXT, index=maybe(TEXT), rows=WHOLE, outside=WHOLE, not_searched=counts(), why=maybe(TEXT))
FOUND = record(
    table=TEXT,
    version=WHOLE,
    model=maybe(TEXT),
    identity=maybe(TEXT),
    ways=listed(_WAY),
    answers=listed(record(by=TEXT, query=TEXT, words=maybe(TEXT), hits=listed(_HIT))),
    notes=listed(TEXT),
)


@verb(
    "search",
    found=FOUND,
    examples=[
        'clipdata search contest.lance --text "a red house" --where "split = \'train\'"',
        "clipdata search contest.lance --image photo.jpg --top 5 --json",
        "clipdata search contest.lance --like images/17.jpg --distinct filename",
        "clipdata search contest.lance --words 小猪 --words-column caption",
        'clipdata search contest.lance --text "a house" --words red',
    ],
)
def search(
    terminal: Terminal,
    table: TableArgument,
    *,
    text: Annotated[list[str] | None, typer.Option("--text", help="Text to search by; repeatable.")] = None,
    image: Annotated[
        list[str] | None, typer.Option("--image", help="Picture, folder or URL to search by; repeatable.")
    ] = None,
    like: Annotated[
        list[str] | None,
        typer.Option("--like", help="Row to search by: its key, its picture's name, or #NUMBER; repeatable."),
    ] = None,
    words: Annotated[
        list[str] | None,
        typer.Option("--words", help="Words that texts hold; beside other queries both orders are fused; repeatable."),
    ] = None,
    column: Annotated[
        str | None,
        typer.Option("--column", help="Column of vectors to search; by default the one that a known model made."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Model that made the column; by default the one that its lineage names."),
    ] = None,
    where: Where = None,
    top: Annotated[int, typer.Option("--top", min=1, help="Rows of each query.")] = 10,
    exact: Annotated[bool, typer.Option("--exact", help="Read every row, also where there is an index.")] = False,
    distinct: Annotated[
        str | None,
        typer.Option("--distinct", help="Column of whose equal values only the best row counts: filename, sha256, …"),
    ] = None,
    like_column: Annotated[
        str | None, typer.Option("--like-column", help="Column of the vectors of --like, where it is another one.")
    ] = None,
    words_column: Annotated[
        str | None, typer.Option("--words-column", help="Column of texts or lists of texts that --words looks in.")
    ] = None,
    columns: Annotated[str | None, typer.Option("--columns", help="Columns to show, such as a,b.")] = None,
    device: Device = None,
    layout: TableLayout,
    store: VersionOptions,
) -> None:
    """Find the rows that answer texts, pictures, other rows of the table, or words.

    Texts and pictures are held against a column of embeddings by cosine, with the model that its lineage names. No
    picture of the table is read. `clipdata index` makes what large tables are searched by.
    """
    import clipdata as cd

    found = cd.search(
        store.open(table),
        text=[sentence(one) for one in text or []],
        image=image or [],
        like=like or [],
        words=words or [],
        column=column,
        model=model,
        where=where,
        top=top,
        exact=exact,
        distinct=distinct,
        like_column=like_column,
        words_column=words_column,
        columns=names_in(columns),
        device=device,
        storage=store.storage,
        progress=terminal,
    )
    terminal.result("\n\n".join(_shown(terminal, one, layout) for one in found.answers), found.to_dict())
    for remark in found.remarks():
        terminal.say(remark)


def _shown(terminal: Terminal, answer: Answer, layout: TableLayout) -> str:
    from clipdata.printable import printable

    beside = f" with the words {answer.words!r}" if answer.words is not None else ""
    title = printable(f"{answer.by}: {answer.query}{beside}")
    if not answer.hits:
        return f"{title}\nnothing"
    figures = [name for name in ("cosine", "score") if any(getattr(hit, name) is not None for hit in answer.hits)]
    named = list(answer.hits[0].values)
    lines = [
        [str(hit.rank), *(_number(getattr(hit, name)) for name in figures), hit.row, *map(_value, hit.values.values())]
        for hit in answer.hits
    ]
    header = ["rank", *figures, "row", *named]
    return f"{title}\n{terminal.table(lines, header, full=layout.full, vertical=layout.vertical)}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _value(value: object) -> str:
    if isinstance(value, list):
        return " | ".join(map(str, value))
    return "" if value is None else str(value)
