"""Engines by name, with their options as texts: what a command line has. It starts none of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from clipdata.engines.local import LocalEngine
from clipdata.engines.ray import RayEngine
from clipdata.engines.task import Engine
from clipdata.errors import UsageError

ENGINES = ("local", "ray")
_NUMBERS = {"workers": int, "gpus": float, "cpus": float, "start_s": float}


def engine_named(name: str, options: Mapping[str, str]) -> Engine:
    """Make an engine.

    Args:
        name: "local" or "ray".
        options: fields of `RayEngine` as texts; the local engine has none.

    Raises:
        UsageError: there is no such engine or option, or the value is no number where one is expected.
    """
    if name not in ENGINES:
        raise UsageError(f"there is no engine {name!r}; expected {' or '.join(ENGINES)}")
    known = [field.name for field in dataclasses.fields(RayEngine)] if name == "ray" else []
    unknown = [option for option in options if option not in known]
    if unknown:
        listed = f"it has {', '.join(known)}" if known else "it has none"
        raise UsageError(f"the engine {name} has no option {unknown[0]!r}; {listed}")
    if name == "local":
        return LocalEngine()
    values: dict[str, object] = {}
    for option, text in options.items():
        try:
            values[option] = _NUMBERS.get(option, str)(text)
        except ValueError as error:
            raise UsageError(f"engine option {option} is {text!r}; expected a number") from error
    return RayEngine(**values)  # type: ignore[arg-type]
