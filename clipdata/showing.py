"""Showing: a few rows of a table, drawn anew by every seed, as people read them.

Only what is shown is read: the rows that were drawn, and of a picture no byte where the table says what it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from clipdata.arguments import check_count
from clipdata.column_names import is_readable
from clipdata.lance_io.pictures import place_columns
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.printable import printable
from clipdata.schema import image_column
from clipdata.shown_values import picture_words, plain_value, shown_value
from clipdata.storage import Storage, redact

_PICTURE_FACTS = ("format", "width", "height", "bytes")


@dataclass(frozen=True)
class Shown:
    """A few rows.

    Args:
        table: location.
        version: of the table.
        num_rows: from which they were drawn.
        columns: names, in order.
        rows: each a value a column as JSON knows it; bytes and long lists as words.
        texts: the same as people read them; None for a null.
    """

    table: str
    version: int
    num_rows: int
    columns: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...]
    texts: tuple[tuple[str | None, ...], ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "table": self.table,
            "version": self.version,
            "rows": self.num_rows,
            "sample": [dict(row) for row in self.rows],
        }

    def __str__(self) -> str:
        widest = max(map(len, self.columns), default=0)
        blocks = [
            "\n".join(
                f"{name:<{widest}}  {printable(text or '')}".rstrip()
                for name, text in zip(self.columns, row, strict=True)
            )
            for row in self.texts
        ]
        return "\n\n".join([f"{len(self.rows):,} of {self.num_rows:,} rows (version {self.version})", *blocks])


def show(
    table: AnyTable,
    *,
    sample: int = 10,
    seed: int = 0,
    where: str | None = None,
    columns: Sequence[str] | None = None,
    storage: Storage | None = None,
) -> Shown:
    """Draw rows of a table and show them as people read them: the same ones every time for a version and a seed.

    Args:
        table: at the version that it is opened at; or the location of one.
        sample: rows to draw; all where there are fewer.
        seed: another one draws others.
        where: SQL condition of the rows to draw from. Their numbers, 8 bytes a row, are held in memory then.
        columns: names; all by default, but those that say where pictures are.
        storage: how to reach the location.

    Raises:
        UsageError: a number is none.
        SchemaError: there is no such column, or the condition is not valid for the table.
    """
    check_count(sample, "show: sample", least=1)
    check_count(seed, "show: seed")
    opened = as_table(table, storage=storage)
    names = _names(opened, columns)
    places = opened.offsets(where) if where is not None else None
    num_rows = len(places) if places is not None else opened.num_rows
    drawn = np.sort(np.random.default_rng(seed).choice(num_rows, min(sample, num_rows), replace=False, shuffle=False))
    chosen = (places[drawn] if places is not None else drawn).astype(np.int64)
    values, texts = _columns(opened, chosen, names)
    return Shown(
        redact(opened.uri),
        opened.version,
        num_rows,
        names,
        tuple({name: values[name][place] for name in names} for place in range(len(chosen))),
        tuple(tuple(texts[name][place] for name in names) for place in range(len(chosen))),
    )


def _names(table: Table, columns: Sequence[str] | None) -> tuple[str, ...]:
    if columns is not None:
        table.require(columns, verb="show")
        return tuple(dict.fromkeys(columns))
    hidden = place_columns(table.schema)
    return tuple(name for name in table.schema.names if name not in hidden and is_readable(name))


def _columns(
    table: Table, chosen: np.ndarray, names: Sequence[str]
) -> tuple[dict[str, list[Any]], dict[str, list[str | None]]]:
    """Values of each column, as JSON and as text."""
    schema = table.schema
    image = image_column(schema)
    facts = [name for name in _PICTURE_FACTS if name in schema.names]
    is_told = image in names and len(facts) == len(_PICTURE_FACTS)
    read = [name for name in names if not (is_told and name == image)]
    rows = table.take(chosen, list(dict.fromkeys([*read, *(facts if is_told else ())]))) if len(chosen) else None
    values: dict[str, list[Any]] = {name: [] for name in names}
    texts: dict[str, list[str | None]] = {name: [] for name in names}
    for name in names if rows is not None else ():
        assert rows is not None, "there are rows"
        if name not in read:
            words = [picture_words(*known) for known in zip(*(rows[fact].to_pylist() for fact in facts), strict=True)]
            values[name], texts[name] = list(words), list(words)
            continue
        kind: pa.DataType = rows[name].type
        found = rows[name].to_pylist()
        values[name] = [plain_value(value, kind) for value in found]
        texts[name] = [shown_value(value, kind) for value in found]
    return values, texts
