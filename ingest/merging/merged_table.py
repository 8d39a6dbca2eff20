"""Merge: join a table of images with a table of metadata into one that is trained and scored on.

One output row for each metadata row, sorted so that the rows of one image are neighbours; `group=True` makes one row
an image instead, with lists. The key of a merged row is a digest of the image's path and the metadata row; so merging
again after either side changed writes the new and changed rows only, and what was derived from the others stays.

The table remembers its pair. Rows go only when the same two tables no longer give them; what would remove more than
that is refused until it is asked for. Of two merges at once, the one of the newer sides decides what the table holds.
"""

from __future__ import annotations

import os

from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.progress import Progress, Silent
from clipdata.storage import Storage, absolute
from ingest.merging.job import MergeJob
from ingest.merging.objections import Asked
from ingest.merging.outcome import Merged
from ingest.updating.sampling import Sampling


def merge(
    images: AnyTable,
    metadata: AnyTable,
    *,
    into: str | os.PathLike[str],
    on: str = "filename",
    metadata_on: str | None = None,
    group: bool = False,
    copy_images: bool | None = None,
    yes: bool = False,
    limit: int | None = None,
    sample: int | None = None,
    seed: int = 0,
    storage: Storage | None = None,
    progress: Progress | None = None,
) -> Table:
    """Join images and metadata; see `merge_report` for the counts as well.

    Returns:
        The merged table, at the version that holds the rows.
    """
    return merge_report(
        images,
        metadata,
        into=into,
        on=on,
        metadata_on=metadata_on,
        group=group,
        copy_images=copy_images,
        yes=yes,
        limit=limit,
        sample=sample,
        seed=seed,
        storage=storage,
        progress=progress,
    ).table


def merge_report(
    images: AnyTable,
    metadata: AnyTable,
    *,
    into: str | os.PathLike[str],
    on: str = "filename",
    metadata_on: str | None = None,
    group: bool = False,
    copy_images: bool | None = None,
    yes: bool = False,
    limit: int | None = None,
    sample: int | None = None,
    seed: int = 0,
    dry_run: bool = False,
    storage: Storage | None = None,
    progress: Progress | None = None,
) -> Merged:
    """Join images and metadata, and say what matched.

    Names join where they are equal, or differ in nothing but their spelling and one image alone is left (see
    `ingest.merging.join_keys.RULES`).

    Args:
        images: table of image rows, of any maker.
        metadata: table of metadata rows, of any maker.
        into: location of the merged table; made when it is not there.
        on: column of the images to join on ("filename", "path", …).
        metadata_on: column of the metadata; by default the same name.
        group: one row an image, with lists of the metadata's values, instead of one row a metadata row.
        copy_images: write the pictures' bytes into the merged table, once for each of its rows, instead of which row of
            `images` holds them; the merged table can then be read without the images. None leaves a table as it is, and
            lets rows of a new one refer to their pictures.
        yes: merge also when the table was made of another pair or in another way, when most of its rows would go, and
            when a table given is older than the one that was merged before.
        limit: merge only the rows of the first so many metadata rows with a picture, or with `group` so many pictures,
            and remove nothing; a merge without it completes the table.
        sample: merge so many of the rows only, the same ones every time, and remove nothing.
        seed: another one samples others.
        dry_run: say what would be done, and write nothing.
        storage: how to reach the tables.
        progress: watches the rows go by.

    Raises:
        UsageError: a key that the metadata names belongs to several images, or the merge needs `yes`.
        SchemaError: a column to join on does not exist, or no column holds images.
        TransientError: the sides moved on again and again while they were merged.
    """
    left, right = as_table(images, storage=storage), as_table(metadata, storage=storage)
    asked = Asked(
        location=absolute(into),
        on=on,
        metadata_on=metadata_on or on,
        group=group,
        copy_images=copy_images,
        yes=yes,
        dry_run=dry_run,
        sampling=Sampling(limit, sample, seed),
        follows=not isinstance(images, Table) and not isinstance(metadata, Table),
    )
    return MergeJob(asked, left, right, storage or left.storage, progress or Silent()).run()
