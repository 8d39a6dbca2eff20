"""Lists of anything: a CSV, TSV, JSONL or parquet file as a stream of rows. Knows nothing of what the rows mean."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from clipdata.errors import CredentialsError, ImageRefused, NotFoundError, UsageError
from clipdata.incoming import normalised
from clipdata.objects.faults import as_clipdata_error, verdict_on
from clipdata.storage import Storage, absolute, redact
from ingest.metadata import delimited_text, json_fields
from ingest.metadata.delimited_text import Record
from ingest.metadata.footers import check
from ingest.metadata.formats import FORMATS, FileFault, Unpacked, format_of, known_suffixes, packing_of
from ingest.metadata.text_blocks import MAX_LINE_CHARS, TextBlocks, known_encoding
from ingest.metadata.text_layout import TextLayout, find_layout, known_delimiter

_BATCH_ROWS = 4096


@dataclass(frozen=True)
class TextOptions:
    """How text files are to be read.

    Args:
        encoding: such as "gb18030".
        delimiter: one character, or "tab"; found where None.
        columns: names to give the columns of a file without a header, or instead of its own.
        header: whether the first line holds names; by default where no columns are named.

    Raises:
        UsageError: there is no such encoding or delimiter, two columns have one name, or nothing names the columns.
    """

    encoding: str = "utf-8"
    delimiter: str | None = None
    columns: tuple[str, ...] = ()
    header: bool | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", tuple(self.columns))
        known_encoding(self.encoding)
        known_delimiter(self.delimiter)
        double = sorted({name for name in self.columns if self.columns.count(name) > 1})
        if double:
            raise UsageError(f"columns names {', '.join(double)} more than once")
        if self.header is False and not self.columns:
            raise UsageError(
                "a file without a header needs names for its columns", hint="--columns filename,caption (columns=(…))"
            )

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {**asdict(self), "columns": list(self.columns)}


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
    `json`. Parquet columns are of plain types.

    Args:
        where: location; what `.gz`, `.bz2`, `.xz` or `.zst` behind the suffix says is unpacked while reading.
        file_format: one of `FORMATS`; by the suffix where None.
        encoding: of text files.
        delimiter: of text files; see `TextOptions`.
        columns: of text files; see `TextOptions`.
        header: of text files; see `TextOptions`.
        storage: how to reach it.

    Raises:
        UsageError: the format is not known.
        FileFault: by every method: the file cannot be read as what it is.
        NotFoundError: by every method: there is no file.
        CredentialsError: by every method: access is refused.
    """

    def __init__(
        self,
        where: str | os.PathLike[str],
        *,
        file_format: str | None = None,
        encoding: str = "utf-8",
        delimiter: str | None = None,
        columns: Sequence[str] = (),
        header: bool | None = None,
        storage: Storage | None = None,
    ) -> None:
        self.where = absolute(where)
        self.text = TextOptions(encoding, delimiter, tuple(columns), header)
        self.storage = storage or Storage()
        self.format = file_format or format_of(self.where)
        if self.format not in FORMATS:
            suffix = os.path.splitext(self.where.removesuffix(packing_of(self.where)))[1]
            raise UsageError(
                f"{redact(self.where)}: the suffix {suffix!r} names no list; expected one of {known_suffixes()}",
                hint=f"say which it is: --format (file_format=) {' | '.join(FORMATS)}",
            )
        self._json_columns: json_fields.JsonColumns | None = None
        self._layout: TextLayout | None = None

    def fields(self) -> list[pa.Field]:
        """The columns."""
        if self.format == "jsonl":
            return self._columns_of_json().fields()
        if self.format == "parquet":
            with self._bytes() as stream:
                return list(normalised(pq.read_schema(stream)).schema)
        return [pa.field(name, pa.string()) for name in self.layout().names]

    def layout(self) -> TextLayout:
        """How a delimited text is laid out."""
        if self._layout is None:
            with self._text() as stream:
                self._layout = find_layout(
                    stream,
                    self.format,
                    delimiter=known_delimiter(self.text.delimiter),
                    columns=self.text.columns,
                    header=self.text.header,
                )
        return self._layout

    @property
    def layout_notes(self) -> tuple[str, ...]:
        """What was found out of the ordinary in the layout of a text."""
        if self._json_columns is None:
            return self._layout.notes if self._layout else ()
        kept = "kept as text in the column 'json'"
        said = {
            f"fields of several types, {kept}": self._json_columns.mixed,
            f"objects, and lists that are not of one plain type, {kept}": self._json_columns.nested,
            "null in every row, which makes no column": self._json_columns.empty,
        }
        return tuple(f"{what}: {', '.join(names)}" for what, names in said.items() if names)

    def rows(self) -> Iterator[Row]:
        """All rows, in order."""
        if self.format == "jsonl":
            return self._rows_of_json()
        return self._rows_of_parquet() if self.format == "parquet" else self._rows_of_text()

    def batches(self) -> Iterator[pa.RecordBatch | Row]:
        """All rows in batches, and between them the rows that cannot be read."""
        if self.format in ("csv", "tsv"):
            layout = self.layout()
            with self._rows_begin(layout) as stream:
                for found in delimited_text.blocks(stream, layout.delimiter, layout.names):
                    yield _row(found, layout) if isinstance(found, Record) else found
            return
        schema = pa.schema(self.fields())
        gathered: list[Any] = []
        for row in self.rows():
            if row.values is None:
                yield row
                continue
            gathered.append(row.values)
            if len(gathered) == _BATCH_ROWS:
                yield pa.RecordBatch.from_pylist(gathered, schema)
                gathered = []
        if gathered:
            yield pa.RecordBatch.from_pylist(gathered, schema)

    def _rows_of_text(self) -> Iterator[Row]:
        layout = self.layout()
        with self._rows_begin(layout) as stream:
            for record in delimited_text.records(stream, layout.delimiter, len(layout.names)):
                yield _row(replace(record, line=record.line + layout.num_before), layout)

    @contextmanager
    def _rows_begin(self, layout: TextLayout) -> Iterator[TextBlocks]:
        """The text behind the header."""
        with self._text() as stream:
            for _ in range(layout.num_before):
                stream.readline()
            yield stream

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
            while line := stream.readline():
                number = stream.num_lines
                if len(line) > MAX_LINE_CHARS:
                    raise FileFault("not_text", f"line {number} has no end; is this a text file?")
                if not line.strip():
                    continue
                try:
                    yield Row(number, json_fields.load(line.encode()))
                except ImageRefused as error:
                    yield Row(number, None, error.detail, line)

    def _rows_of_parquet(self) -> Iterator[Row]:
        number = 0
        with self._bytes() as stream:
            file = pq.ParquetFile(stream)
            check(file.metadata)
            incoming = normalised(file.schema_arrow)
            for batch in file.iter_batches(_BATCH_ROWS):
                for values in incoming.apply(batch).to_pylist():
                    number += 1
                    yield Row(number, values)

    @contextmanager
    def _text(self) -> Iterator[TextBlocks]:
        with self._bytes() as stream:
            yield TextBlocks(Unpacked(stream, packing_of(self.where)), known_encoding(self.text.encoding))

    @contextmanager
    def _bytes(self) -> Iterator[Any]:
        shown = redact(self.where)
        try:
            fs, path = self.storage.filesystem(self.where)
            with fs.open(path, "rb") as stream:
                yield stream
        except FileFault as fault:
            raise FileFault(fault.reason, f"{shown}: {fault.message}", hint=fault.hint) from fault
        except (FileNotFoundError, IsADirectoryError) as error:
            if verdict_on(error) == "again":
                raise as_clipdata_error(error, f"reading {shown}", self.storage) from error
            raise NotFoundError(f"there is no list at {shown}", hint="check the path") from error
        except PermissionError as error:
            raise CredentialsError(f"reading {shown}: {redact(str(error))}") from error
        except pa.ArrowInvalid as error:
            raise FileFault("corrupt", f"{shown} is not a parquet file: {error}") from error


def _row(record: Record, layout: TextLayout) -> Row:
    values = None if record.values is None else dict(zip(layout.names, record.values, strict=True))
    return Row(record.line, values, record.fault, record.text)
