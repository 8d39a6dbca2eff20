"""Signatures: which columns a function reads and which type it makes, told by its arguments and annotations."""

from __future__ import annotations

import datetime
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from clipdata.errors import UsageError
from clipdata.steps.function_digests import name_of

_ARROW_TYPES: Mapping[Any, pa.DataType] = {
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    str: pa.string(),
    bytes: pa.large_binary(),
    datetime.datetime: pa.timestamp("us"),
    datetime.date: pa.date32(),
}
_NAME_IT = 'name it: @clipdata.step(reads="caption", returns="float32")'
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def columns_of(function: Callable[..., Any], parameters: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns that a function's arguments are called after.

    Raises:
        UsageError: the arguments do not tell.
    """
    signature = _signature(function)
    arguments = signature.parameters.values() if signature is not None else ()
    names = tuple(
        argument.name
        for argument in arguments
        if argument.kind in _POSITIONAL and argument.default is argument.empty and argument.name not in parameters
    )
    if not names:
        raise UsageError(f"step {name_of(function)} does not say which columns it reads", hint=_NAME_IT)
    return names


def arrow_type_of(function: Callable[..., Any], returns: pa.DataType | str | None) -> pa.DataType:
    """The Arrow type that is asked for, or that the function's annotation stands for.

    Raises:
        UsageError: the type's name is unknown, or there is no annotation.
    """
    if isinstance(returns, pa.DataType):
        return returns
    if isinstance(returns, str):
        try:
            return pa.type_for_alias(returns)
        except ValueError as error:
            raise UsageError(
                f"unknown Arrow type {returns!r}", hint='use a name like "float32", or pa.list_(pa.float32())'
            ) from error
    annotation = _return_annotation(function) if returns is None else returns
    found = _arrow_type(annotation)
    if found is None:
        said = (
            "does not say what it returns" if annotation is None else f"returns {annotation!r}, which is no Arrow type"
        )
        raise UsageError(f"step {name_of(function)} {said}", hint=_NAME_IT)
    return found


def hold_to_signature(function: Callable[..., Any], reads: Sequence[str], parameters: Mapping[str, Any]) -> None:
    """Check that a function can be called with one value of each column, and with its parameters.

    Raises:
        UsageError: it takes other arguments, reads nothing, or answers later (`async def`, `yield`).
    """
    name = name_of(function)
    if not reads:
        raise UsageError(f"step {name} reads no column; a value that no column decides needs no step", hint=_NAME_IT)
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise UsageError(f"step {name} is async or yields; expected a function that returns one value")
    signature = _signature(function)
    if signature is None:
        return
    try:
        signature.bind(*reads, **parameters)
    except TypeError as error:
        given = ", ".join([*reads, *(f"{key}=…" for key in parameters)])
        raise UsageError(f"step {name}{signature} cannot be called with ({given}): {error}", hint=_NAME_IT) from error


def _signature(function: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):  # some builtins have none
        return None


def _return_annotation(function: Callable[..., Any]) -> Any:
    named = function if hasattr(function, "__annotations__") else type(function).__call__
    try:
        return typing.get_type_hints(named).get("return")
    except (NameError, TypeError, AttributeError):  # a name that only type checkers import, or no Python function
        return getattr(named, "__annotations__", {}).get("return")


def _arrow_type(annotation: Any) -> pa.DataType | None:
    if isinstance(annotation, pa.DataType):
        return annotation
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):  # int | None is an int that may be null
        kinds = [kind for kind in typing.get_args(annotation) if kind is not type(None)]
        return _arrow_type(kinds[0]) if len(kinds) == 1 else None
    if typing.get_origin(annotation) in (list, Sequence):
        value_type = _arrow_type(typing.get_args(annotation)[0])
        return pa.list_(value_type) if value_type is not None else None
    if isinstance(annotation, type) and issubclass(annotation, np.generic):
        return pa.from_numpy_dtype(np.dtype(annotation))
    return _ARROW_TYPES.get(annotation) if isinstance(annotation, type) else None
