"""One function for each kind of source, with the words of the command line."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from clipdata.storage import Storage, is_remote, redact
from ingest.caption_files import CaptionFiles
from ingest.chains import ChainRows
from ingest.class_lists import ClassLists
from ingest.download_rules import DownloadRules
from ingest.embedded_images import EmbeddedImages, image_column
from ingest.image_files import ImageFiles
from ingest.job import ingest
from ingest.outcome import Ingested
from ingest.parquet_files import ParquetFiles
from ingest.tar_shards import TarShards
from ingest.url_lists import UrlList

if TYPE_CHECKING:
    from datachain import DataChain


def source_storage(storage: Storage | None, *, anonymous: bool) -> Storage:
    """Settings for the source: the table's own, without credentials when it is public."""
    given = storage or Storage()
    return Storage(anonymous=anonymous or given.anonymous, options=given.options)


def from_images(
    images: str | os.PathLike[str],
    *,
    into: str | os.PathLike[str],
    reference: bool = False,
    anonymous: bool = False,
    storage: Storage | None = None,
    **options: Any,
) -> Ingested:
    """Take in the images under a folder or a bucket's prefix.

    Args:
        images: folder or URL, searched with everything inside it.
        into: location of the table.
        reference: leave the bytes where they are: `image` stays null, and is read from `uri` whenever it is needed,
            with the storage that the table is opened with.
        anonymous: the source is public; the table is reached with `storage` as it is.
        storage: how to reach both.
        options: of `ingest.job.ingest` (`retry_rejects`, `max_rejects`, `progress`).
    """
    source = ImageFiles(images, reference=reference, storage=source_storage(storage, anonymous=anonymous))
    if reference and not is_remote(into):  # the table's handle is what reads the images later
        storage = source.storage
    return ingest(source, into, storage=storage, parameters={"reference": reference}, **options)


def from_parquet(
    parquet: str | os.PathLike[str],
    *,
    into: str | os.PathLike[str],
    required: str | None = "filename",
    anonymous: bool = False,
    storage: Storage | None = None,
    **options: Any,
) -> Ingested:
    """Take in the rows of parquet, CSV, TSV or JSONL files.

    Files that hold the images themselves (a column `{bytes, path}`, as Hugging Face `datasets` writes it) become image
    rows with the other columns; all others metadata rows.

    Args:
        parquet: a file, a folder or a glob.
        into: location of the table.
        required: column without which a metadata row is refused.
        anonymous: the source is public.
        storage: how to reach both.
        options: of `ingest.job.ingest`.
    """
    reached = source_storage(storage, anonymous=anonymous)
    plain = ParquetFiles(parquet, required=None, storage=reached).schema()
    if image_column(plain) is not None:
        return ingest(EmbeddedImages(parquet, storage=reached), into, storage=storage, **options)
    source = ParquetFiles(parquet, required=required, storage=reached)
    return ingest(source, into, storage=storage, parameters={"required": required}, **options)


def from_class_list(
    images: str | os.PathLike[str],
    lists: Mapping[str, str] | str | os.PathLike[str] | None = None,
    *,
    into: str | os.PathLike[str],
    anonymous: bool = False,
    storage: Storage | None = None,
    **options: Any,
) -> Ingested:
    """Take in images in class folders, with the lists that split them.

    Args:
        images: folder of the class folders.
        lists: folder of `train.txt`, `val.txt`, `test.txt`, or a list's location by split; None takes every image.
        into: location of the table.
        anonymous: the source is public.
        storage: how to reach both.
        options: of `ingest.job.ingest`.
    """
    source = ClassLists(images, lists, storage=source_storage(storage, anonymous=anonymous))
    named = {split: redact(where) for split, where in source.lists.items()}
    return ingest(source, into, storage=storage, parameters={"lists": named}, **options)


def from_captions(
    images: str | os.PathLike[str],
    captions: str | os.PathLike[str],
    *,
    into: str | os.PathLike[str],
    rows: Literal["image", "caption"] = "image",
    file_format: str | None = None,
    splits: Mapping[str, str] | None = None,
    anonymous: bool = False,
    storage: Storage | None = None,
    **options: Any,
) -> Ingested:
    """Take in images with captions from a Flickr8k, COCO or CSV file.

    Args:
        images: folder of the images.
        captions: file of captions.
        into: location of the table.
        rows: one row an "image" with a list of captions, or one row a "caption".
        file_format: "flickr", "csv" or "coco"; by default what the file looks like.
        splits: for each split a file of image names.
        anonymous: the source is public.
        storage: how to reach all.
        options: of `ingest.job.ingest`.
    """
    reached = source_storage(storage, anonymous=anonymous)
    source = CaptionFiles(images, captions, rows=rows, file_format=file_format, splits=splits, storage=reached)
    parameters = {"captions": redact(source.captions), "rows": rows}
    return ingest(source, into, storage=storage, parameters=parameters, **options)


def from_shards(
    shards: str | os.PathLike[str] | Sequence[str],
    *,
    into: str | os.PathLike[str],
    columns: pa.Schema | None = None,
    anonymous: bool = False,
    storage: Storage | None = None,
    **options: Any,
) -> Ingested:
    """Take in WebDataset tar shards.

    Args:
        shards: a shard, a folder, a glob, a pattern such as `{00000..00099}.tar`, or several.
        into: location of the table.
        columns: JSON fields that become columns; by default those that keep one type.
        anonymous: the source is public.
        storage: how to reach both.
        options: of `ingest.job.ingest`.
    """
    source = TarShards(shards, columns=columns, storage=source_storage(storage, anonymous=anonymous))
    return ingest(source, into, storage=storage, **options)


def from_urls(
    urls: str | os.PathLike[str],
    *,
    into: str | os.PathLike[str],
    url: str | None = None,
    caption: str | None = None,
    filename: str | None = None,
    rules: DownloadRules | None = None,
    file_format: str | None = None,
    encoding: str = "utf-8",
    storage: Storage | None = None,
    **options: Any,
) -> Ingested:
    """Download the images that a list of URLs names.

    Args:
        urls: CSV, TSV, JSONL or parquet file with a row for each image.
        into: location of the table.
        url: column of the URLs.
        caption: column of the captions.
        filename: column of the file names, which become the keys.
        rules: what a download may cost, and where it may lead.
        file_format: "csv", "tsv", "jsonl" or "parquet", where the suffix does not say.
        encoding: of a text file, such as "gb18030".
        storage: how to reach the list and the table.
        options: of `ingest.job.ingest`.
    """
    source = UrlList(
        urls,
        url=url,
        caption=caption,
        filename=filename,
        rules=rules,
        file_format=file_format,
        encoding=encoding,
        storage=storage,
    )
    return ingest(source, into, storage=storage, **options)


def from_chain(
    chain: DataChain, *, into: str | os.PathLike[str], storage: Storage | None = None, **options: Any
) -> Ingested:
    """Take in the rows of a DataChain chain: its files as image rows, its other signals as columns.

    Args:
        chain: any chain, after its own filters, merges and maps; its files are read with its own credentials.
        into: location of the table.
        storage: how to reach the table.
        options: of `ingest.job.ingest`.
    """
    return ingest(ChainRows(chain), into, storage=storage, **options)
