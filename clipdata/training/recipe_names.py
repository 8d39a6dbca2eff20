"""Recipes by their names: all of them, and the one that a name means."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from clipdata.errors import UsageError
from clipdata.training.config import TrainConfig


def recipes_by_name() -> dict[str, Callable[..., TrainConfig]]:
    """Every recipe, in the order of the alphabet."""
    from clipdata.training import recipes

    own = {n: f for n, f in inspect.getmembers(recipes, inspect.isfunction) if f.__module__ == recipes.__name__}
    return {name: recipe for name, recipe in own.items() if not name.startswith("_")}


def recipe_named(name: str) -> Callable[..., TrainConfig]:
    """A recipe function by its name.

    Raises:
        UsageError: there is no such recipe.
    """
    known = recipes_by_name()
    found = known.get(name.replace("-", "_"))
    if found is None:
        raise UsageError(f"there is no recipe {name!r}; recipes: {', '.join(known)}")
    return found
