"""JSON that somebody else wrote: whatever is wrong with it is a ValueError. Of values it knows what JSON calls them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

_KINDS = {
    dict: "an object", list: "a list", str: "a text", int: "a number", float: "a number", bool: "true or false",
    type(None): "null",
}  # fmt: skip


def parse_json(text: str | bytes, *, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """Read JSON.

    Args:
        text: UTF-8 where it is bytes.
        pairs: makes of the fields of an object what stands for it; a dict where None.

    Raises:
        ValueError: it is no JSON, or nested so deeply that it cannot be read.
    """
    try:
        return json.loads(text if isinstance(text, str) else text.decode("utf-8-sig"), object_pairs_hook=pairs)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def json_kind(value: Any) -> str:
    """What a value is called in JSON; of what JSON cannot hold, Python's name."""
    return _KINDS.get(type(value), f"a {type(value).__name__}")
