"""JSON Schema of what a comparison's `to_json` writes, derived from the records so that it cannot drift from them."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any

from clipdata.comparison.records import SCHEMA_VERSION, Compared

_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of `Comparison.to_dict()`."""
    schema = schema_of(Compared)
    schema["properties"] = {"schema_version": {"const": SCHEMA_VERSION}, **schema["properties"]}
    schema["required"] = ["schema_version", *schema["required"]]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Comparison", **schema}


def schema_of(record: type) -> dict[str, Any]:
    """JSON Schema of a record's fields by name."""
    hints = typing.get_type_hints(record)
    properties = {field.name: _of(hints[field.name]) for field in dataclasses.fields(record)}
    return {"type": "object", "properties": properties, "required": list(properties)}


def _of(hint: Any) -> dict[str, Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return schema_of(hint)
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_of(argument) for argument in arguments]}
    if origin is tuple and ... not in arguments:
        return {"type": "array", "prefixItems": [_of(argument) for argument in arguments]}
    if origin is tuple:
        return {"type": "array", "items": _of(arguments[0])}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": _of(arguments[1])}
    return {"type": _PLAIN[hint]}
