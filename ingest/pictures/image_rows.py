"""Image rows: what the bytes of one image, or its first bytes, become. It reads nothing by itself."""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath
from typing import Any

from clipdata import images
from clipdata.errors import ImageRefused
from ingest.updating.source import Item

HEADER_BYTES = 64 << 10
_MAY_NEED_THE_REST = frozenset({"truncated", "corrupt"})


def image_record(item: Item, data: bytes, limits: images.ImageLimits) -> dict[str, Any]:
    """The row of one image.

    Raises:
        ImageRefused: it does not decode, or breaks a limit.
    """
    header = images.check(data, limits)
    return {
        **_known(item, header),
        "image": data,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def reference_record(item: Item, start: bytes, limits: images.ImageLimits) -> dict[str, Any] | None:
    """The row of an image that stays where it is, from its first bytes; None when those do not tell enough.

    A whole image is checked like any other. Of a longer one only the header is looked at; that its end is there and
    that it decodes comes out when it is used.

    Raises:
        ImageRefused: it is no image, or breaks a limit.
    """
    whole = item.size is None or len(start) >= item.size
    try:
        header = images.check(start, limits) if whole else images.probe(start, limits)
    except ImageRefused as refusal:
        if whole or refusal.reason not in _MAY_NEED_THE_REST:
            raise
        return None
    known = _known(item, header)
    return {**known, "image": None, "bytes": len(start) if whole else item.size, "sha256": None}


def hold_readable(name: str, start: bytes) -> None:
    """Refuse a picture whose name and first bytes say that no reader here takes it.

    Args:
        name: its suffix is one of `images.OTHER_SUFFIXES`.
        start: its first bytes; a picture of another kind under this name is let through.

    Raises:
        ImageRefused: unsupported_format, empty.
    """
    other = images.OTHER_SUFFIXES[PurePosixPath(name).suffix.lower()]
    if not start:
        raise ImageRefused("empty", "0 bytes")
    found = images.sniff_format(start)
    if found is None or (found == "tiff" and other is images.RAW):  # raw files are TIFF files in their outer parts
        raise ImageRefused("unsupported_format", str(other))


def _known(item: Item, header: images.ImageHeader) -> dict[str, Any]:
    return {
        **item.extra,
        "path": item.key,
        "filename": item.key.rsplit("/", 1)[-1],
        "uri": item.where,
        "format": header.format,
        "width": header.width,
        "height": header.height,
        "etag": item.etag,
    }
