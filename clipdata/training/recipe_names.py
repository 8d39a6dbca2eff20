"""recipe_named(): a recipe by its name."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from clipdata.errors import UsageError
from clipdata.training.config import TrainConfig


def recipe_named(name: str) -> Callable[..., TrainConfig]:
    """A recipe function by its name.

    Raises:
        UsageError: there is no such recipe.
    """
    from clipdata.training import recipes

    known = {n: f for n, f in inspect.getmembers(recipes, inspect.isfunction) if f.__module__ == recipes.__name__}
    found: Callable[..., TrainConfig] | None = known.get(name.replace("-", "_"))
    if found is None or name.startswith("_"):
        listed = ", ".join(sorted(n for n in known if not n.startswith("_")))
        raise UsageError(f"there is no recipe {name!r}; recipes: {listed}")
    return found
