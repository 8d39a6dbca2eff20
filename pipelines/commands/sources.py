"""`clipdata ingest class-list|captions|urls|shards` and `clipdata export`: data as others lay it out."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

import typer

from pipelines.commands.ingesting import report
from pipelines.options import (
    Anonymous,
    AsJson,
    Into,
    MaxRejects,
    Quiet,
    RetryRejects,
    StorageOptions,
    Version,
    Where,
    examples,
    storage_of,
    version_of,
)
from pipelines.terminal import Terminal

sources = typer.Typer()
verbs = typer.Typer()

TextEncoding = Annotated[str, typer.Option("--encoding", help="Of the lists and captions: gb18030, big5, utf-16 …")]
FollowLinks = Annotated[
    bool, typer.Option("--follow-links", help="Take what links point to outside the folder (a hub's cache).")
]
ImagesArgument = Annotated[str, typer.Argument(help="Folder, or URL of a bucket's prefix.")]


@sources.command(
    name="class-list",
    epilog=examples("clipdata ingest class-list food/images --lists food/meta --into food.lance"),
)
def class_list(
    where: ImagesArgument,
    into: Into,
    lists: Annotated[
        str | None, typer.Option(help="Folder of train.txt, val.txt, test.txt; every image without it.")
    ] = None,
    split: Annotated[
        list[str] | None, typer.Option(help="name=FILE: the list of a split by another name; repeatable.")
    ] = None,
    encoding: TextEncoding = "utf-8",
    follow_links: FollowLinks = False,
    anonymous: Anonymous = False,
    storage_option: StorageOptions = None,
    retry_rejects: RetryRejects = False,
    max_rejects: MaxRejects = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Take in images in class folders, with the lists that split them: columns label, class_name, split."""
    import ingest
    from pipelines.named_steps import parse_pairs

    terminal = Terminal(as_json=as_json, quiet=quiet)
    done = ingest.from_class_list(
        where,
        parse_pairs(split) if split else lists,
        into=into,
        encoding=encoding,
        follow_links=follow_links,
        anonymous=anonymous,
        storage=storage_of(storage_option),
        retry_rejects=retry_rejects,
        max_rejects=max_rejects,
        progress=terminal,
    )
    report(terminal, done)


@sources.command(
    epilog=examples("clipdata ingest captions Flickr8k/Images Flickr8k/captions.txt --into flickr.lance"),
)
def captions(
    where: ImagesArgument,
    file: Annotated[
        str, typer.Argument(help="Captions: Flickr's image#k<TAB>text, COCO's or Karpathy's JSON, tables.")
    ],
    into: Into,
    rows: Annotated[str, typer.Option(help="One row an image with a list, or one row a caption.")] = "image",
    file_format: Annotated[
        str | None,
        typer.Option("--format", help="flickr, csv, jsonl, coco or karpathy, where the file does not show it."),
    ] = None,
    image_column: Annotated[str | None, typer.Option(help="Column of a table with the image's name.")] = None,
    caption_column: Annotated[
        list[str] | None, typer.Option(help="Column of a table with captions; repeatable.")
    ] = None,
    split: Annotated[
        list[str] | None, typer.Option(help="name=FILE that lists the images of a split; repeatable.")
    ] = None,
    encoding: TextEncoding = "utf-8",
    follow_links: FollowLinks = False,
    anonymous: Anonymous = False,
    storage_option: StorageOptions = None,
    retry_rejects: RetryRejects = False,
    max_rejects: MaxRejects = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Take in images with the captions that another file has for them."""
    import ingest
    from pipelines.named_steps import parse_pairs

    terminal = Terminal(as_json=as_json, quiet=quiet)
    wanted: Literal["image", "caption"] = "caption" if rows == "caption" else "image"
    done = ingest.from_captions(
        where,
        file,
        into=into,
        rows=wanted if rows in ("image", "caption") else rows,  # type: ignore[arg-type]
        file_format=file_format,
        splits=parse_pairs(split or []) or None,
        image_column=image_column,
        caption_columns=caption_column or (),
        encoding=encoding,
        follow_links=follow_links,
        anonymous=anonymous,
        storage=storage_of(storage_option),
        retry_rejects=retry_rejects,
        max_rejects=max_rejects,
        progress=terminal,
    )
    report(terminal, done)


@sources.command(epilog=examples("clipdata ingest urls pairs.csv --into pairs.lance"))
def urls(
    file: Annotated[str, typer.Argument(help="CSV, TSV, JSONL or parquet with a row for each image.")],
    into: Into,
    url: Annotated[str | None, typer.Option(help="Column of the URLs; url by default.")] = None,
    caption: Annotated[str | None, typer.Option(help="Column of the captions; text or caption by default.")] = None,
    filename: Annotated[str | None, typer.Option(help="Column of the file names; filename by default.")] = None,
    file_format: Annotated[str | None, typer.Option("--format", help="csv, tsv, jsonl or parquet.")] = None,
    encoding: Annotated[str, typer.Option(help="Of a text file, such as gb18030.")] = "utf-8",
    in_flight: Annotated[int | None, typer.Option(min=1, help="Requests at once; 64 by default.")] = None,
    per_host: Annotated[int | None, typer.Option(min=1, help="Requests at once to one host; 8.")] = None,
    delay: Annotated[float | None, typer.Option(min=0, help="Seconds between requests to one host; 0.")] = None,
    deadline: Annotated[float | None, typer.Option(help="Seconds for one download; 30.")] = None,
    retries: Annotated[int | None, typer.Option(min=0, help="Further tries after a passing fault; 2.")] = None,
    max_bytes: Annotated[int | None, typer.Option(min=1, help="Largest download; 16777216.")] = None,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Allow addresses of private networks and this machine.")
    ] = False,
    ignore_opt_out: Annotated[
        bool, typer.Option("--ignore-opt-out", help="Take images whose owners opted out of AI training.")
    ] = False,
    storage_option: StorageOptions = None,
    retry_rejects: RetryRejects = False,
    max_rejects: MaxRejects = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Download the images that a list of URLs names, politely and within limits."""
    import ingest

    terminal = Terminal(as_json=as_json, quiet=quiet)
    limits: dict[str, Any] = {
        "num_in_flight": in_flight,
        "num_per_host": per_host,
        "delay_s": delay,
        "deadline_s": deadline,
        "num_retries": retries,
        "max_bytes": max_bytes,
    }
    given = {name: limit for name, limit in limits.items() if limit is not None}
    done = ingest.from_urls(
        file,
        into=into,
        url=url,
        caption=caption,
        filename=filename,
        rules=ingest.DownloadRules(allow_private=allow_private, ignore_opt_out=ignore_opt_out, **given),
        file_format=file_format,
        encoding=encoding,
        storage=storage_of(storage_option),
        retry_rejects=retry_rejects,
        max_rejects=max_rejects,
        progress=terminal,
    )
    report(terminal, done)


@sources.command(epilog=examples("clipdata ingest shards 'gs://bucket/{00000..00099}.tar' --into pairs.lance"))
def shards(
    where: Annotated[list[str], typer.Argument(help="Tar shards: files, a folder, a glob, or {00000..00099}.tar.")],
    into: Into,
    anonymous: Anonymous = False,
    storage_option: StorageOptions = None,
    retry_rejects: RetryRejects = False,
    max_rejects: MaxRejects = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Take in WebDataset tar shards: image, txt and json of each sample."""
    import ingest

    terminal = Terminal(as_json=as_json, quiet=quiet)
    done = ingest.from_shards(
        where,
        into=into,
        anonymous=anonymous,
        storage=storage_of(storage_option),
        retry_rejects=retry_rejects,
        max_rejects=max_rejects,
        progress=terminal,
    )
    report(terminal, done)


@verbs.command(epilog=examples('clipdata export pairs.lance --out shards/ --where "clip_score > 0.28"'))
def export(
    table: Annotated[str, typer.Argument(help="Table: a path, or gs:// s3:// az:// URL.")],
    out: Annotated[str, typer.Option("--out", help="Folder or URL for the shards.")],
    where: Where = None,
    rows_per_shard: Annotated[int, typer.Option(help="Rows in a shard.")] = 1000,
    caption: Annotated[str | None, typer.Option(help="Column for the txt; caption or captions by default.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another export in that folder.")] = False,
    version: Version = None,
    storage_option: StorageOptions = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write rows as WebDataset tar shards, which open_clip streams and `ingest shards` takes in again."""
    import clipdata as cd
    import ingest

    terminal = Terminal(as_json=as_json, quiet=quiet)
    storage = storage_of(storage_option)
    opened = cd.open_table(table, version=version_of(version), storage=storage)
    done = ingest.export_shards(
        opened,
        out,
        where=where,
        rows_per_shard=rows_per_shard,
        caption=caption,
        overwrite=overwrite,
        storage=storage,
        progress=terminal,
    )
    terminal.result(str(done), asdict(done))
