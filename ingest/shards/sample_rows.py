"""Rows of samples: what the members of one WebDataset sample become, or why they cannot be used. It reads nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from clipdata import images
from clipdata.errors import ImageRefused
from clipdata.schema import IMAGE_FIELDS
from ingest.metadata.json_fields import LEFTOVER, JsonColumns
from ingest.pictures.image_rows import image_record
from ingest.shards.samples import CAPTION, Sample, caption_of, fields_of
from ingest.updating.digests import canonical, digest
from ingest.updating.source import Item, Reject

IMAGE_MEMBERS = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff")
READ_MEMBERS = ("txt", "json", "cls")
TAKEN = frozenset({*(column.name for column in IMAGE_FIELDS), CAPTION, LEFTOVER, "source"})
_OF_THE_PLACE = frozenset({"path", "filename", "uri", "image", "etag", "mtime"})


def row_of(item: Item, sample: Sample, columns: JsonColumns, limits: images.ImageLimits) -> dict[str, Any] | Reject:
    """The row of a sample, or the reject that says what is wrong with it.

    Its etag is a digest of what the row says: the image's bytes, the caption and the values of the columns. Where the
    shard lies and when its members were packed changes nothing.

    Args:
        item: the shard.
    """
    image = sample.first(IMAGE_MEMBERS)
    if image is None:
        found = ", ".join(sample.members)
        return Reject(f"{item.key}/{sample.key}", item.etag, "missing", f"the sample has no image; it has {found}")
    try:
        row, fields = image_row(item, sample, limits)
    except ImageRefused as error:
        return Reject(f"{item.key}/{image.name}", item.etag, error.reason, error.detail)
    row |= columns.values(fields, row)
    said = {name: value for name, value in row.items() if name not in _OF_THE_PLACE and value is not None}
    return {**row, "etag": digest(canonical(said))}


def image_row(item: Item, sample: Sample, limits: images.ImageLimits) -> tuple[dict[str, Any], dict[str, Any]]:
    """The row of a sample that has an image, without its JSON columns and its etag, and the fields for those.

    Raises:
        ImageRefused: a part of the sample cannot be used.
    """
    image = sample.first(IMAGE_MEMBERS)
    assert image is not None, "the caller looked"
    fields = fields_of(sample)
    member: Mapping[str, Any] = {"mtime": _moment(image.mtime)}
    where = f"tar://{image.name}::{item.where}"
    row = image_record(Item(f"{item.key}/{image.name}", "", None, where, member), image.data, limits)
    return {**row, CAPTION: caption_of(sample, fields)}, fields


def _moment(seconds: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, UTC) if seconds else None
    except (OverflowError, ValueError, OSError):
        return None
