"""Ranking: recipes trained with several seeds, measured on the same held-out rows, and which of them can be told apart.

    rows_held_out.py    which rows recipes are chosen by
    recipe_trials.py    train_recipes(): every recipe with every seed, and their ranking
    recipes_plan.py     what that would do
    run_groups.py       runs in their folders, put together by what was trained, whatever their folders are called
    starting_models.py  what runs began with
    measured_by.py      the objective and the figure that all are measured by
    run_ranking.py      compare_runs(): runs measured and ranked
    ranked.py           the ranking as a value, as text and in a notebook

Choosing a recipe is a before and after, too: the interval is over seeds and pictures, and chance is no winner.
"""

from __future__ import annotations

from clipdata.ranking.ranked import RankedRecipe, Ranking
from clipdata.ranking.recipe_trials import train_recipes
from clipdata.ranking.recipes_plan import RecipesPlan
from clipdata.ranking.run_ranking import compare_runs

__all__ = ["RankedRecipe", "Ranking", "RecipesPlan", "compare_runs", "train_recipes"]
