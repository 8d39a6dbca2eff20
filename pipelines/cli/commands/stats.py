"""`clipdata stats`: what a table holds."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.json_output import NUMBER, OBJECT, TEXT, WHOLE, counts, listed, maybe, record
from pipelines.cli.options import VersionOptions, Where, names_in
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb

_DISTRIBUTION = record(
    count=WHOLE,
    mean=NUMBER,
    std=maybe(NUMBER),
    quantiles={"type": "object", "additionalProperties": NUMBER},
    edges=listed(NUMBER),
    counts=listed(WHOLE),
    rank_error=NUMBER,
)
_COLUMN = record(
    name=TEXT,
    type=TEXT,
    nulls=maybe(WHOLE),
    num_bytes=maybe(WHOLE),
    made_by=maybe(TEXT),
    distinct=maybe(WHOLE),
    at_least=WHOLE,
    common=listed(record(value=TEXT, count=WHOLE)),
    common_error=WHOLE,
    numbers=maybe(_DISTRIBUTION),
    lengths=maybe(_DISTRIBUTION),
    characters=maybe(_DISTRIBUTION),
    not_finite=WHOLE,
    empty=WHOLE,
    earliest=maybe(TEXT),
    latest=maybe(TEXT),
)
FOUND = record(
    table=TEXT,
    version=maybe(WHOLE),
    where=maybe(TEXT),
    num_rows=WHOLE,
    num_bytes=maybe(WHOLE),
    columns=listed(_COLUMN),
    splits=listed(record(column=TEXT, sides=counts(), classes=maybe(TEXT), shares=OBJECT)),
    aspect=maybe(_DISTRIBUTION),
    refused=counts(),
    stale=listed(TEXT),
    layout=maybe(TEXT),
    seconds=NUMBER,
)


@verb(
    "stats",
    found=FOUND,
    examples=[
        "clipdata stats contest.lance",
        "clipdata stats captions.parquet",
        "clipdata stats contest.lance --where \"split = 'test'\" --columns caption,label",
    ],
)
def stats(
    terminal: Terminal,
    table: Annotated[str, typer.Argument(help="Table: a path, or gs:// s3:// az:// URL; or a Parquet file.")],
    *,
    where: Where = None,
    columns: Annotated[str | None, typer.Option(help="Columns to tell of, such as a,b; all by default.")] = None,
    store: VersionOptions,
) -> None:
    """Tell what a table or a Parquet file holds: nulls, sizes, distributions, most common values, splits, refusals."""
    import clipdata as cd

    opened = store.open(table) if store.version is not None else table
    found = cd.stats(opened, where=where, columns=names_in(columns), storage=store.storage, progress=terminal)
    terminal.result(str(found), found.to_dict())
