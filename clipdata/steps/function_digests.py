"""Digests of functions: what tells a step from another one of the same name."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from clipdata.errors import UsageError
from clipdata.exact_values import ExactValues, Untold, digest_of_told
from clipdata.steps.told_code import ToldCode

_DIGEST = slice(len("sha256:"), len("sha256:") + 12)


def name_of(function: Callable[..., Any]) -> str:
    """What a step is called in the lineage."""
    if isinstance(function, functools.partial):
        return name_of(function.func)
    name = getattr(function, "__name__", None) or type(function).__name__
    return "lambda" if name == "<lambda>" else str(name)


def code_digest(function: Callable[..., Any]) -> str:
    """A digest of what runs when a function is called, after the version of Python that compiled it.

    Raises:
        UsageError: nothing tells the value of something that it closes over or names.
    """
    teller = ToldCode()
    try:
        told = teller.told(function)
    except (Untold, RecursionError) as error:
        found = type(error.value).__name__ if isinstance(error, Untold) else "value that is nested too deeply"
        place = f" ({'.'.join(teller.place)})" if teller.place else ""
        raise UsageError(
            f"step {name_of(function)} depends on a {found}{place}; nothing tells its value from another's, so nothing "
            "would tell this step from another one",
            hint='name the version of the code yourself: @clipdata.step(version="1", …), and change it with the code',
        ) from error
    return f"python{sys.version_info.major}.{sys.version_info.minor}-{digest_of_told(told)[_DIGEST]}"


def decisive(value: Any, name: str) -> Any:
    """A parameter as JSON that differs wherever the parameter does.

    Args:
        name: of the parameter, for the message.

    Raises:
        UsageError: its content cannot be read, so that it could not be told from another one.
    """
    try:
        return ExactValues().told(value)
    except Untold:
        return _told_object(value, name)


def _told_object(value: Any, name: str) -> Any:
    try:
        return {f"!{type(value).__name__}": digest_of_told(ToldCode().told(value))}
    except (Untold, RecursionError) as error:
        raise UsageError(
            f"parameter {name} is a {type(value).__name__}, whose content no lineage can hold; expected a number, "
            "text, list, dict or array",
            hint="use it inside the function without passing it, and name the step's version: version=…",
        ) from error
