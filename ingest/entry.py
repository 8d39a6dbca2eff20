"""One function for each kind of source, with the words of the command line."""

from __future__ import annotations

import os
from typing import Any

from clipdata.storage import Storage
from ingest.image_files import ImageFiles
from ingest.job import Ingested, ingest
from ingest.parquet_files import ParquetFiles


def source_storage(storage: Storage | None, *, anonymous: bool) -> Storage:
    """Settings for the source: the table's own, without credentials when it is public."""
    given = storage or Storage()
    return Storage(anonymous=anonymous or given.anonymous, options=given.options)


def from_images(
    images: str | os.PathLike[str],
    *,
    into: str | os.PathLike[str],
    anonymous: bool = False,
    storage: Storage | None = None,
    **options: Any,
) -> Ingested:
    """Take in the images under a folder or a bucket's prefix.

    Args:
        images: folder or URL, searched with everything inside it.
        into: location of the table.
        anonymous: the source is public; the table is reached with `storage` as it is.
        storage: how to reach both.
        options: of `ingest.job.ingest` (`retry_rejects`, `max_rejects`, `progress`).
    """
    source = ImageFiles(images, storage=source_storage(storage, anonymous=anonymous))
    return ingest(source, into, storage=storage, **options)


def from_parquet(
    parquet: str | os.PathLike[str],
    *,
    into: str | os.PathLike[str],
    required: str | None = "filename",
    anonymous: bool = False,
    storage: Storage | None = None,
    **options: Any,
) -> Ingested:
    """Take in the rows of parquet files.

    Args:
        parquet: a file, a folder or a glob.
        into: location of the table.
        required: column without which a row is refused.
        anonymous: the source is public.
        storage: how to reach both.
        options: of `ingest.job.ingest`.
    """
    source = ParquetFiles(parquet, required=required, storage=source_storage(storage, anonymous=anonymous))
    return ingest(source, into, storage=storage, parameters={"required": required}, **options)
