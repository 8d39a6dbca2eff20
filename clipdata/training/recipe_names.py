"""known_recipes(), recipe_named(): recipes by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from clipdata.errors import UsageError
from clipdata.training.config import TrainConfig


def known_recipes() -> dict[str, Callable[..., TrainConfig]]:
    """Every recipe function by its name."""
    from clipdata.training import recipes

    found = inspect.getmembers(recipes, inspect.isfunction)
    return {n: f for n, f in found if f.__module__ == recipes.__name__ and not n.startswith("_")}


def recipe_named(name: str) -> Callable[..., TrainConfig]:
    """A recipe function by its name.

    Raises:
        UsageError: there is no such recipe.
    """
    known = known_recipes()
    found = known.get(name.replace("-", "_"))
    if found is None:
        raise UsageError(f"there is no recipe {name!r}; recipes: {', '.join(sorted(known))}")
    return found
