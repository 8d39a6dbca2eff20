"""Ray, imported when it is first needed. It comes with an extra, and no type checker has to read it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from clipdata.errors import UsageError


def ray_library() -> Any:
    """The module `ray`.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return import_module("ray")
    except ImportError as error:
        raise UsageError(
            "the engine ray needs Ray, which is not installed", hint="pip install 'clipdata[ray]'"
        ) from error
