"""Other SQL: what people bring from other dialects, from Python and from the far ends of SQL, said as it is said here.

Lance reads a condition as a small part of SQL. It knows words, and no table.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

import pyarrow as pa

from clipdata.schema import is_binary, is_list

_TEXT_OR_NAME = re.compile(r"'(?:[^']|'')*'|`[^`]*`|\"[^\"]*\"")
# Functions that Lance has and does not find by their names, for SQL has a grammar of its own for their brackets.
_FUNCTION = re.compile(r"(?<![\w.@])(?:ceil|floor|trim|substr|substring)(?=\s*\()", re.IGNORECASE)
# Of these Lance takes a list, or bytes, as the text that it would print, without a word.
_OF_TEXTS = re.compile(
    r"(?<![\w.@])(?P<name>length|char_length|character_length|concat|concat_ws|reverse|left|right|lpad|rpad|translate)"
    r"\s*\((?P<values>[^()]*)\)", re.IGNORECASE,
)  # fmt: skip
_JOINED = re.compile(r"[\w.`]+(?=\s*\|\|)|(?<=\|\|)\s*[\w.`]+")
_GIVEN = re.compile(r"\bas\s+([\w`\"]+)", re.IGNORECASE)  # names that a SELECT gives itself
_PREFIX = re.compile(r"(?<![\w'`\"])(?:[nbre]|u&)(?=')", re.IGNORECASE)  # N'text', which ends inside Lance
_NULL = re.compile(r"(?P<sign><>|!=|==?)\s*(?:null|none)\b|\b(?:null|none)\s*(?P<after><>|!=|==?)", re.IGNORECASE)

_CASE = "say it by AND and OR: (split = 'a' AND score > 0.5) OR (split <> 'a' AND score > 0.7)"
_PATTERN = "regexp_like(COLUMN, '^a.*b$'), or COLUMN LIKE 'a%'"
_PART = "date_part('year', COLUMN) = 2026"
_SEVERAL = "COLUMN IN ('a', 'b') for several values; array_has(COLUMN, 'a') for a column of lists"
_ONE_BY_ONE = "compare columns one by one: a = 1 AND b = 'x'"
_OF_LISTS = "cardinality(COLUMN) = 2 counts what a list holds; array_to_string(COLUMN, ' ') makes a text of it"
_OF_BYTES = "tables of pictures count their bytes in the column bytes; encode(COLUMN, 'hex') makes a text of them"
_MOMENT = "write the moment itself: COLUMN > timestamp '2026-01-31 12:00:00'"
_METHODS = "starts_with(COLUMN, 'a'), ends_with(COLUMN, 'a'), contains(COLUMN, 'a')"
_INSTEAD = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), hint)
    for pattern, hint in (
        (r"^\s*where\b", "leave out the word WHERE"),
        (r"[“”„‘’´]", "a text is written 'test', in straight quotes"),
        (r";", "leave out the ;"),
        (r"^\s*(?:and|or)\b", "begin with a column, a value, NOT or a ("),
        (r"\b(?:and|or|not)\s*$", "say what comes behind the last AND, OR or NOT, or leave that out"),
        (r"\b(?:limit|offset|having|order\s+by|group\s+by)\b",
         "a condition alone; clipdata query takes a whole SELECT with ORDER BY and LIMIT"),
        (r"&|(?<!\|)\|(?!\|)", "AND joins two conditions, OR says either"),
        (r"!~~", "COLUMN NOT LIKE 'a%'"),
        (r"~~", "COLUMN LIKE 'a%'"),
        (r"!~", "NOT regexp_like(COLUMN, '^a.*b$')"),
        (r"(?:^|[\s(])!(?!=)", "NOT stands before a condition"),
        (r"<=>", "IS NOT DISTINCT FROM is true of two nulls, too"),
        (r"=<|=>|><|≤|≥|≠", "the signs are = <> < > <= >="),
        (r"(?:^|[=<>(,]|\b(?:and|or|not)\b)\s*\+", "leave out the + before the value"),
        (r"[\w.`]\s*<=?\s*[\w`]+\s*<=?\s*[\d.]", "COLUMN BETWEEN 1 AND 3, or 1 < COLUMN AND COLUMN < 3"),
        (r"\b(?:case\b.*\bend|i?if\s*\(|if\b.*\belse)\b", _CASE),
        (r"\bextract\s*\(|\b(?:year|month|day|hour|minute)\s*\(", _PART),
        (r"\binterval\b", _MOMENT),
        (r"\bat\s+time\s+zone\b", "a column with a zone holds times of UTC: write the moment in UTC"),
        (r"\bis\s+not\s+(?:unknown|none|empty)\b|\b(?:notnull|not_null|notna)\b", "COLUMN IS NOT NULL"),
        (r"\bis\s+(?:unknown|none)\b|\b(?:isnull|is_null|isna)\b", "COLUMN IS NULL"),
        (r"\bis\s+empty\b", "COLUMN = '' for a text, cardinality(COLUMN) = 0 for a list"),
        (r"\bis\s+(?:not\s+)?(?:\d|')", "= and <> compare with a value: COLUMN = 1"),
        (r"\bin\s*\(\s*\)", "name the values: COLUMN IN ('a', 'b')"),
        (r"\b(?:position|charindex|locate|find)\s*\(", "strpos(COLUMN, 'a') is 0 where it is not in it"),
        (r"\bin\s+\w", "array_has(COLUMN, 'a') for a column of lists; COLUMN IN ('a', 'b') for several values"),
        (r"=\s*\[\s*\]", "cardinality(COLUMN) = 0 for an empty list"),
        (r"\bin\s*[\[{]", "the values stand in round brackets: COLUMN IN ('a', 'b')"),
        (r",\s*\)", "leave out the comma before the )"),
        (r"\b(?:any|all|some)\s*\(", _SEVERAL),
        (r"\bmod\b", "COLUMN % 2"),
        (r"(?<![\w`])\(\s*[\w`]+\s*(?:,\s*[\w`]+\s*)+\)\s*(?:[=<>]|in\b)", _ONE_BY_ONE),
        (r"\bsimilar\s+to\b|~|\b(?:rlike|regexp|glob|match|matches|regexp_matches|regexp_contains)\b", _PATTERN),
        (r"\btrim\s*\(\s*(?:both|leading|trailing)\b", "btrim(COLUMN, 'a'), or ltrim and rtrim for one side"),
        (r"\bsubstr(?:ing)?\s*\([^)]*\b(?:from|for)\b", "substr(COLUMN, 1, 5): from which letter on, and how many"),
        (r"\bsymmetric\b", "BETWEEN the smaller AND the larger"),
        (r"\bdiv\b|//", "floor(COLUMN / 2)"),
        (r"\^|\*\*", "power(COLUMN, 2)"),
        (r"\.(?:str\.)?(?:starts_?with|ends_?with|contains)\s*\(|\bcontains\b(?!\s*\()", _METHODS),
        (r"\b(?:starts?with|ends?with|prefix|suffix)\b", _METHODS),
        (r"\b(?:len|strlen|size)\s*\(", "length(COLUMN) of a text, cardinality(COLUMN) of a list"),
        (r"\bceiling\s*\(", "ceil(COLUMN)"),
        (r"\bsign\s*\(", "signum(COLUMN)"),
        (r"\bcollate\b", "lower(COLUMN) = 'a' is the same for capitals"),
        (r"\bescape\b", "a \\ before % and _ makes them letters: COLUMN LIKE '10\\%'"),
        (r"(?:^|[\s(])\[", "a column with unusual letters is written `the name`"),
        (r"\bnan\b", "isnan(COLUMN)"),
        (r"\d_\d", "a number is written without a _: 1000"),
        (r"\b0x[\da-f]", "a number is written with the digits 0 to 9"),
    )
)  # fmt: skip


def without_texts(where: str) -> str:
    """A condition with an empty text in place of each text and quoted name, so that none is taken for a word."""
    return _TEXT_OR_NAME.sub("''", where)


def compared_with_null(where: str) -> str | None:
    """What to write instead of `= null`, which is true of no row, and of `<> null`, which is not either."""
    found = _NULL.search(without_texts(where))
    if found is None:
        return None
    return "COLUMN IS NULL" if (found["sign"] or found["after"]).startswith("=") else "COLUMN IS NOT NULL"


def prefixed_text(where: str) -> str | None:
    """What stands before a text and belongs to it in other dialects: the N of N'text'."""
    found = _PREFIX.search(_with_names(where))
    return found[0] if found else None


def taken_as_text(where: str, schema: pa.Schema) -> tuple[str, str] | None:
    """What a function or a sign that wants texts makes of a column of lists or bytes, and what to write instead."""
    words = _with_names(where)
    given = {name.casefold() for name in _GIVEN.findall(words)}
    asked = [(found["name"].lower() + "()", value) for found in _OF_TEXTS.finditer(words)
             for value in found["values"].split(",")]  # fmt: skip
    asked += [("||", found[0]) for found in _JOINED.finditer(words)]
    for name, value in asked:
        kind = _type_of(value.strip(), schema) if value.strip().casefold() not in given else None
        if kind is not None and is_list(kind):
            return f"{name} would take the list {value.strip()} for the text that is printed of it", _OF_LISTS
        if kind is not None and is_binary(kind):
            return f"{name} would take the bytes {value.strip()} for a text", _OF_BYTES
    return None


def _with_names(where: str) -> str:
    """A condition with an empty text in place of each text, and its quoted names as they are."""
    return _TEXT_OR_NAME.sub(lambda one: "''" if one[0].startswith("'") else one[0], where)


def _type_of(value: str, schema: pa.Schema) -> pa.DataType | None:
    """The type of a column, or of a field of one; None of all else."""
    fields: Iterable[pa.Field] = schema
    kind = None
    for part in (value[1:-1],) if value.startswith(("`", '"')) else value.split("."):
        field = next((one for one in fields if one.name.casefold() == part.casefold()), None)
        if field is None:
            return None
        kind = field.type
        fields = kind if pa.types.is_struct(kind) else ()
    return kind


def with_functions_named(where: str) -> str:
    """A condition in which Lance finds `ceil`, `floor`, `trim` and `substr`: their names in quotes."""
    parts, done = [], 0
    for quoted in _TEXT_OR_NAME.finditer(where):
        parts += [_FUNCTION.sub(_as_name, where[done : quoted.start()]), quoted[0]]
        done = quoted.end()
    return "".join([*parts, _FUNCTION.sub(_as_name, where[done:])])


def instead_of(where: str, columns: Collection[str]) -> str | None:
    """What to type instead of a part of a condition that no condition can hold; None where none such is seen.

    Args:
        columns: by name; one that is called `match` is no operator.
    """
    words, called = without_texts(where), {name.casefold() for name in columns}
    for pattern, hint in _INSTEAD:
        if (found := pattern.search(words)) and found[0].strip().casefold() not in called:
            return hint
    return None


def _as_name(found: re.Match[str]) -> str:
    return f"`{found[0].lower()}`"
