"""JSON that somebody else wrote: whatever is wrong with it is a ValueError. It knows no more of the values."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any


def parse_json(text: str | bytes, *, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """Read JSON.

    Args:
        text: UTF-8 where it is bytes.
        pairs: makes of the fields of an object what stands for it; a dict where None.

    Raises:
        ValueError: it is no JSON, or nested so deeply that it cannot be read.
    """
    try:
        return json.loads(text, object_pairs_hook=pairs)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def kind_of(value: Any) -> str:
    """What a value read from JSON is, in words of JSON."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else "a truth value"
    words = {Mapping: "an object", str: "a text", int: "a whole number", float: "a number"}
    return next((word for kind, word in words.items() if isinstance(value, kind)), "a list")
