"""Lists that went through CSV and came back as texts: `['a', 'b']`, `["a", "b"]`, `[1, 2]`, numpy's `['a' 'b']`.

A text is read as a list only where somebody asks for it. Knows Arrow types, and nothing of files.
"""

from __future__ import annotations

import ast
import json
import re
from collections import Counter as Tally
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from clipdata.schema import is_text, require_columns

_ONE = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_NUMPY_TEXTS = re.compile(rf"\[\s*(?:{_ONE})(?:\s+(?:{_ONE}))*\s*\]", re.DOTALL)
_NUMPY_NUMBERS = re.compile(r"\[\s*[-+\w.]+(?:\s+[-+\w.]+)*\s*\]")
_MAX_CHARS = 1_000_000


def list_in(text: str) -> list[str] | None:
    """The list that a text writes out, its elements as texts; None where it writes none."""
    text = text.strip()
    if not (text.startswith(("[", "(")) and text.endswith(("]", ")"))) or len(text) > _MAX_CHARS:
        return None
    for read in (json.loads, _numpy_texts, ast.literal_eval):
        try:
            return _as_texts(read(text), text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return text[1:-1].split() if _NUMPY_NUMBERS.fullmatch(text) else None


def _numpy_texts(text: str) -> list[str]:
    """Texts side by side, which Python would take for one."""
    if not _NUMPY_TEXTS.fullmatch(text):
        raise ValueError("no array of texts")
    return [ast.literal_eval(one) for one in re.findall(_ONE, text, re.DOTALL)]


def _as_texts(found: Any, text: str) -> list[str] | None:
    if not isinstance(found, list | tuple) or any(isinstance(one, list | tuple | dict | set) for one in found):
        return None
    texts = [one if isinstance(one, str) else json.dumps(one) for one in found if one is not None]
    is_unicode = not any("\ud800" <= letter <= "\udfff" for one in texts for letter in one)
    # Two texts side by side are one to Python; where there are others too, nobody knows what was meant.
    each_once = len(re.findall(_ONE, text, re.DOTALL)) == sum(isinstance(one, str) for one in found)
    return texts if is_unicode and each_once else None


class ListColumns:
    """Columns of texts that are to be read as lists of texts.

    Args:
        names: of the columns; one that holds lists already stays as it is.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._unread: Tally[str] = Tally()
        self._is_text: frozenset[str] = frozenset()

    def schema(self, columns: pa.Schema, where: str) -> pa.Schema:
        """The columns with lists in place of texts.

        Raises:
            SchemaError: a column does not exist.
        """
        require_columns(columns, self.names, verb="ingest parquet", where=where)
        self._is_text = frozenset(name for name in self.names if is_text(columns.field(name).type))
        kind = pa.list_(pa.string())
        return pa.schema([column.with_type(kind) if column.name in self._is_text else column for column in columns])

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with lists in place of texts; a text that writes out none is a list of itself."""
        for name in self._is_text:
            place = batch.schema.get_field_index(name)
            values = pa.array(
                [self._read(name, text) for text in batch.column(place).to_pylist()], pa.list_(pa.string())
            )
            batch = batch.set_column(place, name, values)
        return batch

    def _read(self, name: str, text: str | None) -> list[str] | None:
        if text is None or not text.strip():
            return None
        found = list_in(text)
        if found is None:
            self._unread[name] += 1
            return [text]
        return found

    def notes(self) -> dict[str, str]:
        """What was read as lists, and how many texts were none."""
        if not self._is_text:
            return {}
        said = [
            f"{n} ({self._unread[n]:,} of them no list, kept as one text)" if self._unread[n] else n for n in self.names
        ]
        return {"texts read as lists": ", ".join(said)}
