"""Layout of a delimited text: where its rows begin, what separates the fields, and what the columns are called.

It looks at the first lines only: an Excel `sep=`, comments, the header. Knows nothing of what the columns mean.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

from clipdata.errors import UsageError
from clipdata.incoming import plain_names
from ingest.metadata.delimited_text import records
from ingest.metadata.formats import FileFault
from ingest.metadata.text_blocks import MAX_LINE_CHARS, TextBlocks

DELIMITERS = (",", "\t", ";", "|")
_OWN = {"csv": ",", "tsv": "\t"}
_SEP = re.compile(r'^"?sep=(.)"?\r?\n?$', re.IGNORECASE)
_SAMPLE_LINES = 20
_WORDS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}


@dataclass(frozen=True)
class TextLayout:
    """How the rows of a text are to be read.

    Args:
        names: of the columns, each once.
        delimiter: between two fields.
        num_before: lines before the first row that are no rows.
        notes: what was found out of the ordinary.
    """

    names: tuple[str, ...]
    delimiter: str
    num_before: int
    notes: tuple[str, ...] = ()


def known_delimiter(given: str | None) -> str | None:
    """The character that is meant.

    Raises:
        UsageError: it is more than one, or one that can separate nothing.
    """
    if given is None:
        return None
    delimiter = _WORDS.get(given.lower(), given)
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise UsageError(f"the delimiter is {given!r}; expected one character, or one of {', '.join(_WORDS)}")
    return delimiter


def find_layout(
    stream: TextBlocks,
    file_format: str,
    *,
    delimiter: str | None = None,
    columns: Sequence[str] = (),
    header: bool | None = None,
) -> TextLayout:
    """Look at the start of a text; the stream has moved afterwards.

    Args:
        stream: at its start.
        file_format: "csv" or "tsv".
        delimiter: where it is known.
        columns: names to give the columns.
        header: whether the first line holds names; by default where none are given.

    Raises:
        FileFault: it is empty, has no readable header, or has other columns than were named.
    """
    lines: list[str] = []
    notes: list[str] = []
    num_before = 0
    # A line that is too long is refused by whoever reads it; twenty of them would fill the memory here.
    while len(lines) < _SAMPLE_LINES and sum(map(len, lines)) < MAX_LINE_CHARS and (line := stream.readline()):
        if not lines and (line.startswith("#") or not line.strip()):
            num_before += 1
            notes += ["comments before the header"] if line.startswith("#") else []
        elif not lines and (said := _SEP.match(line)):
            num_before += 1
            delimiter = delimiter or said.group(1)
        else:
            lines.append(line)
    if not lines:
        raise FileFault("empty", "it is empty or has no readable header; expected a line of column names")
    chosen = delimiter or _found_delimiter(lines, _OWN[file_format], len(columns))
    if delimiter is None and chosen != _OWN[file_format]:
        notes.append(f"fields separated by {chosen!r}")
    has_header = header if header is not None else not columns
    sample = [record.values for record in records(io.StringIO("".join(lines), newline=""), chosen)]
    if not sample or sample[0] is None:
        raise FileFault("empty", "it is empty or has no readable header; expected a line of column names")
    first = sample[0]
    if len(first) > 1 and not first[-1].strip() and not any(values and values[-1].strip() for values in sample):
        first = first[:-1]  # every line ends with a delimiter
    names = _names(first, columns, has_header=has_header)
    num_header = _num_lines(lines, chosen) if has_header else 0
    return TextLayout(names, chosen, num_before + num_header, tuple(dict.fromkeys(notes)))


def _names(first: list[str], columns: Sequence[str], *, has_header: bool) -> tuple[str, ...]:
    """The columns' names, each once; an index that a data frame wrote along has none."""
    if columns:
        if len(first) != len(columns):
            raise FileFault(
                "other_columns",
                f"the first line has {len(first)} fields, and {len(columns)} columns were named: {', '.join(columns)}",
                hint="name every column, in their order, or say which character separates them: --delimiter",
            )
        return tuple(columns)
    assert has_header, "columns without a header have names"
    named = [name.strip() or f"column_{place}" for place, name in enumerate(first)]
    places = [(name, named[:place].count(name)) for place, name in enumerate(named)]
    names = plain_names(places)
    return tuple(names[place] if place[1] else place[0] for place in places)


def _num_lines(lines: list[str], delimiter: str) -> int:
    """Lines that the header takes: a name may hold a line's end."""
    stream = io.StringIO("".join(lines), newline="")
    reader = csv.reader(stream, delimiter=delimiter, strict=True)
    next(reader)
    return reader.line_num


def _found_delimiter(lines: Sequence[str], own: str, num_columns: int) -> str:
    """The character that splits the lines into equally many fields; the suffix's own where it does at all."""
    text = "".join(lines)

    def counts(delimiter: str) -> list[int]:
        read = records(io.StringIO(text, newline=""), delimiter, None)
        return [len(record.values) for record in read if record.values is not None]

    found = {delimiter: counts(delimiter) for delimiter in dict.fromkeys((own, *DELIMITERS))}
    if found[own] and found[own][0] > 1:
        return own
    if num_columns:
        return max(found, key=lambda delimiter: found[delimiter].count(num_columns))
    return max(found, key=lambda delimiter: len(found[delimiter]) if found[delimiter][:1] > [1] else 0)
