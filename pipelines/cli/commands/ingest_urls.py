"""`clipdata ingest urls`: the images that a list of URLs names."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.options import Encoding, IngestOptions, names_in
from pipelines.cli.reports import INGESTED, report_ingest
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb


@verb("ingest urls", found=INGESTED, examples=["clipdata ingest urls pairs.csv --into pairs.lance"])
def ingest_urls(
    terminal: Terminal,
    file: Annotated[str, typer.Argument(help="CSV, TSV, JSONL or parquet with a row for each image.")],
    *,
    url: Annotated[str | None, typer.Option(help="Column of the URLs; url by default.")] = None,
    caption: Annotated[str | None, typer.Option(help="Column of the captions; text or caption by default.")] = None,
    filename: Annotated[str | None, typer.Option(help="Column of the file names; filename by default.")] = None,
    file_format: Annotated[str | None, typer.Option("--format", help="csv, tsv, jsonl or parquet.")] = None,
    encoding: Encoding = "utf-8",
    delimiter: Annotated[
        str | None, typer.Option(help="Character between the columns of a text file, such as ';', or tab.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option(help="Names for the columns of a file without a header, such as caption,url.")
    ] = None,
    in_flight: Annotated[int | None, typer.Option(min=1, max=10_000, help="Requests at once; 64 by default.")] = None,
    per_host: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="Requests at once to one host; 8 by default.")
    ] = None,
    delay: Annotated[
        float | None, typer.Option(min=0, max=3_600, help="Seconds between requests to one host; 0 by default.")
    ] = None,
    deadline: Annotated[
        float | None, typer.Option(min=0.001, max=86_400, help="Seconds for one download; 30 by default.")
    ] = None,
    retries: Annotated[
        int | None, typer.Option(min=0, max=1_000, help="Further tries after a passing fault; 2 by default.")
    ] = None,
    max_bytes: Annotated[
        int | None, typer.Option(min=1, help="Bytes of the largest download; 16777216 by default.")
    ] = None,
    allow_private: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST", help="A private host, address or network that URLs may lead to; repeatable."),
    ] = None,
    ignore_opt_out: Annotated[
        bool, typer.Option("--ignore-opt-out", help="Take images whose owners opted out of AI training.")
    ] = False,
    shared: IngestOptions,
) -> None:
    """Download the images that a list of URLs names, politely and within limits."""
    import ingest

    limits = {
        "num_in_flight": in_flight,
        "num_per_host": per_host,
        "delay_s": delay,
        "deadline_s": deadline,
        "num_retries": retries,
        "max_bytes": max_bytes,
    }
    given = {name: limit for name, limit in limits.items() if limit is not None}
    rules = ingest.DownloadRules(allow_private=tuple(allow_private or ()), ignore_opt_out=ignore_opt_out, **given)  # type: ignore[arg-type]
    done = ingest.from_urls(
        file,
        url=url,
        caption=caption,
        filename=filename,
        rules=rules,
        file_format=file_format,
        encoding=encoding,
        delimiter=delimiter,
        columns=names_in(columns) or (),
        **shared.arguments(terminal),
    )
    report_ingest(terminal, done, shared.into)
