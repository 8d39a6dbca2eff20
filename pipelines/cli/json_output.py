"""JSON for whoever scripts the command line: one valid object for each run, and the schema that it follows.

    {"schema_version": 1, …what the verb found…, "next": command or null, "error": {…} when it ended with one}

It knows the envelope and the words that schemas are made of; what a verb finds, the verb's own file says.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from clipdata.plurals import counted

SCHEMA_VERSION = 1

Schema = Mapping[str, Any]
"""Of what a verb found: a record; see `record`."""

TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
FLAG: Schema = {"type": "boolean"}
OBJECT: Schema = {"type": "object"}
ANYTHING: Schema = {}

# Valid inside a JSON text, and still orders to a terminal that shows it, or no characters at all.
_ORDERS = re.compile("[\\x7f-\\x9f\\u2028-\\u202e\\u2066-\\u2069\\ud800-\\udfff]")


def encode(value: Mapping[str, Any], *, ascii_only: bool = False) -> str:
    """One line of JSON: what is no number is null, what JSON does not know is text, and nothing orders a terminal."""
    text = json.dumps(_plain(value), ensure_ascii=ascii_only, allow_nan=False)
    return _ORDERS.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def _plain(value: Any) -> Any:
    """A value as JSON knows it."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"<{counted(len(value), 'byte')}>"
    if isinstance(value, Iterable):
        return [_plain(inner) for inner in value]
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "item"):  # a number of numpy's
        return _plain(value.item())
    return str(value)


def record(optional: Iterable[str] = (), /, **properties: Schema) -> Schema:
    """An object with these properties, all of them there but the optional ones."""
    left_out = set(optional)
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in left_out],
    }


def either(*records: Schema) -> Schema:
    """One record of several; what stands in more than one is the same in each."""
    properties = {name: schema for one in records for name, schema in one["properties"].items()}
    return {"type": "object", "properties": properties, "anyOf": [{"required": one["required"]} for one in records]}


def listed(items: Schema) -> Schema:
    """A list."""
    return {"type": "array", "items": items}


def maybe(schema: Schema) -> Schema:
    """That, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def counts() -> Schema:
    """Whole numbers by name."""
    return {"type": "object", "additionalProperties": WHOLE}


ERROR = record(name=TEXT, code=WHOLE, message=TEXT, hint=maybe(TEXT))
"""What ended a verb: a short name that stays, the exit code, what was found, and what to type next."""


def schema_of(words: str, found: Schema | Callable[[], Schema]) -> dict[str, Any]:
    """JSON Schema (2020-12) of all that a verb prints with `--json`, whatever its exit code.

    Args:
        words: of the verb.
        found: the record of what it finds; there is none where an error ended it before.
    """
    result = found() if callable(found) else found
    own = {name: schema for name, schema in result["properties"].items() if name != "schema_version"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"clipdata {words}",
        "type": "object",
        "properties": {"schema_version": {"const": SCHEMA_VERSION}, **own, "next": maybe(TEXT), "error": ERROR},
        "required": ["schema_version"],
        "anyOf": [
            *(
                {"required": [*(name for name in one["required"] if name != "schema_version"), "next"]}
                for one in result.get("anyOf", [result])
            ),
            {"required": ["error"]},
        ],
    }
