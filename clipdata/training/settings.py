"""Fields of a dataclass from text and JSON: conversion by their declared types, and names that are nearly right.

It knows types, and nothing of what the fields mean.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from clipdata.errors import ConfigError
from clipdata.json_parsing import parse_json

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})
_NONE = frozenset({"none", "null", ""})


def field_types(cls: type) -> dict[str, Any]:
    """Declared type of every field of a dataclass, by name."""
    hints = get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def unknown_names(given: Iterable[str], known: Iterable[str]) -> list[str]:
    """Say of every name that is not known which known one it resembles."""
    names = list(known)
    problems = []
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=2) or _sharing_words(name, names)[:3]
            guess = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(names)}"
            problems.append(f"there is no field {name!r:.80}; {guess}")
    return problems


def _sharing_words(name: str, names: Iterable[str]) -> list[str]:
    """Names that have words of another in them, those with the most first: `batch_size` in `train_batch_size`."""
    words = set(name.lower().split("_")) - {""}
    shared = {known: len(words & set(known.split("_"))) for known in names}
    return sorted((known for known, num in shared.items() if num), key=lambda known: -shared[known])


def parse(texts: Mapping[str, str], cls: type) -> tuple[dict[str, Any], list[str]]:
    """Convert texts to the types of a dataclass's fields.

    Returns:
        The values, and a problem for every text that could not be converted or has no field.
    """
    kinds = field_types(cls)
    values: dict[str, Any] = {}
    problems = unknown_names(texts, kinds)
    for name, text in texts.items():
        if name not in kinds:
            continue
        try:
            values[name] = from_text(text.strip(), kinds[name])
        except ConfigError as error:  # what the text says is understood, and wrong
            problems += [f"{name}: {problem}" for problem in error.problems]
        except ValueError:
            problems.append(f"{name} is {text!r:.80}; expected {describe(kinds[name])}")
    return values, problems


def fits(value: Any, kind: Any) -> bool:
    """Tell whether a value is of a declared type; whole numbers of 64 bits are floats too, booleans are no numbers."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return any(fits(value, option) for option in get_args(kind))
    if origin is Literal:
        return value in get_args(kind)
    if is_texts(kind):
        return isinstance(value, (tuple, list)) and all(isinstance(one, str) for one in value)
    if (each := each_of(kind)) is not None:
        return isinstance(value, (tuple, list)) and all(fits(one, each) for one in value)
    if origin is tuple:
        parts = get_args(kind)
        return (
            isinstance(value, (tuple, list))
            and len(value) == len(parts)
            and all(fits(part, expected) for part, expected in zip(value, parts, strict=True))
        )
    if kind is type(None):
        return value is None
    if kind is float:
        return isinstance(value, float) or fits(value, int)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and value.bit_length() < 64
    return isinstance(value, kind)


def describe(kind: Any) -> str:
    """Name a declared type for people."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(describe(option) for option in get_args(kind))
    if origin is Literal:
        return " or ".join(map(repr, get_args(kind)))
    if origin in (list, Sequence):
        return "a list such as a,b"
    if is_texts(kind):
        return """a text, or several as ["one", "two"]"""
    if (each := each_of(kind)) is not None:
        return f"some of {', '.join(map(str, get_args(each)))}, with commas between"
    if origin is tuple:
        return f"{len(get_args(kind))} numbers such as 0.9,0.98"
    if dataclasses.is_dataclass(kind):
        return f"JSON of {', '.join(field.name for field in dataclasses.fields(kind))}"
    plain = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", type(None): "none"}
    return plain.get(kind, str(kind))


def from_text(text: str, kind: Any) -> Any:
    """A value of a declared type from what a person types; a list is written with commas between.

    Texts of any number (`tuple[str, ...]`) may hold commas themselves: they are one text, or a JSON list of several.

    Raises:
        ValueError: the text fits no such value.
    """
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _first_that_fits(text, get_args(kind))
    if origin is Literal:
        if text not in get_args(kind):
            raise ValueError(text)
        return text
    if origin in (list, Sequence):
        return [part.strip() for part in text.split(",")]
    if is_texts(kind):
        return _texts(text)
    if (each := each_of(kind)) is not None:
        return () if text.lower() in _NONE else tuple(from_text(one.strip(), each) for one in text.split(","))
    if origin is tuple:
        values = tuple(float(part) for part in text.strip("()[] ").split(","))
        if len(values) != len(get_args(kind)):
            raise ValueError(text)
        return values
    if read := getattr(kind, "from_json", None):
        given = parse_json(text)  # whose error is a ValueError
        if not isinstance(given, dict):
            raise ValueError(text)
        return read(given)
    if kind is bool:
        if text.lower() not in _TRUE | _FALSE:
            raise ValueError(text)
        return text.lower() in _TRUE
    if kind is type(None):
        if text.lower() not in _NONE:
            raise ValueError(text)
        return None
    return kind(text)


def is_texts(kind: Any) -> bool:
    """Tell whether a declared type is that of any number of texts."""
    return get_origin(kind) is tuple and get_args(kind) == (str, ...)


def each_of(kind: Any) -> Any:
    """Of a declared type of any number of chosen words, the type of one; None for others."""
    args = get_args(kind)
    is_many = get_origin(kind) is tuple and len(args) == 2 and args[1] is Ellipsis
    return args[0] if is_many and get_origin(args[0]) is Literal else None


def _texts(text: str) -> tuple[str, ...]:
    if not text.startswith("["):
        return (text,) if text else ()
    listed = parse_json(text)  # whose error is a ValueError
    if not all(isinstance(one, str) for one in listed):
        raise ValueError(text)
    return tuple(listed)


def _first_that_fits(text: str, options: tuple[Any, ...]) -> Any:
    if type(None) in options and text.lower() in _NONE:
        return None
    kinds = [option for option in options if option is not type(None)]
    for option in kinds[:-1]:
        try:
            return from_text(text, option)
        except ValueError:
            continue
    return from_text(text, kinds[-1])
