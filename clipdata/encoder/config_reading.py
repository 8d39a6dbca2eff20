"""Reads a model config from JSON: sections into the classes of their kind, and every name that is nearly right.

It knows dataclasses, and nothing of what their fields mean.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from clipdata.errors import ConfigError, NotFoundError
from clipdata.json_parsing import json_kind, parse_json

HINT = "clipdata new --help shows whole configs"


def read_object(path: Path) -> Mapping[str, Any]:
    """Read a file that holds a JSON object.

    Raises:
        NotFoundError: there is no such file.
        ConfigError: it holds something else.
    """
    try:
        return parse_object(path.read_bytes())
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFoundError(f"there is no file {path}") from error


def parse_object(text: str | bytes) -> Mapping[str, Any]:
    """Read JSON text of an object.

    Raises:
        ConfigError: it is of something else.
    """
    try:
        given = parse_json(text)
    except ValueError as error:
        raise ConfigError([f"not JSON: {error}"], what="model config", hint=HINT) from error
    if not isinstance(given, Mapping):
        raise ConfigError([f"found {json_kind(given)}; expected a JSON object"], what="model config", hint=HINT)
    return given


def read_tower(given: Any, key: str, kinds: Sequence[Any], head: type) -> tuple[Any, list[str]]:
    """The tower of a section, or None with what is wrong with it."""
    by_name = {kind.kind: kind for kind in kinds}
    if isinstance(given, tuple(kinds)):
        return given, []
    if not isinstance(given, Mapping):
        return None, [f"{key} is {given!r:.80}; expected an object with a kind: {', '.join(by_name)}"]
    if not isinstance(given.get("kind"), str) or given["kind"] not in by_name:
        near = _nearest(str(given.get("kind")), list(by_name))
        return None, [f"{key}.kind is {given.get('kind')!r:.80}; {near}"]
    kind = by_name[given["kind"]]
    values = {name: value for name, value in given.items() if name != "kind"}
    problems = [f"{key}: {problem}" for problem in unknown_names(values, [one.name for one in fields(kind)])]
    needed = [one.name for one in fields(kind) if one.default is MISSING and one.default_factory is MISSING]
    problems += [f"{key} has no {name}, which a tower of the kind {kind.kind!r} needs" for name in needed
                 if name not in values]  # fmt: skip
    if "head" in values:
        values["head"], found = _read_head(values["head"], f"{key}.head", head)
        problems += found
    return (None, problems) if problems else (kind(**values), [])


def _read_head(given: Any, key: str, head: type) -> tuple[Any, list[str]]:
    if isinstance(given, head):
        return given, []
    kinds = get_args(get_type_hints(head)["kind"])
    values = {"kind": given} if isinstance(given, str) else given
    if not isinstance(values, Mapping):
        return None, [f"{key} is {given!r:.80}; expected {', '.join(kinds)}, or an object with such a kind"]
    problems = [f"{key}: {problem}" for problem in unknown_names(values, [one.name for one in fields(head)])]
    if values.get("kind", "linear") not in kinds:
        problems.append(f"{key} is {values['kind']!r:.80}; {_nearest(str(values['kind']), list(kinds))}")
    return (None, problems) if problems else (head(**values), [])


def unknown_names(given: Iterable[str], known: Sequence[str]) -> list[str]:
    """Say of every name that is not known which known one it resembles."""
    return [f"there is no field {name!r:.80}; {_nearest(name, list(known))}" for name in given if name not in known]


def _nearest(wrong: str, known: list[str]) -> str:
    near = difflib.get_close_matches(wrong, known, n=2)
    return f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(known)}"


def wrong_types(value: Any, prefix: str) -> list[str]:
    """Say of every field of a dataclass that is of another type than declared what was expected."""
    hints = get_type_hints(type(value))
    return [
        f"{prefix}{one.name} is {getattr(value, one.name)!r:.80}; expected {_described(hints[one.name])}"
        for one in fields(value)
        if not _fits(getattr(value, one.name), hints[one.name])
    ]


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a declared type; whole numbers are floats too, booleans are no numbers."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return any(_fits(value, option) for option in get_args(kind))
    if origin is Literal:
        return value in get_args(kind)
    if kind in (int, float):
        return isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
    return isinstance(value, origin or kind)


def _described(kind: Any) -> str:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(_described(option) for option in get_args(kind))
    if origin is Literal:
        return " or ".join(map(repr, get_args(kind)))
    plain = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", type(None): "null"}
    return plain.get(kind, "an object")
