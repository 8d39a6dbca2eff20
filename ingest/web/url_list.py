"""A list of image URLs with captions, one row each: CSV, TSV, JSONL or parquet, downloaded while it is read.

The list's other columns become columns of the row. A row is downloaded again when its URL or any of these changes, and
its key is the file name, so that the table is brought up to date with the list at any time. Credentials inside a URL
(signatures, tokens) are used to download and never stored.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

import pyarrow as pa

from clipdata.errors import SchemaError
from clipdata.images import IMAGE_SUFFIXES
from clipdata.schema import IMAGE_FIELDS, image_schema, require_columns
from clipdata.storage import Storage, redact
from ingest.metadata.list_file import ListFile, Row
from ingest.pictures.image_rows import image_record
from ingest.updating.batches import batch_of
from ingest.updating.job import ingest
from ingest.updating.outcome import Ingested
from ingest.updating.source import Item, Refuse, Reject
from ingest.web.download_rules import DownloadRules, Refused
from ingest.web.signed_urls import without_signature

CAPTION = "text"
BATCH_ROWS = 256
BATCH_BYTES = 32 << 20
_TAKEN = frozenset({*(field.name for field in IMAGE_FIELDS), "source"})
_MAX_NAME_BYTES = 255
_MAX_PATH_BYTES = 1024


@dataclass(frozen=True)
class ListedUrl(Item):
    """One row of the list; with a fault it is refused without a request."""

    fault: str = ""
    detail: str = ""


class UrlList:
    """Images behind the URLs of a list.

    Args:
        where: location of the list; the format is told by its suffix.
        url: column of the URLs; "url" in any case where None.
        caption: column of the captions, which becomes the column `text`; "text" or "caption" where None, if there.
        filename: column of the file names, the keys; "filename" where None. A list without one gets names made from
            the URLs, so that a URL counts once.
        rules: what a download may cost and where it may lead.
        file_format: "csv", "tsv", "jsonl" or "parquet", where the suffix does not say.
        encoding: of a text file.
        storage: how to reach the list.

    Raises:
        NotFoundError: there is no list.
        SchemaError: it lacks a column that was named, or the URLs.
        UsageError: it cannot be read as what it is said to be.
    """

    kind = "urls"
    grain: Literal["row"] = "row"
    key = "path"

    def __init__(
        self,
        where: str | os.PathLike[str],
        *,
        url: str | None = None,
        caption: str | None = None,
        filename: str | None = None,
        rules: DownloadRules | None = None,
        file_format: str | None = None,
        encoding: str = "utf-8",
        storage: Storage | None = None,
    ) -> None:
        self.list = ListFile(where, file_format=file_format, encoding=encoding, storage=storage)
        self.origin = redact(self.list.where)
        self.owner: str | None = self.origin
        self.place: Literal["uri", "source"] = "source"
        self.rules = rules or DownloadRules()
        fields = {column.name: column.type for column in self.list.fields()}
        self._url, self._caption, self._filename = self._choose_columns(
            pa.schema(fields.items()), url, caption, filename
        )
        self._names = self._name_columns([name for name in fields if name not in (self._url, self._filename)])
        self._extra = [pa.field(column, fields[name]) for name, column in self._names.items()]

    def schema(self) -> pa.Schema:
        """The contract's image row, and the list's own columns."""
        return image_schema(self._extra)

    @property
    def options(self) -> dict[str, Any]:
        """What refuses rows."""
        return {"rules": repr(self.rules)}

    def covers(self, where: str) -> bool:
        """Whether a row that came from there is of this list."""
        return where == self.owner

    def notes(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def items(self) -> Iterator[Item]:
        """Rows of the list, in its order."""
        for row in self.list.rows():
            yield self._listed(row)

    def read(self, items: Iterable[Item], refuse: Refuse) -> Iterator[pa.RecordBatch]:
        """Download, many at a time. Batches come as they are ready, so that one slow server holds nobody up.

        Within a batch the rows are in the order of the list.
        """
        from ingest.web.downloading import download_all  # aiohttp takes a while to load
        from ingest.web.fetching import Download

        def record(numbered: tuple[int, Item], download: Download) -> dict[str, Any]:
            item = numbered[1]
            changes = {"uri": redact(item.where), "mtime": download.mtime}
            return image_record(item, download.data, self.rules.images) | changes

        ready: list[tuple[int, dict[str, Any]]] = []
        size = 0
        for (number, item), outcome in download_all(self._requests(items, refuse), self.rules, record):
            if isinstance(outcome, Refused):
                refuse(Reject(item.key, item.etag, outcome.reason, outcome.detail))
                continue
            ready.append((number, outcome))
            size += outcome["bytes"]
            if len(ready) >= BATCH_ROWS or size >= BATCH_BYTES:
                yield self._batch(ready)
                ready, size = [], 0
        if ready:
            yield self._batch(ready)

    def _requests(self, items: Iterable[Item], refuse: Refuse) -> Iterator[tuple[tuple[int, Item], str]]:
        for number, item in enumerate(items):
            if isinstance(item, ListedUrl) and item.fault:
                refuse(Reject(item.key, item.etag, item.fault, item.detail))
            else:
                yield (number, item), item.where

    def _batch(self, ready: list[tuple[int, dict[str, Any]]]) -> pa.RecordBatch:
        return batch_of([record for _, record in sorted(ready, key=lambda numbered: numbered[0])], self.schema())

    def _choose_columns(
        self, schema: pa.Schema, url: str | None, caption: str | None, filename: str | None
    ) -> tuple[str, str | None, str | None]:
        named = [name for name in (url, caption, filename) if name is not None]
        shown = self.origin
        require_columns(schema, named, verb="ingest urls", where=shown)
        url_column = url or _find(schema.names, "url")
        if url_column is None:
            listed = ", ".join(map(repr, schema.names))
            raise SchemaError(
                f"{shown} has no column of URLs; its columns are {listed}",
                hint="name it: url=…; a file that shows one column only has another delimiter than its suffix says",
            )
        for column in filter(None, (url_column, filename)):
            if not _is_text(schema.field(column).type):
                raise SchemaError(f"{shown}: column {column!r} holds {schema.field(column).type}; expected text")
        return (
            url_column,
            caption or _find(schema.names, CAPTION, "caption"),
            filename or _find(schema.names, "filename"),
        )

    def _name_columns(self, names: Sequence[str]) -> dict[str, str]:
        """What each column of the list is called in the table; the row contract's names are not to be had."""
        columns = {name: f"original_{name}" if name in _TAKEN else name for name in names}
        if self._caption is not None:
            columns[self._caption] = CAPTION
        double = sorted({column for column in columns.values() if list(columns.values()).count(column) > 1})
        if double:
            raise SchemaError(f"{self.origin}: two columns would be called {', '.join(double)} in the table")
        return columns

    def _listed(self, row: Row) -> ListedUrl:
        if row.values is None:
            etag = hashlib.sha256(row.text.encode(errors="replace")).hexdigest()[:32]
            return ListedUrl(f"row {row.number}", etag, None, "", {}, "bad_row", row.fault)
        url = (row.values[self._url] or "").strip()
        extra = {column: row.values[name] for name, column in self._names.items()}
        etag = _digest([without_signature(url), extra])
        name = _name_of(url) if self._filename is None else row.values[self._filename] or ""
        if fault := fault_of_name(name):
            shown = f"row {row.number}: {redact(name).encode('unicode_escape').decode('ascii')[:200]}"
            return ListedUrl(shown, etag, None, redact(url), extra, "bad_filename", fault)
        if not url:
            return ListedUrl(name, etag, None, "", extra, "bad_url", f"row {row.number} has no URL")
        return ListedUrl(name, etag, None, url, extra)


def fault_of_name(name: str) -> str:
    """Say why a file name from a list must not be used; empty when it may be.

    Names may hold folders ("cats/1.jpg"). Written out as files, on any system, none may lead elsewhere.
    """
    parts = name.replace("\\", "/").split("/")
    if not name.strip():
        return "it is empty"
    if any(character < " " or character == "\x7f" for character in name):
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


def _name_of(url: str) -> str:
    """A name that depends on the URL alone, and not on who may read it until when."""
    url = without_signature(url)
    suffix = PurePosixPath(url.split("?")[0].split("#")[0]).suffix.lower()
    return hashlib.sha256(url.encode(errors="replace")).hexdigest()[:32] + (suffix if suffix in IMAGE_SUFFIXES else "")


def _digest(value: Sequence[str | Mapping[str, Any]]) -> str:
    text = json.dumps(value, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _find(names: Sequence[str], *wanted: str) -> str | None:
    """The column of one of these names, exactly or else in any case, when there is just one."""
    for name in wanted:
        like = [column for column in names if column.lower() == name]
        if name in names or len(like) == 1:
            return name if name in names else like[0]
    return None


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


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
        options: of `ingest.updating.job.ingest`.
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
