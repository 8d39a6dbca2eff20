"""Signals of DataChain as columns: the Arrow type of each, and its values as plain ones. It knows no chain."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa

from clipdata.errors import SchemaError

_PLAIN = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string(), bytes: pa.large_binary()}


def bare(kind: Any) -> Any:
    """A signal's type without `None`."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        present = [argument for argument in typing.get_args(kind) if argument is not type(None)]
        return present[0] if len(present) == 1 else kind
    return kind


def is_file(kind: Any) -> bool:
    """Whether a signal refers to a file."""
    from datachain import File

    return isinstance(bare(kind), type) and issubclass(bare(kind), File)


def is_origin(kind: Any) -> bool:
    """Whether a signal says from which file, and which row in it, DataChain read the others."""
    from datachain.lib.file import ArrowRow

    return isinstance(bare(kind), type) and issubclass(bare(kind), ArrowRow)


def arrow_type(kind: Any, name: str) -> pa.DataType:
    """The Arrow type of a signal: models are structs, the files inside them their locations, mappings JSON.

    Raises:
        SchemaError: there is none.
    """
    plain = bare(kind)
    if plain in _PLAIN:
        return _PLAIN[plain]
    if is_file(plain) or _is_mapping(plain):
        return pa.string()
    if typing.get_origin(plain) is list or plain is list:
        arguments = typing.get_args(plain)
        return pa.list_(_inner_type(arguments[0] if arguments else str, name))
    if isinstance(plain, type) and issubclass(plain, datetime):
        return pa.timestamp("us", tz="UTC")
    fields = getattr(plain, "model_fields", None)
    if fields:
        return pa.struct([(inner, _inner_type(about.annotation, f"{name}.{inner}")) for inner, about in fields.items()])
    raise SchemaError(
        f"signal {name!r} is {kind}, which has no column type; expected numbers, text, bytes, times, lists or models",
        hint="leave it out: chain.select_except(...)",
    )


def _inner_type(kind: Any, name: str) -> pa.DataType:
    """The type of a part of a signal; mappings, which have no fields of their own, are JSON."""
    return pa.string() if _is_mapping(kind) else arrow_type(kind, name)


def _is_mapping(kind: Any) -> bool:
    plain = bare(kind)
    return plain is Any or plain is dict or typing.get_origin(plain) is dict


def plain_value(value: Any) -> Any:
    """A signal's value as plain Python."""
    if hasattr(value, "get_fs_path"):
        return value.get_fs_path() if value.path else None
    if hasattr(value, "model_dump"):
        return {name: _inner_value(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, list | tuple):
        return [_inner_value(one) for one in value]
    return _inner_value(value) if isinstance(value, Mapping) else value


def _inner_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return json.dumps(value, sort_keys=True, default=str, ensure_ascii=False)
    return plain_value(value)
