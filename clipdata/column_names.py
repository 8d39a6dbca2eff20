"""Column names: which ones a new column may have, and how one is written inside a condition.

A name that Lance cannot read back is refused before anything is written: Lance makes such a column without a word, and
then no scan, condition or write of the table works again. This module knows Arrow schemas, and nothing of tables.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

import pyarrow as pa

from clipdata.errors import SchemaError, UsageError
from clipdata.schema import ERROR_SUFFIX, key_of

# Columns that every Lance table has; beside a stored one of that name no row of the table can be read.
HIDDEN_COLUMNS = frozenset(
    {"_rowid", "_rowaddr", "_rowoffset", "_row_created_at_version", "_row_last_updated_at_version"}
)
# Columns that Lance adds to what it reads.
LANCE_COLUMNS = HIDDEN_COLUMNS | {"_distance", "_score", "_relevance_score"}
MAX_NAME_BYTES = 200  # records of a column's map lie in a folder of its name, and a file system allows 255
_UNREADABLE = re.compile(r"[`.*]")
_TEXT_IN_SQL = re.compile(r"'(?:[^']|'')*'")


def check_column_name(name: str, schema: pa.Schema | None = None) -> None:
    """Refuse a name that no new column may have.

    Args:
        name: of the column that is to be made.
        schema: of the table; with it the key, and names that differ only in case, are refused too.

    Raises:
        UsageError: says what is wrong with the name, and one that would do.
    """
    problem = problem_of(name)
    if problem is None and schema is not None and name in schema.names:
        problem = "is the table's key, which identifies its rows" if name == key_of(schema) else None
    elif problem is None and schema is not None:
        near = [other for other in schema.names if other.casefold() == name.casefold()]
        if near:
            problem = f"differs only in case from {near[0]!r}, and SQL does not tell the two apart"
    if problem is not None:
        taken = schema.names if schema is not None else []
        raise UsageError(f"a column cannot be called {name!r}: the name {problem}", hint=f"use {_near(name, taken)!r}")


def check_storable(names: Iterable[str]) -> None:
    """Refuse names that no column may be stored under, whatever made it: Lance cannot read it, or the rows beside it.

    Raises:
        SchemaError: names them and says why.
    """
    problems = [(name, problem) for name in names if (problem := _unreadable(name))]
    if problems:
        listed = "; ".join(f"{name!r} {problem}" for name, problem in problems)
        raise SchemaError(
            f"nothing was written, because of names of columns: {listed}",
            hint=f"rename it where it comes from: {_near(problems[0][0], [])!r} would do",
        )


def is_readable(name: str) -> bool:
    """Tell whether Lance can read a column of this name, where another tool made it."""
    return bool(name) and "`" not in name and name not in HIDDEN_COLUMNS


def quoted(name: str) -> str:
    """A column's name as it is written inside a condition or a SELECT.

    Raises:
        SchemaError: no condition can name it, for it holds a backtick or nothing.
    """
    if not name or "`" in name:
        raise SchemaError(
            f"column {name!r} cannot be named in a condition: Lance has no way to write such a name",
            hint="go back to a version from before it was made; clipdata log lists them",
        )
    return f"`{name}`"


def column_meant(name: str, columns: Sequence[str]) -> str:
    """The column that a name means: the one of its very case, else the only one that differs in case alone.

    Returns:
        The name as it was given where no column is called so in any case.

    Raises:
        SchemaError: several columns differ from it in case alone.
    """
    if name in columns:
        return name
    near = [one for one in columns if one.casefold() == name.casefold()]
    if len(near) > 1:
        raise SchemaError(
            f"{name} stands for several columns, which differ in case alone: {', '.join(near)}",
            hint=f"write one as it is called, in a condition or a SELECT {' or '.join(map(quoted, near))}",
        )
    return near[0] if near else name


def columns_named(where: str | None, columns: Iterable[str]) -> list[str]:
    """Those of some columns that an SQL condition names, as far as its words tell; texts in it name none."""
    words = _TEXT_IN_SQL.sub("''", where or "").casefold()
    return [name for name in columns if re.search(rf"(?<!\w){re.escape(name.casefold())}(?!\w)", words)]


def problem_of(name: object) -> str | None:
    """What is wrong with a name, whatever columns stand beside it; None when a column may have it."""
    if not isinstance(name, str):
        return f"is a {type(name).__name__}; expected text"
    if name.strip() and name != name.strip():
        return "begins or ends with a blank"
    if problem := _unreadable(name):
        return problem
    if name.endswith(ERROR_SUFFIX):
        return f"ends in {ERROR_SUFFIX!r}, which is kept for the reasons why rows of another column have no value"
    size_bytes = len(name.encode())
    if size_bytes > MAX_NAME_BYTES:
        return f"takes {size_bytes} bytes; expected at most {MAX_NAME_BYTES}"
    return None


def _unreadable(name: str) -> str | None:
    if not name.strip():
        return "is empty"
    if found := _UNREADABLE.search(name):
        return f"holds {found.group()!r}, and Lance cannot read such a column back"
    if any(unicodedata.category(letter) == "Cs" for letter in name):
        return "is no UTF-8"
    if any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in name):
        return "holds a control character"
    if name.casefold() in LANCE_COLUMNS:
        return "belongs to Lance, which adds a column of that name to what it reads"
    return None


def _near(name: object, taken: list[str]) -> str:
    """A name like it that would do."""
    text = str(name).strip()
    while text.casefold().endswith(ERROR_SUFFIX):
        text = text[: -len(ERROR_SUFFIX)]
    text = re.sub(r"\W+", "_", text).strip("_")[: MAX_NAME_BYTES // 4]
    lower = {other.casefold() for other in taken}
    base = text if text and text.casefold() not in LANCE_COLUMNS else "values"
    return (
        base
        if base.casefold() not in lower
        else next(
            f"{base}_{number}" for number in range(2, len(lower) + 3) if f"{base}_{number}".casefold() not in lower
        )
    )
