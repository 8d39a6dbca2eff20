"""Stamps: what a store's listing says of an object, in one vocabulary, and whether bytes that came agree with it."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from clipdata.plurals import counted

_MD5_HEX = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Stamp:
    """One content of an object.

    Args:
        etag: changes when the content changes.
        size: bytes, when known and equal to what a read gives.
        mtime: when it changed.
        md5: digest of the bytes, when the store says it.
        md5_is_sure: False for S3's etag, which is the digest unless the store encrypts with keys of its own.
    """

    etag: str = ""
    size: int | None = None
    mtime: datetime | None = None
    md5: bytes | None = None
    md5_is_sure: bool = True

    def short_of(self, data: bytes, stop: int | None) -> str | None:
        """Say how the length of what came differs from what was to come; None when it does not.

        Args:
            data: what came.
            stop: how many bytes were asked for at most.
        """
        if self.size is None:
            return None
        expected = self.size if stop is None else min(self.size, stop)
        return None if len(data) == expected else f"{counted(len(data), 'byte')} came, {expected:,} were to come"

    def is_of(self, data: bytes) -> bool:
        """Tell whether a whole object's bytes have the digest, where one is known."""
        return self.md5 is None or hashlib.md5(data, usedforsecurity=False).digest() == self.md5


UNKNOWN = Stamp()
"""Of an object that no listing told of."""


def stamp_of(about: Mapping[str, Any]) -> Stamp:
    """The stamp of an entry of an fsspec listing, in whichever store's words."""
    size = about.get("size", about.get("Size"))
    encoded = str(about.get("contentEncoding") or "identity") != "identity"  # is sent decoded, and longer
    md5, is_sure = _md5_of(about)
    return Stamp(
        etag=etag_of(about),
        size=None if encoded or size is None else int(size),
        mtime=_mtime_of(about),
        md5=None if encoded else md5,
        md5_is_sure=is_sure,
    )


def etag_of(about: Mapping[str, Any]) -> str:
    """What tells one content from another, in whichever store's words."""
    for word in ("etag", "ETag", "generation", "md5Hash", "VersionId"):
        if about.get(word):
            return str(about[word]).strip('"')
    return f"{about.get('size')}-{about.get('mtime') or about.get('LastModified') or about.get('updated') or ''}"


def _md5_of(about: Mapping[str, Any]) -> tuple[bytes | None, bool]:
    if "md5Hash" in about:
        return base64.b64decode(about["md5Hash"]), True
    settings = about.get("content_settings") or {}
    azure = settings.get("content_md5") if hasattr(settings, "get") else None
    if azure:
        return bytes(azure), True
    etag = str(about.get("ETag") or "").strip('"')
    return (bytes.fromhex(etag), False) if _MD5_HEX.fullmatch(etag) else (None, True)


def _mtime_of(about: Mapping[str, Any]) -> datetime | None:
    moment = about.get("LastModified") or about.get("mtime") or about.get("last_modified") or about.get("updated")
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError:
            return None
    return moment if isinstance(moment, datetime) else None
