"""A list of image URLs with captions, one row each: CSV, TSV, JSONL or parquet, downloaded while it is read.

The list's other columns become columns of the row. A row is downloaded again when its URL or any of these changes, and
its key is the file name, so that the table is brought up to date with the list at any time. Credentials inside a URL
(signatures, tokens) are used to download and never stored, in whichever column the URL stands.
"""

from __future__ import annotations

import os
from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Literal

import pyarrow as pa

from clipdata.errors import UsageError
from clipdata.redaction import redact
from clipdata.schema import image_schema
from clipdata.storage import Storage
from ingest.metadata.list_file import ListFile
from ingest.pictures.image_rows import image_record
from ingest.updating.batches import batch_of
from ingest.updating.digest_set import DigestSet
from ingest.updating.job import ingest
from ingest.updating.outcome import Ingested
from ingest.updating.source import Item, Refuse, Reject
from ingest.web.download_rules import DownloadRules, Refused
from ingest.web.list_columns import choose_columns
from ingest.web.listed_urls import ListedUrl, listed_url, named_again, reject_of

BATCH_ROWS = 256
BATCH_BYTES = 32 << 20
_ROWS_AT_ONCE = 512


class UrlList:
    """Images behind the URLs of a list.

    A file name, or a URL where there are no names, counts once: the first row of it is downloaded, and every other is
    refused as a row of its own. What a server refuses for good (gone, forbidden, no image) is remembered; what may pass
    (no answer, no name, a broken connection, the server's own faults) is asked for again by the next run, and so is a
    signed URL that was refused, because its next signature may do.

    Args:
        where: location of the list; the format is told by its suffix.
        url: column of the URLs; "url" in any case where None.
        caption: column of the captions, which becomes the column `text`; "text" or "caption" where None, if there.
        filename: column of the file names, the keys; "filename" where None. A list without one gets names made from
            the URLs, so that a URL counts once.
        rules: what a download may cost and where it may lead.
        file_format: "csv", "tsv", "jsonl" or "parquet", where the suffix does not say.
        encoding: of a text file.
        delimiter: of a text file, where it is not the one its suffix says.
        columns: names for the columns of a text file that has no header.
        storage: how to reach the list.

    Raises:
        NotFoundError: there is no list.
        SchemaError: it lacks a column that was named, or the URLs, or it has no header.
        UsageError: it cannot be read as what it is said to be.
    """

    kind = "urls"
    grain: Literal["row"] = "row"
    key = "path"
    place: Literal["uri", "source"] = "source"

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
        delimiter: str | None = None,
        columns: Sequence[str] = (),
        storage: Storage | None = None,
    ) -> None:
        self.list = ListFile(
            where, file_format=file_format, encoding=encoding, delimiter=delimiter, columns=columns, storage=storage
        )
        self.origin = redact(self.list.where)
        self.owner: str | None = self.origin
        self.rules = rules or DownloadRules()
        self._columns = choose_columns(self.list.fields(), url, caption, filename, where=self.origin)
        self._schema = image_schema(self._columns.extra)
        self._options = {
            "encoding": encoding,
            "delimiter": delimiter,
            "columns": list(columns),
            "rules": self.rules.that_refuse,
        }
        self._masked: Tally[str] = Tally()

    @property
    def options(self) -> Mapping[str, Any]:
        """All that refuses rows. What shapes them (columns, names) is part of each row's etag or key."""
        return self._options

    def covers(self, where: str) -> bool:
        """Whether a row that came from there is of this list."""
        return where == self.owner

    def notes(self) -> Mapping[str, Any]:
        """Columns with other names, and columns of whose URLs the secrets were left out."""
        called = {f"column {name!r} of the list is called": column for name, column in self._columns.renamed.items()}
        masked = {f"rows with a secret masked in column {name!r}": num for name, num in sorted(self._masked.items())}
        return called | masked

    def schema(self) -> pa.Schema:
        """The contract's image row, and the list's own columns."""
        return self._schema

    def items(self) -> Iterator[Item]:
        """Rows of the list, in its order."""
        self._masked.clear()
        rows, names = self._rows(), DigestSet()
        while chunk := list(islice(rows, _ROWS_AT_ONCE)):
            is_new = names.add_new([item.key for item in chunk])
            yield from (item if new else named_again(item) for item, new in zip(chunk, is_new, strict=True))

    def _rows(self) -> Iterator[ListedUrl]:
        """Rows as they stand; where the list breaks off, a last one that says so."""
        number = 0
        try:
            for row in self.list.rows():
                number = row.number
                yield listed_url(row, self._columns, self._mask)
        except UsageError as error:
            if not number:
                raise
            key, reason = f"after row {number}", getattr(error, "reason", "bad_row")
            yield ListedUrl(key, "", None, "", {}, number, reason, f"the list cannot be read further: {error}")

    def _mask(self, column: str) -> None:
        self._masked[column] += 1

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
                refuse(reject_of(item, outcome))
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
    delimiter: str | None = None,
    columns: Sequence[str] = (),
    storage: Storage | None = None,
    **options: Any,
) -> Ingested:
    """Download the images that a list of URLs names, and bring a table up to date with them.

    Rows that are in the table and unchanged in the list are not downloaded again; of the others, those that give no
    image go to the table's rejects with the URL and the reason. See `UrlList` for what is tried again and when.

    Args:
        urls: CSV, TSV, JSONL or parquet file with a row for each image.
        into: location of the table.
        url: column of the URLs.
        caption: column of the captions.
        filename: column of the file names, which become the keys.
        rules: what a download may cost, and where it may lead; `DownloadRules(allow_private=("intranet.example",))`
            for a host inside a private network.
        file_format: "csv", "tsv", "jsonl" or "parquet", where the suffix does not say.
        encoding: of a text file, such as "gb18030".
        delimiter: of a text file, where it is not the one its suffix says.
        columns: names for the columns of a text file without a header, such as ("caption", "url").
        storage: how to reach the list and the table.
        options: of `ingest.updating.job.ingest`.

    Raises:
        NotFoundError: there is no list.
        SchemaError: it has no column of URLs, no header, or lacks a column that was named.
        UsageError: it cannot be read as what it is said to be.
    """
    source = UrlList(
        urls,
        url=url,
        caption=caption,
        filename=filename,
        rules=rules,
        file_format=file_format,
        encoding=encoding,
        delimiter=delimiter,
        columns=columns,
        storage=storage,
    )
    return ingest(source, into, storage=storage, **options)
