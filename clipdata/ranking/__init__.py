"""Ranking: recipes trained with several seeds, measured on the same held-out rows, and which of them can be told apart.

Choosing a recipe is a before and after, too: the interval is over seeds and pictures, and chance is no winner.
"""

from __future__ import annotations

from clipdata.ranking.ranked import RankedRecipe, Ranking
from clipdata.ranking.recipe_trials import train_recipes
from clipdata.ranking.recipes_plan import RecipesPlan
from clipdata.ranking.run_ranking import compare_runs

__all__ = ["RankedRecipe", "Ranking", "RecipesPlan", "compare_runs", "train_recipes"]
