"""Lists of anything: a CSV, TSV, JSONL or parquet file as a stream of rows. Knows nothing of what the rows mean."""

from __future__ import annotations

import codecs
import io
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from clipdata.errors import CredentialsError, ImageRefused, NotFoundError, SchemaError, UsageError
from clipdata.storage import Storage, absolute, redact
from ingest.metadata import delimited_text, json_fields

FORMATS = ("csv", "tsv", "jsonl", "parquet")
_DELIMITERS = {"csv": ",", "tsv": "\t"}
_SUFFIXES = {".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_SUFFIXES |= {".parquet": "parquet", ".pq": "parquet"}
_PARQUET_ROWS = 4096


@dataclass(frozen=True)
class Row:
    """One row of a list, or why there is none.

    Args:
        number: line of a text file, or row of a parquet file, from 1.
        values: by column; None when the row cannot be read.
        fault: why.
        text: what stands there instead.
    """

    number: int
    values: Mapping[str, Any] | None
    fault: str = ""
    text: str = ""


class ListFile:
    """A list of rows in one file.

    CSV and TSV columns are text. A JSONL field is a column when it keeps one type; the rest is JSON text in the column
    `json`. Parquet columns keep their types.

    Args:
        where: location; `.gz` behind the suffix is unpacked while reading.
        file_format: one of `FORMATS`; by the suffix where None.
        encoding: of text files.
        storage: how to reach it.

    Raises:
        UsageError: the format is not known, or the file is not of it.
        NotFoundError: there is no file.
        SchemaError: two columns have one name.
    """

    def __init__(
        self,
        where: str | os.PathLike[str],
        *,
        file_format: str | None = None,
        encoding: str = "utf-8",
        storage: Storage | None = None,
    ) -> None:
        self.where = absolute(where)
        self.encoding = _known_encoding(encoding)
        self.storage = storage or Storage()
        self.is_gzip = self.where.endswith(".gz")
        suffix = os.path.splitext(self.where.removesuffix(".gz"))[1].lower()
        self.format = file_format or _SUFFIXES.get(suffix, "")
        if self.format not in FORMATS:
            raise UsageError(
                f"{redact(self.where)}: the suffix {suffix!r} names no list; expected one of {', '.join(_SUFFIXES)}",
                hint=f"say which it is: --format (file_format=) {' | '.join(FORMATS)}",
            )
        self._json_columns: json_fields.JsonColumns | None = None

    def fields(self) -> list[pa.Field]:
        """The columns."""
        if self.format == "jsonl":
            return self._columns_of_json().fields()
        if self.format == "parquet":
            with self._bytes() as stream:
                return [pa.field(column.name, _plain_type(column.type)) for column in pq.read_schema(stream)]
        with self._text() as stream:
            return [pa.field(name, pa.string()) for name in self._header(stream)]

    def rows(self) -> Iterator[Row]:
        """All rows, in order."""
        if self.format == "jsonl":
            return self._rows_of_json()
        return self._rows_of_parquet() if self.format == "parquet" else self._rows_of_text()

    def _header(self, stream: io.TextIOBase) -> list[str]:
        first = next(delimited_text.records(stream, _DELIMITERS[self.format]), None)  # type: ignore[arg-type]
        if first is None or first.values is None:
            raise UsageError(
                f"{redact(self.where)} is empty or has no readable header; expected a line of column names"
            )
        # An index that a data frame wrote along has no name.
        names = [name.strip() or f"column_{index}" for index, name in enumerate(first.values)]
        double = sorted({name for name in names if names.count(name) > 1})
        if double:
            raise SchemaError(f"{redact(self.where)}: the header has {', '.join(double)} more than once")
        return names

    def _rows_of_text(self) -> Iterator[Row]:
        with self._text() as stream:
            names = self._header(stream)
        with self._text() as stream:
            found = delimited_text.records(stream, _DELIMITERS[self.format], len(names))
            next(found)
            for record in found:
                values = None if record.values is None else dict(zip(names, record.values, strict=True))
                yield Row(record.line, values, record.fault, record.text)

    def _columns_of_json(self) -> json_fields.JsonColumns:
        if self._json_columns is None:
            samples: Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]] = (
                (row.values, {}) for row in self._json_records() if row.values is not None
            )
            self._json_columns = json_fields.JsonColumns.infer(samples, frozenset())
        return self._json_columns

    def _rows_of_json(self) -> Iterator[Row]:
        columns = self._columns_of_json()
        for row in self._json_records():
            yield row if row.values is None else Row(row.number, columns.values(row.values, {}))

    def _json_records(self) -> Iterator[Row]:
        with self._text() as stream:
            number = 0
            while line := stream.readline(delimited_text.MAX_LINE_CHARS + 1):
                number += 1
                if len(line) > delimited_text.MAX_LINE_CHARS:
                    raise UsageError(f"{redact(self.where)}: line {number} has no end; is this a text file?")
                if not line.strip():
                    continue
                try:
                    yield Row(number, json_fields.load(line.encode()))
                except ImageRefused as error:
                    yield Row(number, None, error.detail, line)
                except UnicodeEncodeError:
                    yield Row(number, None, "not Unicode text", json.dumps(line))

    def _rows_of_parquet(self) -> Iterator[Row]:
        fields = self.fields()
        number = 0
        with self._bytes() as stream:
            for batch in pq.ParquetFile(stream).iter_batches(_PARQUET_ROWS):
                for values in batch.cast(pa.schema(fields)).to_pylist():
                    number += 1
                    yield Row(number, values)

    @contextmanager
    def _text(self) -> Iterator[Any]:
        with self._bytes() as raw, io.TextIOWrapper(raw, encoding=self.encoding, newline="") as stream:
            yield stream

    @contextmanager
    def _bytes(self) -> Iterator[Any]:
        shown = redact(self.where)
        try:
            fs, path = self.storage.filesystem(self.where)
            with fs.open(path, "rb", compression="gzip" if self.is_gzip else None) as stream:
                yield stream
        except FileNotFoundError as error:
            raise NotFoundError(f"there is no list at {shown}", hint="check the path") from error
        except PermissionError as error:
            raise CredentialsError(f"reading {shown}: {redact(str(error))}") from error
        except UnicodeError as error:
            hint = "say which it is: --encoding (encoding=) gb18030, big5, latin-1, utf-16 …; or convert it to UTF-8"
            raise UsageError(f"{shown} is not {self.encoding} text: {error}", hint=hint) from error
        except (EOFError, zlib.error) as error:
            raise UsageError(f"{shown} is cut off or not a gzip file: {error}") from error
        except pa.ArrowInvalid as error:
            raise UsageError(f"{shown} is not a parquet file: {error}") from error


def _known_encoding(name: str) -> str:
    try:
        found = codecs.lookup(name).name
    except LookupError as error:
        raise UsageError(f"{error}; expected a name such as 'utf-8', 'latin-1' or 'gb18030'") from error
    return "utf-8-sig" if found == "utf-8" else found  # a byte-order mark is no part of the first column's name


def _plain_type(kind: pa.DataType) -> pa.DataType:
    """A dictionary is a way of storing; the column is of what it stores."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind
