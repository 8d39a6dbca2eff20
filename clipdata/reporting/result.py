"""What `report` returns: the records, and every view of them as a method."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from clipdata.comparison.jsonschema import schema_of
from clipdata.comparison.records import finite
from clipdata.errors import UsageError
from clipdata.objects.faults import as_clipdata_error
from clipdata.reporting.page import page
from clipdata.reporting.records import SCHEMA_VERSION, Reported
from clipdata.storage import Storage, absolute, is_remote, redact
from clipdata.training.state_files import write_bytes, writing


@dataclass(frozen=True, repr=False)
class Report(Reported):
    """A report as a page or as JSON; the fields are those of `Reported`."""

    def to_html(self) -> str:
        """One page that asks for nothing else: at most 5 MB, no script, no address outside itself."""
        return page(self)

    def to_json(self, *, indent: int | None = None, thumbnails: bool = False) -> str:
        """The records that the page is a view of; the schema is `clipdata.reporting.report_schema()`.

        Args:
            indent: spaces a level; one line by default.
            thumbnails: with the pictures themselves, as data URIs.
        """
        return json.dumps(self.to_dict(thumbnails=thumbnails), indent=indent, ensure_ascii=False, allow_nan=False)

    def to_dict(self, *, thumbnails: bool = False) -> dict[str, Any]:
        """The same as JSON values."""
        found: dict[str, Any] = finite(super().to_dict(thumbnails=thumbnails))
        return found

    def save(self, out: str | os.PathLike[str], *, overwrite: bool = False, storage: Storage | None = None) -> str:
        """Write the page to a file, here or in a bucket; a report that is there is replaced whole.

        Args:
            out: the file.
            overwrite: replace also what is no report.
            storage: how to reach it.

        Returns:
            Its location.

        Raises:
            UsageError: what is there is no report.
            StorageError: it cannot be written.
            CredentialsError: the store refuses access.
        """
        location, reached = absolute(out), storage or Storage()
        if not overwrite:
            require_replaceable(location, storage=reached)
        data = self.to_html().encode("utf-8")
        if not is_remote(location):
            path = Path(location)
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, data)
            return location
        filesystem, place = reached.filesystem(location)
        try:
            filesystem.pipe_file(place, data)
        except OSError as error:
            raise as_clipdata_error(error, f"writing {redact(location)}", reached) from error
        return location

    def __str__(self) -> str:
        parts = [name for name in ("comparison", "run", "table") if getattr(self, name) is not None]
        return f"report: {self.title} ({', '.join(parts)})"

    def _repr_html_(self) -> str:
        """The page in a frame of its own, so that neither page nor notebook changes the other."""
        return (
            f'<iframe sandbox srcdoc="{escape(self.to_html(), quote=True)}" title="{escape(self.title, quote=True)}" '
            'style="width: 100%; height: 48rem; border: 1px solid #8888"></iframe>'
        )


def report_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of what `Report.to_json` writes, derived from the records."""
    schema = schema_of(Reported)
    schema["properties"] = {"schema_version": {"const": SCHEMA_VERSION}, **schema["properties"]}
    schema["required"] = ["schema_version", *schema["required"]]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Report", **schema}


_MARK, _HEAD_BYTES = b'<meta name="generator" content="clipdata', 4096


def require_replaceable(out: str | os.PathLike[str], *, storage: Storage | None = None) -> None:
    """Check that a page may be written somewhere: nothing is there, or a report.

    Raises:
        UsageError: there is something else.
    """
    location = absolute(out)
    if not is_remote(location) and Path(location).is_dir():
        raise UsageError(f"{location} is a folder; expected the name of a file", hint=f"-o {location}/report.html")
    head = _head_of(location, storage or Storage())
    if head and _MARK not in head:
        raise UsageError(
            f"{redact(location)} is a file that is no report; it stays as it is",
            hint="name another file with -o, or replace it with --overwrite",
        )


def _head_of(location: str, storage: Storage) -> bytes:
    """The first bytes of what is there; none where nothing is, or where nobody may look."""
    try:
        if not is_remote(location):
            with open(location, "rb") as file:
                return file.read(_HEAD_BYTES)
        filesystem, place = storage.filesystem(location)
        has_bytes = bool(filesystem.info(place)["size"])
        return bytes(filesystem.cat_file(place, start=0, end=_HEAD_BYTES)) if has_bytes else b""
    except (FileNotFoundError, PermissionError):
        return b""
    except OSError as error:
        raise as_clipdata_error(error, f"looking at {redact(location)}", storage) from error
