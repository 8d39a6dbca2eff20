"""Digests of functions: what tells a step from another one of the same name: its code, what it closes over, parameters.

Everything that decides the values must show: two arrays that differ in one number are two parameters.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import os
import types
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from clipdata.errors import UsageError

_DIGEST_CHARS = 12


def name_of(function: Callable[..., Any]) -> str:
    """What a step is called in the lineage."""
    if isinstance(function, functools.partial):
        return name_of(function.func)
    name = getattr(function, "__name__", None) or type(function).__name__
    return "lambda" if name == "<lambda>" else str(name)


def code_digest(function: Callable[..., Any]) -> str:
    """A digest of a function's source, of its defaults, and of the values that it closes over."""
    return _digest(json.dumps(_told_code(function, ()), sort_keys=True).encode())


def decisive(value: Any, name: str) -> Any:
    """A parameter as JSON that differs wherever the parameter does.

    Args:
        name: of the parameter, for the message.

    Raises:
        UsageError: its content cannot be read, so that it could not be told from another one.
    """
    told = _told(value)
    if told is None and value is not None:
        raise UsageError(
            f"parameter {name} is a {type(value).__name__}, whose content no lineage can hold; expected a number, "
            "text, list, dict or array",
            hint="use it inside the function without passing it, and name the step's version: version=…",
        )
    return told


def _told(value: Any) -> Any:
    """A value as JSON, with digests for what is long; None for what cannot be told."""
    if isinstance(value, np.generic) and not isinstance(value, np.void):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"bytes sha256:{_digest(bytes(value))}"
    if isinstance(value, Mapping):
        told = {str(key): _told(each) for key, each in value.items()}
        return None if _lost(told.values(), value.values()) or len(told) != len(value) else told
    if isinstance(value, list | tuple):
        listed = [_told(each) for each in value]
        return None if _lost(listed, value) else listed
    if isinstance(value, set | frozenset):
        members = [_told(each) for each in value]
        return None if _lost(members, value) else sorted(members, key=repr)
    return _told_array(value)


def _lost(told: Any, values: Any) -> bool:
    return any(each is None and value is not None for each, value in zip(told, values, strict=True))


def _told_array(value: Any) -> str | None:
    """An array of numbers, whichever library's: type, shape and a digest of all its bytes."""
    if not hasattr(value, "__array__"):
        return None
    try:
        array = np.ascontiguousarray(value)
    except (TypeError, ValueError, RuntimeError):  # a tensor on another device, or one that wants a gradient
        return None
    if array.dtype.hasobject:
        return None
    return f"{array.dtype}{list(np.shape(value))} sha256:{_digest(array.tobytes())}"


def _told_code(function: Any, outer: tuple[int, ...]) -> Any:
    """What decides a function's values, as JSON; `outer` are the functions that led here."""
    if id(function) in outer:
        return "itself"
    outer = (*outer, id(function))
    if isinstance(function, functools.partial):
        bound = [*function.args, *function.keywords.items()]
        return ["partial", _told_code(function.func, outer), [_told_inside(each, outer) for each in bound]]
    function = inspect.unwrap(function) if inspect.isfunction(function) else function
    if inspect.ismethod(function):
        return ["method", _told_code(function.__func__, outer), _told_inside(function.__self__, outer)]
    if not inspect.isfunction(function):
        return _told_object(function, outer)
    code: list[Any] = [_source(function)]
    if (
        code == [None] or function.__name__ == "<lambda>"
    ):  # the source of a lambda is its whole line, its neighbour's too
        code.append(_told_bytecode(function.__code__, with_instructions=code == [None]))
    cells = [_cell(cell) for cell in function.__closure__ or ()]
    defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    return [code, [_told_inside(each, outer) for each in (*cells, *defaults)]]


def _told_object(function: Any, outer: tuple[int, ...]) -> Any:
    """A builtin or a ufunc is its name; a callable object is its class and what it holds."""
    if inspect.isbuiltin(function) or inspect.isclass(function) or isinstance(function, np.ufunc):
        return [getattr(function, "__module__", "") or "", getattr(function, "__qualname__", name_of(function))]
    call = type(function).__call__
    held = vars(function) if hasattr(function, "__dict__") else {}
    told = {name: _told_inside(value, outer) for name, value in sorted(held.items())}
    return [type(function).__qualname__, _told_code(call, outer) if inspect.isfunction(call) else None, told]


def _source(function: Callable[..., Any]) -> str | None:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return None


def _told_bytecode(code: types.CodeType, *, with_instructions: bool) -> list[Any]:
    """Names and constants of compiled code, the same in each process; instructions differ among versions of Python."""
    constants = [
        _told_bytecode(each, with_instructions=with_instructions)
        if isinstance(each, types.CodeType)
        else repr(sorted(each, key=repr) if isinstance(each, frozenset) else each)
        for each in code.co_consts
    ]
    instructions = code.co_code.hex() if with_instructions else ""
    return [constants, list(code.co_names), list(code.co_varnames), instructions]


def _told_inside(value: Any, outer: tuple[int, ...]) -> Any:
    """A value that a function holds; one that cannot be told, such as a model, is told by its class alone."""
    told = _told(value)
    if told is not None or value is None:
        return told
    return (
        _told_code(value, outer) if callable(value) and not hasattr(value, "parameters") else type(value).__qualname__
    )


def _cell(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:_DIGEST_CHARS]
