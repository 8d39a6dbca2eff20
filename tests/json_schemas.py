"""A checker of the few JSON Schema words that ours use, so that a schema and what is printed cannot drift apart."""

from __future__ import annotations

from typing import Any

_KINDS = {"string": str, "integer": int, "number": int | float, "null": type(None), "array": list, "object": dict}


def check_schema(value: Any, schema: dict[str, Any], where: str = "$") -> None:
    """Hold a value to a schema; a property that the schema does not name is a fault too."""
    if "type" in schema:
        kind = bool if schema["type"] == "boolean" else _KINDS[schema["type"]]
        assert isinstance(value, kind), f"{where}: {value!r} is no {schema['type']}"
        assert schema["type"] == "boolean" or not isinstance(value, bool), where
    if "properties" in schema:
        assert set(value) <= set(schema["properties"]), f"{where} has more than its schema says"
        assert set(schema.get("required", [])) <= set(value), f"{where} lacks what its schema requires"
        for name, inner in value.items():
            check_schema(inner, schema["properties"][name], f"{where}.{name}")
    if "anyOf" in schema:
        assert any(_accepts(value, option, where) for option in schema["anyOf"]), f"{where}: {value!r}"
    if "required" in schema and "properties" not in schema:
        assert set(schema["required"]) <= set(value), f"{where} lacks {set(schema['required']) - set(value)}"
    if "enum" in schema:
        assert value in schema["enum"], where
    if "const" in schema:
        assert value == schema["const"], where
    if schema.get("type") == "array":
        kinds = schema["prefixItems"] if "prefixItems" in schema else [schema["items"]] * len(value)
        for i, (item, kind) in enumerate(zip(value, kinds, strict=True)):
            check_schema(item, kind, f"{where}[{i}]")
    if schema.get("type") == "object" and "additionalProperties" in schema:
        for name, item in value.items():
            check_schema(item, schema["additionalProperties"], f"{where}.{name}")


def _accepts(value: Any, schema: dict[str, Any], where: str) -> bool:
    try:
        check_schema(value, schema, where)
    except AssertionError:
        return False
    return True
