"""Random conditions on a table of every awkward value, as SQL and as an Arrow computation, held against each other.

Three readers judge each condition: Lance through `where`, DuckDB, and pyarrow's compute functions. What they see
differently and may, is a known difference, named in `KNOWN` with its reason, and computed here the way Lance does it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

import clipdata as cd
from clipdata.column_names import quoted
from clipdata.lance_io import rows
from clipdata.schema import key_field

KNOWN = {
    "NaN": "pyarrow compares by IEEE, where NaN is equal to nothing; Lance and DuckDB take it for the greatest number",
    "two lists": "of `t IN (…) AND t IN (…)` with nothing in common DataFusion makes false, also where t is null, so "
    "that NOT of it is true there; no condition here has two lists of one column",
    "contradictions": "the same of `p AND NOT p`; no condition here has one part twice",
}
TEXTS = [
    "", " ", "a", "A", "ab", "aB", "a'b", "it''s", '"', "`", "%", "_", "50%", "a_b", "axb", "\\", "a\\b", "\\%", "é",
    "É", "e\u0301", "狗", "🐕", "NULL", "null", "true", "1", "--", ";", "/*", "\n", "\t", "a b", "a\nb", None,
]  # fmt: skip
INTEGERS = [0, 1, -1, 2, 7, 100, 2**31, -(2**31), 2**53 + 1, 2**63 - 1, -(2**63), None]
FLOATS = [0.0, 1.0, -1.0, 0.1, 1e-300, 1e300, float("inf"), float("-inf"), float("nan"), 0.5, 2.0**53, None]
MOMENTS = [
    datetime(1970, 1, 1), datetime(1969, 12, 31, 23, 59, 59, 999999), datetime(2024, 2, 29, 12, 30),
    datetime(2024, 2, 29, 12, 30, 0, 1), datetime(2026, 11, 26), None,
]  # fmt: skip
NUM_ROWS = 240
Evaluate = Callable[[pa.Table], pa.ChunkedArray]
Name = Callable[[str], str]


@dataclass(frozen=True)
class Condition:
    """One condition.

    Args:
        sql: given how a column is written in a dialect.
        arrow: true, false or null of every row.
    """

    sql: Callable[[Name], str]
    arrow: Evaluate

    @property
    def lance(self) -> str:
        """As `where` takes it."""
        return self.sql(lambda name: ".".join(quoted(part) for part in name.split(".")))

    @property
    def duckdb(self) -> str:
        """As DuckDB takes it."""
        return self.sql(lambda name: ".".join(f'"{part}"' for part in name.split(".")))


def awkward_rows(seed: int = 0) -> pa.Table:
    """Rows in which every kind of value meets every other."""
    random_ = random.Random(seed)

    def drawn(values: list[Any]) -> list[Any]:
        return [random_.choice(values) for _ in range(NUM_ROWS)]

    figures = [
        None if n % 11 == 0 else {"blur": blur, "tag": tag}
        for n, (blur, tag) in enumerate(zip(drawn(FLOATS), drawn(TEXTS), strict=True))
    ]
    return pa.table(
        {
            "path": [f"{n:04d}" for n in range(NUM_ROWS)],
            "i": pa.array(drawn(INTEGERS), pa.int64()),
            "j": pa.array(drawn(INTEGERS), pa.int64()),
            "f": pa.array(drawn(FLOATS), pa.float64()),
            "t": pa.array(drawn(TEXTS), pa.string()),
            "Name": pa.array(drawn(TEXTS), pa.string()),
            "two words": pa.array(drawn(TEXTS), pa.string()),
            "b": pa.array(drawn([True, False, None]), pa.bool_()),
            "at": pa.array(drawn(MOMENTS), pa.timestamp("us")),
            "q": pa.array(figures, pa.struct([("blur", pa.float64()), ("tag", pa.string())])),
        }
    )


def awkward_table(folder: Path) -> tuple[cd.Table, pa.Table]:
    """A table of them in two fragments, with a few rows deleted, and the rows that are left."""
    given = awkward_rows()
    schema = pa.schema([key_field("path"), *list(given.schema)[1:]])
    table = rows.create_table(folder / "awkward.lance", schema)
    rows.upsert(table, given.slice(0, 150))
    rows.upsert(table, given.slice(150))
    rows.delete_keys(table, ["0003", "0151"])
    left = pa.compute.invert(pc.is_in(given["path"], pa.array(["0003", "0151"])))
    return table.latest(), given.filter(left)


class Conditions:
    """Draws conditions.

    Args:
        seed: the same conditions every time.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._listed, self._leaves = set[str](), set[str]()

    def next(self) -> Condition:
        """One condition."""
        self._listed.clear()
        self._leaves.clear()
        return self.draw()

    def draw(self, depth: int = 3) -> Condition:
        """A condition, or a part of one, of at most so many levels."""
        kind = self._random.choice(["and", "or", "not"]) if depth and self._random.random() < 0.6 else "leaf"
        if kind == "leaf":
            return self._leaf()
        one = self.draw(depth - 1)
        if kind == "not":
            return Condition(lambda name: f"NOT ({one.sql(name)})", lambda t: pc.invert(one.arrow(t)))
        other = self.draw(depth - 1)
        joined = pc.and_kleene if kind == "and" else pc.or_kleene
        return Condition(
            lambda name: f"({one.sql(name)}) {kind.upper()} ({other.sql(name)})",
            lambda t: joined(one.arrow(t), other.arrow(t)),
        )

    def _leaf(self) -> Condition:
        while True:
            found = self._random.choice(
                [self._numbers, self._floats, self._texts, self._like, self._moments, self._nulls, self._truth,
                 self._among, self._columns, self._between]
            )()  # fmt: skip
            if found.lance not in self._leaves:
                self._leaves.add(found.lance)
                return found

    def _sign(self) -> str:
        return self._random.choice(["=", "<>", "!=", "<", "<=", ">", ">="])

    def _text_column(self) -> str:
        return self._random.choice(["t", "Name", "two words", "q.tag"])

    def _numbers(self) -> Condition:
        name, sign = self._random.choice("ij"), self._sign()
        value = self._random.choice([v for v in INTEGERS if v is not None and v != -(2**63)])
        return _compared(name, sign, str(value), pa.scalar(value, pa.int64()))

    def _floats(self) -> Condition:
        name, sign = self._random.choice(["f", "q.blur"]), self._sign()
        value = self._random.choice([0.0, 1.0, 0.1, -1.0, 0.5, 1e300])
        return _compared(name, sign, f"CAST({value!r} AS DOUBLE)", pa.scalar(value))

    def _texts(self) -> Condition:
        value = self._random.choice([v for v in TEXTS if v is not None])
        return _compared(self._text_column(), self._sign(), literal(value), pa.scalar(value))

    def _moments(self) -> Condition:
        value = self._random.choice([v for v in MOMENTS if v is not None])
        return _compared(
            "at", self._sign(), f"TIMESTAMP '{value.isoformat(sep=' ')}'", pa.scalar(value, pa.timestamp("us"))
        )

    def _like(self) -> Condition:
        name = self._text_column()
        pattern = self._random.choice(["%", "a%", "%b", "_", "a_b", "%é%", "狗", "", "%'%", "__", "%%", "A%", "a%b"])
        return Condition(
            lambda named: f"{named(name)} LIKE {literal(pattern)}",
            lambda t: pc.match_like(_column(t, name), pattern),
        )

    def _nulls(self) -> Condition:
        name = self._random.choice(["i", "f", "t", "Name", "two words", "b", "at", "q.tag", "q.blur"])
        if self._random.random() < 0.5:
            return Condition(lambda named: f"{named(name)} IS NULL", lambda t: pc.is_null(_column(t, name)))
        return Condition(lambda named: f"{named(name)} IS NOT NULL", lambda t: pc.is_valid(_column(t, name)))

    def _truth(self) -> Condition:
        if self._random.random() < 0.5:
            return Condition(lambda named: named("b"), lambda t: t["b"])
        name = self._random.choice(["f", "q.blur"])
        return Condition(lambda named: f"isnan({named(name)})", lambda t: pc.is_nan(_column(t, name)))

    def _among(self) -> Condition:
        name = self._text_column()
        if name in self._listed:
            return self._texts()
        self._listed.add(name)
        values = self._random.sample([v for v in TEXTS if v is not None], 3)
        listed = ", ".join(map(literal, values))

        def within(t: pa.Table) -> pa.ChunkedArray:
            column = _column(t, name)
            return pc.if_else(pc.is_valid(column), pc.is_in(column, pa.array(values)), pa.scalar(None, pa.bool_()))

        return Condition(lambda named: f"{named(name)} IN ({listed})", within)

    def _columns(self) -> Condition:
        one, other = self._random.choice([("i", "j"), ("t", "Name"), ("Name", "two words"), ("f", "q.blur")])
        sign = self._sign()
        return Condition(
            lambda named: f"{named(one)} {sign} {named(other)}",
            lambda t: _judged(_column(t, one), sign, _column(t, other)),
        )

    def _between(self) -> Condition:
        low, high = sorted(self._random.sample([-1, 0, 1, 7, 100], 2))
        name = self._random.choice("ij")
        return Condition(
            lambda named: f"{named(name)} BETWEEN {low} AND {high}",
            lambda t: pc.and_kleene(pc.greater_equal(t[name], low), pc.less_equal(t[name], high)),
        )


def literal(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def _column(table: pa.Table, name: str) -> pa.ChunkedArray:
    above, _, inside = name.partition(".")
    return pc.struct_field(table[above], inside) if inside else table[name]


def _compared(name: str, sign: str, written: str, value: pa.Scalar) -> Condition:
    return Condition(lambda named: f"{named(name)} {sign} {written}", lambda t: _judged(_column(t, name), sign, value))


_SIGNS = {
    "=": pc.equal, "<>": pc.not_equal, "!=": pc.not_equal, "<": pc.less, "<=": pc.less_equal, ">": pc.greater,
    ">=": pc.greater_equal,
}  # fmt: skip


def _judged(one: Any, sign: str, other: Any) -> pa.ChunkedArray:
    """A comparison; of floats by their places among all, so that NaN is the greatest number (see `KNOWN`)."""
    if not pa.types.is_floating(one.type):
        return _SIGNS[sign](one, other)
    return _SIGNS[sign](_places(one), _places(other))


_PLACES = {value: place for place, value in enumerate(sorted({v for v in FLOATS if v is not None and v == v}))}


def _places(values: Any) -> Any:
    def place(value: float | None) -> int | None:
        return None if value is None else _PLACES.get(value, len(_PLACES))

    if isinstance(values, pa.Scalar):
        return pa.scalar(place(values.as_py()), pa.int64())
    return pa.chunked_array([pa.array(map(place, values.to_pylist()), pa.int64())])
