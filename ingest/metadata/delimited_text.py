"""CSV and TSV: a block at a time where the text is regular, a record at a time where it is not, with the same values.

A quote that is never closed swallows what follows it, in every reader. Here the record that began with it is given up
and the lines after it are read anew, so that one bad record costs one record. All values are text: `007` stays `007`.
Knows nothing of URLs.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.csv

from ingest.metadata.formats import FileFault
from ingest.metadata.text_blocks import MAX_LINE_CHARS, TextBlocks

_QUOTE, _NEWLINE, _CARRIAGE = b'"'[0], b"\n"[0], b"\r"[0]


class Lines(Protocol):
    """What records are read from: a text opened with `newline=""`, or blocks of one."""

    def readline(self, limit: int, /) -> str:
        """The next line, with its end; empty at the end of the text."""
        ...


@dataclass(frozen=True)
class Record:
    """One record, or why there is none.

    Args:
        line: number of its first line, from 1.
        values: fields; None when it cannot be read.
        fault: why.
        text: the line itself, for a record that cannot be read.
    """

    line: int
    values: list[str] | None
    fault: str = ""
    text: str = ""


def records(stream: Lines, delimiter: str, num_fields: int | None = None) -> Iterator[Record]:
    """Read all records, skipping blank lines.

    Args:
        stream: opened with `newline=""`.
        delimiter: one character.
        num_fields: how many fields each record must have; those of the first record where None. An empty one behind
            the last delimiter does not count.

    Raises:
        FileFault: the file has no line ends, as a binary file.
    """
    return _records(_PutBack(stream), delimiter, num_fields)


def blocks(stream: TextBlocks, delimiter: str, names: Sequence[str]) -> Iterator[pa.RecordBatch | Record]:
    """Read all records: batches of texts, and between them the records that cannot be read.

    Args:
        stream: behind the header.
        delimiter: one character.
        names: of the columns.

    Raises:
        FileFault: see `records`.
    """
    while True:
        block = stream.block()
        if not block and stream.is_done:
            return
        stop = _regular_part(block, delimiter) if block else 0  # a line may be longer than a block
        batch = _parsed(block[:stop], delimiter, names) if stop else None
        if batch is not None:
            stream.skip(stop, block.count(b"\n", 0, stop) + (not block[:stop].endswith(b"\n")))
            if batch.num_rows:
                yield batch
            continue
        yield from _slowly(stream, max(len(block), 1), delimiter, names)


def _slowly(
    stream: TextBlocks, num_bytes: int, delimiter: str, names: Sequence[str]
) -> Iterator[pa.RecordBatch | Record]:
    """The records that begin within the next bytes, one by one."""
    goal = stream.position + num_bytes
    source = _PutBack(stream, stream.num_lines)
    gathered: list[list[str]] = []
    for record in _records(source, delimiter, len(names)):
        if record.values is None:
            yield record
        else:
            gathered.append(record.values)
        if stream.position >= goal and source.is_empty:
            break
    if gathered:
        arrays = [pa.array(column, pa.string()) for column in zip(*gathered, strict=True)]
        yield pa.record_batch(arrays, names=list(names))


def _regular_part(block: bytes, delimiter: str) -> int:
    """How many bytes of a block, up to a line's end, every reader of CSV understands alike; 0 for none.

    Quotes stand around whole fields or doubled inside them, lines end in one way, and none is too long.
    """
    letters = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(letters == _NEWLINE)
    if _longest(ends, len(letters)) >= csv.field_size_limit():
        return 0
    if block.count(b"\r") != block.count(b"\r\n") or b"\0" in block:
        return 0
    quotes = np.flatnonzero(letters == _QUOTE)
    if not len(quotes):
        return len(block)
    if len(delimiter.encode()) > 1:
        return 0
    edges = np.zeros(256, np.bool_)
    edges[[ord(delimiter), _NEWLINE, _QUOTE]] = True
    padded = np.concatenate([[_NEWLINE], letters, [_NEWLINE]])
    opening, closing = quotes[::2], quotes[1::2]
    if _longest(quotes, len(letters)) >= csv.field_size_limit():
        return 0
    opens_well = edges[padded[opening]]
    after = padded[closing + 2]
    closes_well = edges[after] | ((after == _CARRIAGE) & (padded[np.minimum(closing + 3, len(padded) - 1)] == _NEWLINE))
    if not opens_well.all() or not closes_well.all():
        return 0
    is_outside = np.searchsorted(quotes, ends) % 2 == 0
    if len(quotes) % 2 == 0:
        return len(block)
    return int(ends[is_outside][-1]) + 1 if is_outside.any() else 0


def _longest(places: np.ndarray, num_letters: int) -> int:
    """The longest way between two places, or to the start or the end."""
    return int(np.diff(places, prepend=-1, append=num_letters).max(initial=0))


def _parsed(block: bytes, delimiter: str, names: Sequence[str]) -> pa.RecordBatch | None:
    """The records of a regular block; None where one has another number of fields."""
    texts = dict.fromkeys(names, pa.string())
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(block),
            pyarrow.csv.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=list(names)),
            pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            pyarrow.csv.ConvertOptions(column_types=texts, strings_can_be_null=False, null_values=[]),
        )
    except pa.ArrowInvalid:
        return None
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.record_batch([pa.array([], pa.string()) for _ in names], names=list(names))


def _records(source: _PutBack, delimiter: str, num_fields: int | None) -> Iterator[Record]:
    while True:
        source.start_record()
        reader = csv.reader(source, delimiter=delimiter, strict=True)
        for values in _until_fault(reader, source):
            if isinstance(values, str):
                yield source.give_up(values)
                break
            if num_fields is not None and len(values) == num_fields + 1 and values[-1] == "":
                values = values[:-1]
            if values and num_fields is not None and len(values) != num_fields:
                yield source.give_up(f"{len(values)} fields; the header has {num_fields}")
                break
            if values:
                num_fields = num_fields or len(values)
                yield Record(source.first_line, values)
            source.start_record()
        else:
            return


def _until_fault(reader: Iterator[list[str]], source: _PutBack) -> Iterator[list[str] | str]:
    """Records, and at the first fault what it is."""
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield f"{error} (lines {source.first_line} to {source.last_line})"
            return


class _PutBack:
    """Lines of a stream; those of the current record can be put back."""

    def __init__(self, stream: Lines, num_lines: int = 0) -> None:
        self._stream = stream
        self._again: deque[str] = deque()
        self._record: list[str] = []
        self.last_line = num_lines

    @property
    def first_line(self) -> int:
        return self.last_line - len(self._record) + 1

    @property
    def is_empty(self) -> bool:
        """Whether no line waits to be read again."""
        return not self._again

    def start_record(self) -> None:
        self._record = []

    def give_up(self, fault: str) -> Record:
        """Refuse the first line of the current record, and put back the others."""
        first, *others = self._record
        refused = Record(self.first_line, None, fault, first)
        self._again.extendleft(reversed(others))
        self.last_line -= len(others)
        return refused

    def __iter__(self) -> _PutBack:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else self._stream.readline(MAX_LINE_CHARS + 1)
        if not line:
            raise StopIteration
        self.last_line += 1
        if len(line) > MAX_LINE_CHARS:
            raise _endless(self.last_line)
        self._record.append(line)
        return line


def _endless(line: int) -> FileFault:
    return FileFault("not_text", f"line {line:,} has more than {MAX_LINE_CHARS:,} characters; is this a text file?")
