"""One row of a list of URLs as an item: its name, what of it is stored, and the fault that refuses it unasked.

Pure decisions about texts; nothing here reads a list or connects.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from clipdata.images import IMAGE_SUFFIXES
from clipdata.redaction import redact
from ingest.metadata.list_file import Row
from ingest.updating.source import Item, Reject
from ingest.web.download_rules import Refused
from ingest.web.list_columns import ListColumns
from ingest.web.signed_urls import without_signature

_MAX_NAME_BYTES = 255
_MAX_PATH_BYTES = 1024
_SHOWN_CHARS = 300
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ENCODER = json.JSONEncoder(sort_keys=True, default=repr)


@dataclass(frozen=True)
class ListedUrl(Item):
    """One row of the list; with a fault it is refused without a request.

    Args:
        row: its number in the list, from 1.
        fault: reason of the refusal.
        detail: what was found.
    """

    row: int = 0
    fault: str = ""
    detail: str = ""


def listed_url(row: Row, columns: ListColumns, masked: Callable[[str], None]) -> ListedUrl:
    """What a row of the list asks for.

    Args:
        masked: told each column of the table in which the row has a secret, which is left out.
    """
    if row.values is None:
        etag = hashlib.sha256(row.text.encode(errors="replace")).hexdigest()[:32]
        return ListedUrl(f"row {row.number}", etag, None, "", {}, row.number, "bad_row", _about(row.text, row.fault))
    url = (row.values[columns.url] or "").strip()
    extra = {}
    for name, column in columns.names.items():
        extra[column] = stored = _without_secrets(value := row.values[name])
        if stored is not value and stored != value:
            masked(column)
    etag = _digest([without_signature(url), extra])
    no_url = f"row {row.number} has no URL"
    if columns.filename is None:
        if not url:
            return ListedUrl(f"row {row.number}", etag, None, "", extra, row.number, "bad_url", no_url)
        return ListedUrl(_name_of(url), etag, None, url, extra, row.number)
    name = redact(row.values[columns.filename] or "")
    listed = ListedUrl(name, etag, None, url, extra, row.number)
    if fault := fault_of_name(name):
        return _refused(listed, "bad_filename", fault)
    return listed if url else replace(listed, fault="bad_url", detail=no_url)


def named_again(item: ListedUrl) -> ListedUrl:
    """A further row of a name, which must not take the place of the first one."""
    return _refused(item, "duplicate_key", f"{_printable(item.key)} is the name of an earlier row, which counts")


def reject_of(item: Item, refusal: Refused) -> Reject:
    """The entry of a URL that gave no image; one that the next run is to ask for again has no etag."""
    is_signed = refusal.reason.startswith("http_4") and without_signature(item.where) != item.where
    etag = "" if refusal.is_passing or is_signed else item.etag
    return Reject(item.key, etag, refusal.reason, _about(item.where, refusal.detail))


def fault_of_name(name: str) -> str:
    """Say why a file name from a list must not be used; empty when it may be.

    Names may hold folders ("cats/1.jpg"). Written out as files, on any system, none may lead elsewhere.
    """
    parts = name.replace("\\", "/").split("/")
    if not name.strip():
        return "it is empty"
    if _CONTROL.search(name):
        return "it holds control characters"
    if not parts[0] or (len(name) > 1 and name[1] == ":" and name[0].isalpha()):
        return "it is an absolute path"
    if any(part in ("", ".", "..") for part in parts):
        return "it leads out of its folder, or holds an empty part"
    try:
        too_long = len(name.encode()) > _MAX_PATH_BYTES or any(len(part.encode()) > _MAX_NAME_BYTES for part in parts)
    except UnicodeEncodeError:
        return "it is not Unicode text"
    return f"it is longer than {_MAX_NAME_BYTES} bytes" if too_long else ""


def _refused(item: ListedUrl, reason: str, detail: str) -> ListedUrl:
    """A row that cannot go by its name goes by its number."""
    key = f"row {item.row}: {_printable(item.key)[:_SHOWN_CHARS]}"
    return replace(item, key=key, fault=reason, detail=_about(item.where, detail), where=redact(item.where))


def _without_secrets(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value) if "://" in value else value
    if isinstance(value, list):
        return [_without_secrets(one) for one in value]
    if isinstance(value, dict):
        return {name: _without_secrets(one) for name, one in value.items()}
    return value


def _about(found: str, detail: str) -> str:
    """What was found in the list, and what is wrong with it, fit to be stored and shown."""
    shown = redact(found)
    shown = shown if len(shown) <= _SHOWN_CHARS else f"{shown[:_SHOWN_CHARS]}…"
    return _printable(f"{shown}: {redact(detail)}" if shown and detail else shown or redact(detail))


def _printable(text: str) -> str:
    """Text without characters that a terminal or a table would act on."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in text)


def _name_of(url: str) -> str:
    """A name that depends on the URL alone, and not on who may read it until when."""
    url = without_signature(url)
    suffix = PurePosixPath(url.split("?")[0].split("#")[0]).suffix.lower()
    return hashlib.sha256(url.encode(errors="replace")).hexdigest()[:32] + (suffix if suffix in IMAGE_SUFFIXES else "")


def _digest(value: Sequence[str | Mapping[str, Any]]) -> str:
    return hashlib.sha256(_ENCODER.encode(value).encode()).hexdigest()[:32]
