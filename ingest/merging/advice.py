"""What to type where two tables cannot be joined as they were asked to be: other columns, or the other order.

It looks at columns, and at the few rows that are in doubt.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clipdata.errors import SchemaError
from clipdata.hints import merge_pictures, typed
from clipdata.lance_io.table import Table
from clipdata.printable import shell_word
from clipdata.schema import image_column, is_text
from clipdata.storage import redact
from ingest.merging.foreign_columns import is_image_like
from ingest.merging.image_side import ImageSide
from ingest.merging.metadata_side import MetadataSide


def refuse_swapped(images: Table, metadata: Table) -> None:
    """Check that the table of images is not the second one.

    Raises:
        SchemaError: that one alone has a column of images.
    """
    if _has_images(images) or not _has_images(metadata):
        return
    swapped = merge_pictures(images.uri, images.schema.names, images=typed(metadata.uri), into="TABLE.lance")
    raise SchemaError(
        f"merge: {redact(images.uri)} has no column of images, and {redact(metadata.uri)} has one",
        hint=f"the first table is the one of images: {swapped}",
    )


def told_apart(
    images: ImageSide, metadata: MetadataSide, examples: Sequence[tuple[int, Sequence[int] | np.ndarray]]
) -> str:
    """By which columns to merge, where what was named does not tell images apart.

    Args:
        examples: metadata rows, each with the places of the images that it may mean.
    """
    called = images.identity
    if called == images.on:
        others = [name for name in images.table.schema.names if name not in (called, images.image)]
        listed = ", ".join(others[:8]) or "none"
        return (
            f"merge on a column of the images in which no value is there twice, if one of {listed} is such: --on COLUMN"
        )
    rows = np.array([row for row, _ in examples], np.int64)
    names = [set(images.called(places)) for _, places in examples]
    kinds = metadata.table.schema
    for column in [name for name in metadata.columns if is_text(kinds.field(name).type)]:
        values = metadata.take(rows, [column])[column].to_pylist()
        if all(value in meant for value, meant in zip(values, names, strict=True)):
            also = "" if column == called else f" --metadata-on {shell_word(column)}"
            return f"--on {shell_word(called)}{also}"
    return (
        f"no column of the metadata says which is meant; write one of what the images are called by {called!r}, as "
        f"above, and merge with --on {shell_word(called)} --metadata-on COLUMN"
    )


def _has_images(table: Table) -> bool:
    return image_column(table.schema) is not None or any(is_image_like(column) for column in table.schema)
