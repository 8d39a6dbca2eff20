"""CSV and TSV, read a record at a time, so that one bad record costs one record.

A quote that is never closed swallows what follows it, in every reader. Here the record that began with it is given up
and the lines after it are read anew. All values are text: `007` stays `007`. Knows nothing of URLs.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

from clipdata.errors import UsageError

MAX_LINE_CHARS = 1_000_000


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


def records(stream: TextIO, delimiter: str, num_fields: int | None = None) -> Iterator[Record]:
    """Read all records, skipping blank lines.

    Args:
        stream: opened with `newline=""`.
        delimiter: one character.
        num_fields: how many fields each record must have; those of the first record where None.

    Raises:
        UsageError: the file has no line ends, as a binary file.
    """
    source = _Lines(stream)
    while True:
        source.start_record()
        reader = csv.reader(source, delimiter=delimiter, strict=True)
        for values in _until_fault(reader, source):
            if isinstance(values, str):
                yield source.give_up(values)
                break
            if values and num_fields is not None and len(values) != num_fields:
                yield source.give_up(f"{len(values)} fields; the header has {num_fields}")
                break
            if values:
                num_fields = num_fields or len(values)
                yield Record(source.first_line, values)
            source.start_record()
        else:
            return


def _until_fault(reader: Iterator[list[str]], source: _Lines) -> Iterator[list[str] | str]:
    """Records, and at the first fault what it is."""
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield f"{error} (lines {source.first_line} to {source.last_line})"
            return


class _Lines:
    """Lines of a stream; those of the current record can be put back."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._again: deque[str] = deque()
        self._record: list[str] = []
        self.last_line = 0

    @property
    def first_line(self) -> int:
        return self.last_line - len(self._record) + 1

    def start_record(self) -> None:
        self._record = []

    def give_up(self, fault: str) -> Record:
        """Refuse the first line of the current record, and put back the others."""
        first, *others = self._record
        refused = Record(self.first_line, None, fault, first)
        self._again.extendleft(reversed(others))
        self.last_line -= len(others)
        return refused

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else self._stream.readline(MAX_LINE_CHARS + 1)
        if not line:
            raise StopIteration
        self.last_line += 1
        if len(line) > MAX_LINE_CHARS:
            raise UsageError(f"line {self.last_line} has more than {MAX_LINE_CHARS:,} characters; is this a text file?")
        self._record.append(line)
        return line
