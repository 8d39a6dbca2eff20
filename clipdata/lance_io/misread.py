"""Misread: what Lance says of a condition or a SELECT that it does not understand, said of what the person wrote.

Its own texts speak of statements that nobody typed, of hidden columns and of Rust types. It knows these texts and SQL,
and no table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import NamedTuple

from clipdata.column_names import quoted
from clipdata.lance_io.faults import said_by
from clipdata.schema import columns_listed

_MOST_LETTERS, _MOST_READ = 240, 1 << 16  # what is wrong stands behind the condition, however long
_VALUE = "a text is written 'test', a column with unusual letters `the name`"
_CAST = "cast(COLUMN as double) makes a text a number, cast(COLUMN as string) a number a text"
_COMPARED = "compare each column with something: score > 0.5 AND split = 'test', or NOT (score > 0.5)"
_CONCAT = "OR joins two conditions; cast(COLUMN as string) makes a number a text"
_TYPES = "types: bigint, int, float, double, string, boolean, date, timestamp"
_LITERALS = {
    "Timestamp": "a time is written timestamp '2026-01-31 12:00:00'",
    "Date": "a date is written date '2026-01-31'",
    "Time": "a time of day is compared as a number: arrow_cast(COLUMN, 'Int64') >= …, in the column's own unit",
    "Decimal": "a decimal is written cast(1.5 as decimal{rest})",
    "Duration": "a duration is compared as a number: cast(COLUMN as bigint) >= …, in the column's own unit",
    "Float": "a number is written without quotes: 0.5",
    "Int": "a number is written without quotes: 5",
    "UInt": "a number is written without quotes: 5",
    "Boolean": "it is asked by itself: COLUMN, or NOT COLUMN",
    "FixedSizeList": "an entry of a list is asked for by its number from 1 on: COLUMN[1] > 0.5",
    "List": "a list is asked for an entry or for what it holds: COLUMN[1] = 'a', array_has(COLUMN, 'a')",
    "Struct": "a struct is asked for one of its fields: COLUMN.field = 'a'",
    "LargeBinary": "bytes can be asked for alone: COLUMN IS NULL",
    "Binary": "bytes can be asked for alone: COLUMN IS NULL",
}
_KINDS = (
    ("Utf", "a text"), ("LargeUtf", "a text"), ("Boolean", "true or false"), ("Interval", "a span of time"),
    ("Int", "a number"), ("UInt", "a number"), ("Float", "a number"), ("Date", "a date"), ("Timestamp", "a time"),
    ("Time", "a time of day"), ("Decimal", "a decimal"), ("Duration", "a duration"), ("FixedSizeList", "a list"),
    ("LargeList", "a list"), ("List", "a list"), ("LargeBinary", "bytes"), ("Binary", "bytes"), ("Struct", "a struct"),
    ("Map", "a map"), ("Null", "null"),
)  # fmt: skip
_KEYWORDS = frozenset(
    ("AND", "OR", "NOT", "IN", "LIKE", "IS", "NULL", "BETWEEN", "SELECT", "FROM", "WHERE", "ORDER", "GROUP", "BY")
)


class Told(NamedTuple):
    """What is wrong, and what to type instead."""

    what: str
    hint: str | None


def told_of(error: BaseException, names: Sequence[str]) -> Told:
    """What is wrong with a condition or a SELECT.

    Args:
        error: of Lance, or one that it was the cause of.
        names: columns that the person can name.
    """
    message = said_by(error.__cause__ or error, _MOST_READ)
    for pattern, tell in _KNOWN:
        if found := pattern.search(message):
            return tell(found, names)
    return Told(f"it is not understood: {_plain(message)}", None)


def _missing(found: re.Match[str], names: Sequence[str]) -> Told:
    name = found["name"].rpartition(".")[2].strip('"`').strip()
    if name.upper() in _KEYWORDS:
        return Told(f"{name} stands where a column or a value is expected", "one condition, such as: split = 'test'")
    close = get_close_matches(name.casefold(), [one.casefold() for one in names], 1)
    meant = next((one for one in names if close and one.casefold() == close[0]), None)
    hint = f"perhaps {quoted_if_needed(meant)}; or '{name}', if it is a text" if meant else f"'{name}', if it is a text"
    return Told(f"there is no column {name}; there are: {columns_listed(names, quoted_if_needed)}", hint)


def _expected(found: re.Match[str], _: Sequence[str]) -> Told:
    wanted, met = found["wanted"].strip(), found["met"].partition("at Line")[0].strip()
    wanted = {"an expression": "a column or a value", ")": "AND, OR or the end", "placeholder": "a name"}.get(
        wanted, wanted.removesuffix(" after IS").replace(" | ", ", ").replace("[form] NORMALIZED FROM", "").strip(", ")
    )
    if met in ("EOF", ")", ""):
        return Told(f"{wanted} is missing at its end, or before a )", _VALUE)
    return Told(f"{met} stands where {wanted} is expected", _VALUE)


def _kinds_of(text: str) -> str:
    return next((word for start, word in _KINDS if text.strip().startswith(start)), text.strip())


def _literal(found: re.Match[str], _: Sequence[str]) -> Told:
    value = re.sub(r'^Utf8\("(.*)"\)$', r"'\1'", found["value"])
    value = re.sub(r"^\w+\((.*)\)$", r"\1", value)
    if re.fullmatch(r"-?[\d.]+(?:e[+-]?\d+)?|-?inf", value) and _kinds_of(found["type"]) == "a number":
        value += ".0" if found["value"].startswith("Float") and value.lstrip("-").isdigit() else ""
        holds = "whole numbers of a range" if "Int" in found["type"] else "numbers of so many digits"
        return Told(f"{value} is none of the column beside it, which holds {holds}", "cast(COLUMN as double) takes it")
    hint = _LITERALS.get(found["type"])
    hint = hint.format(rest=found["rest"] or "(10, 2)") if hint else _VALUE
    return Told(f"{value} stands beside a column of another kind, which holds {_kinds_of(found['type'])}", hint)


def _value(found: re.Match[str], _: Sequence[str]) -> Told:
    expr = re.sub(r"\b(?:Ut|Int|Float|Boolean)\w*\((.*?)\)", r"\1", found["expr"]).replace("dataset.", "")
    shown = expr if re.fullmatch(r"\w+", expr) else "…"
    hint = f"compare it with something: {shown} > 0.5, {shown} = 'test', or {shown} IS NOT NULL"
    what = "it" if found["in_select"] is None else f"its condition {_short(expr)}"
    return Told(f"{what} is a value, and not true or false of a row", hint)


def _no_condition(found: re.Match[str], _: Sequence[str]) -> Told:
    """Of `NOT`, `IS TRUE`, `AND` and `OR`, which join what is true or false."""
    if found["sign"].startswith("IS") and "Boolean" not in (found["one"], found["other"]):
        return _unlike(found, _)
    kinds = [kind for part in (found["one"], found["other"]) if (kind := _kinds_of(part)) != "true or false"]
    sign = "NOT or IS TRUE" if found["sign"].startswith("IS") else found["sign"]
    told = " and ".join(dict.fromkeys(kinds))
    return Told(f"{told} stands beside {sign}, where true or false of a row is expected", _COMPARED)


def _uncast(found: re.Match[str], _: Sequence[str]) -> Told:
    kind = _kinds_of(found["type"])
    hint = f"try_cast(COLUMN as {'double' if kind == 'a number' else found['type'].lower()}) is null for such a text"
    if kind in ("a date", "a time"):
        hint = _LITERALS[found["type"].rstrip("0123456789")]
    return Told(f"the text '{_short(found['value'])}' is compared with or made {kind}, and is none", hint)


def _wrong_values(found: re.Match[str], _: Sequence[str]) -> Told:
    parts = re.split(r", (?![^(]*\))", found["types"])
    kinds = ", ".join(map(_kinds_of, parts)) if found["types"] else "nothing"
    return Told(f"{found['name']}() is asked of {kinds}, which it does not take", _CAST)


def _unlike(found: re.Match[str], _: Sequence[str]) -> Told:
    return Told(
        f"{_kinds_of(found['one'])} and {_kinds_of(found['other'])} stand on two sides of {found['sign'].strip()}",
        _CAST,
    )


def _endless(found: re.Match[str], _: Sequence[str]) -> Told:
    """What begins at the place that Lance names: a text, or a name in the quotes of other SQL."""
    line = found["sql"].split("\n")[int(found["line"]) - 1 :][:1]
    mark = "".join(line)[int(found["at"]) - 1 :][:1]
    what = 'a name or text begins with "' if mark == '"' else "a text begins with '"
    return Told(f"{what} and does not end", _VALUE)


def _const(what: str, hint: str | None = None) -> Callable[[re.Match[str], Sequence[str]], Told]:
    return lambda found, _: Told(what.format(**{name: _short(part) for name, part in found.groupdict().items()}), hint)


_OVER_ROWS = "what counts or adds up many rows belongs into clipdata query: SELECT count(*) FROM dataset WHERE …"
_KNOWN: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], Sequence[str]], Told]], ...] = tuple(
    (re.compile(pattern), tell)
    for pattern, tell in (
        (r"No field named (?P<name>\"[^\"]*\"|\S+?)\.(?: |$)", _missing),
        (
            r"tokenizing statement: (?P<sql>.*) "
            r"\(Unterminated string literal at Line: (?P<line>\d+), Column: (?P<at>\d+)",
            _endless,
        ),
        (r"Expected close delimiter '(?P<mark>[\"`])'", _const("a name begins with {mark} and does not end", _VALUE)),
        (r"Unterminated string literal|Unterminated encoded", _const("a text begins with ' and does not end", _VALUE)),
        (r"Expected close delimiter|Unterminated", _const("a quoted name does not end", _VALUE)),
        (r"multi-line comment", _const("a comment begins with /* and does not end")),
        (r"Expected: (?P<wanted>.*?), found: (?P<met>.*?)(?: at Line.*)?(?:\"?\)*)?$", _expected),
        (r"The filter (?P<expr>.*) (?P<in_select>(?!))?does not return a boolean", _value),
        (r"(?P<in_select>non-boolean) predicate '(?P<expr>.*)' returning", _value),
        (
            r"argument type for (?:logical boolean|comparison) operation "
            r"(?P<one>.+?) (?P<sign>IS(?: NOT)? DISTINCT FROM|AND|OR) (?P<other>.+?)\)?$", _no_condition),
        (r"string concat operation", _const("|| stands between what are no texts", _CONCAT)),
        (r"Unary operator 'Plus'", _const("a + stands before a value")),
        (r"Column (?P<name>.*) does not exist", _const("there is no column {name} that a condition could name")),
        (r"concat requires input", _const("an empty list stands in it")),
        (r"Expected a literal value in array, instead got (?P<name>\S+)", _const("{name} stands in a list of values")),
        (r"escape_char other than", _const("ESCAPE names another letter than \\")),
        (r"Negation only supports", _const("a - stands before something that is no number", _CAST)),
        (r"Arrow error: Divide by zero|^Divide by zero", _const(
            "it divides by 0", "nullif(COLUMN, 0) is null where it is 0, and so is what is divided by it")),
        (r"Cannot cast (?:string|value) '(?P<value>.*)' to value of (?P<type>\w+)\S* type", _uncast),
        (r"Error parsing (?P<type>timestamp|date|time|interval) from '(?P<value>.*?)':", _const(
            "the text '{value}' is no {type}", "a time is written timestamp '2026-01-31 12:00:00'")),
        (r"Field (?P<name>\S+) not found in struct", _const(
            "there is no field {name} in the column before the point", "clipdata show TABLE lists its fields")),
        (r"Received literal (?P<value>.*?) and could not convert to literal of type "
         r"'(?P<type>[A-Za-z]+)\d*(?P<rest>\([^']*\))?", _literal),
        (r"[Ii]nvalid function '(?P<name>[^']*)'", _const(
            "there is no function {name}()", "such as lower, length, abs, regexp_like, array_has, coalesce")),
        (r"Function '(?P<name>\w+)' requires (?P<wanted>\w+), but received (?P<types>\w+)", _wrong_values),
        (r"Function '(?P<name>\w+)' expects (?P<wanted>\S+) arguments? but received (?P<met>\d+)", _const(
            "{name}() is given {met} values; expected {wanted}")),
        (r"(?P<name>\w+) does not support type (?P<type>\w+)", lambda found, _: Told(
            f"{found['name'].replace('array_element', '[…]')} is asked of {_kinds_of(found['type'])}", None)),
        (r"argument types '(?P<name>\w+)\((?P<types>.*?)\)'\.", _wrong_values),
        (r"call to '(?P<name>\w+)' function: coercion from (?P<types>.*?) to the signature", _wrong_values),
        (r"Unsupported (?P<name>\w+) granularity: '(?P<met>.*?)'\. Supported values are: (?P<wanted>[\w, ]+)", _const(
            "{name}() knows no part '{met}'; expected one of {wanted}")),
        (r"Invalid escape character.*got '(?P<met>.*?)'", _const("ESCAPE is '{met}'; expected one letter")),
        (r"No infix parser for token (?P<sign>\w+)", _const(
            "a sign stands where AND, OR, a comparison or the end is expected", "signs: = <> < > <= >= + - * / %")),
        (r"coerce (?:types )?(?P<one>\w+(?:\(.*?\))?) and (?P<other>\w+(?:\(.*?\))?) in (?P<sign>\w+) expression",
         _unlike),
        (r"comparison operation (?P<one>\w+(?:\(.*?\))?) (?P<sign>\S+) (?P<other>\w+)", _unlike),
        (r"compatible types to compare (?P<one>\w+(?:\(.*?\))?) with \[(?P<other>\w+)(?P<sign>)", lambda found, _: Told(
            f"{_kinds_of(found['one'])} stands before IN, and {_kinds_of(found['other'])} in its list", _CAST)),
        (r"type for (?:bitwise|regex) operation (?P<one>\w+(?:\(.*?\))?) (?P<sign>\S+) (?P<other>\w+)", _unlike),
        (r"arithmetic expression (?P<one>\w+(?:\(.*?\))?) (?P<sign>\S+) (?P<other>\w+)", _unlike),
        (r"must (?:be|appear) in (?:the )?GROUP BY", _const(
            "a column stands beside figures of many rows, and not in GROUP BY", "GROUP BY the column, or max(column)")),
        (r"AggregateFunction|WindowFunction|[aA]ggregate function",
         _const("it asks for a figure of many rows beside one of a single row", _OVER_ROWS)),
        (r"Expression '\(.*\d, \d.*\)' is not supported SQL", _const(
            "a comma stands in a number, or between conditions", "0.5 with a point; AND or OR between conditions")),
        (r"Expression '(?P<part>.*SELECT.*)' is not supported SQL", _const(
            "it holds {part}, which cannot be asked of a row", "a SELECT of its own belongs into clipdata query")),
        (r"Expression '(?P<part>.*)' is not supported SQL", _const("it holds {part}, which cannot be asked here")),
        (r"Substring without for/from", _const(
            "substr() is given one value", "substr(COLUMN, 1, 5): from which letter on, and how many of them")),
        (r"Operator (?P<sign>\S+) is not supported", _const("it holds the sign {sign}, which is none here")),
        (r"Unsupported data type.*?value: \"(?P<name>[^\"]*)\"", _const("there is no type {name}", _TYPES)),
        (r"Unsupported data type: (?P<name>\w+)", _const("there is no type {name}", _TYPES)),
        (r"Unsupported type '(?P<name>[^']*)'", _const("there is no type {name}", "such as 'Int64', 'Timestamp(us)'")),
        (r"Cannot access field.*type (?P<type>\w+)", lambda found, _: Told(
            f"a field is asked of a column that holds {_kinds_of(found['type'])}", "COLUMN alone, without a point")),
        (r"regex parse error:? ?(?P<why>.*)", lambda found, _: Told(
            f"its pattern is no regular expression: {found['why'].rpartition('error: ')[2].rstrip(')')}", None)),
        (r"Placeholder '@\W*(?P<name>[^'\"]*)\W*' was not provided", _const(
            "@ stands before a quoted name", "@{name} without quotes means the rows that clipdata select called so")),
        (r"Dot access not supported", _const("a point stands behind something that has no fields")),
        (r"table '(?:datafusion\.public\.)?(?P<name>[^']*)' not found", _const(
            "there is no table {name}; there is one, called dataset", "SELECT … FROM dataset")),
    )
)  # fmt: skip


def _short(text: str) -> str:
    return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}…"


def _plain(message: str) -> str:
    """The engine's text without its own layers, structures and hidden names, where nothing better is known."""
    text = re.sub(r"SELECT 1 FROM t WHERE ", "", message)
    text = re.sub(r" Valid fields are .*", "", text)
    text = re.sub(
        r"(?:Error (?:during planning|parsing statement|parsing function|resolving filter expression"
        r"|optimizing sql filter|tokenizing statement)|Invalid user input|Schema error|SQL error|Execution error"
        r"|sql parser error|This feature is not implemented|Not supported|ParserError)[:(]? ?",
        "", text,
    )  # fmt: skip
    text = re.sub(r" ?\w*\{.*", " …", text)
    return _short(text)


def quoted_if_needed(name: str) -> str:
    """A column as it is written in a condition."""
    return name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else quoted(name)
