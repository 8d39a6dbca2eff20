"""The recipe of a pipeline where another one than its own is asked for, or one is to be chosen.

It knows recipes and facts, and no pipeline.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clipdata.progress import Progress
from clipdata.training import recipes
from clipdata.training.portion import Portion
from clipdata.training.recipe_choice import AUTO, Facts, choose
from clipdata.training.recipe_names import recipe_named

if TYPE_CHECKING:
    from clipdata.encoder.model import Encoder
    from clipdata.lance_io.table import Table
    from clipdata.training.config import TrainConfig


@dataclass
class AskedRecipe:
    """The recipe that is asked for.

    Args:
        name: of it; None for the pipeline's own.
        facts: that `auto` goes by; until there is a table and a model, it takes few rows to be there.
    """

    name: str | None
    facts: Facts | None = None

    def or_else(self, own: Callable[..., TrainConfig], **fields: Any) -> TrainConfig:
        """The config that it makes, or the pipeline's own recipe, with fields over it.

        Another recipe says how to train, and never for what: the objective stays the pipeline's.
        """
        if self.name is None:
            return own(**fields)
        fields = {"objective": own(**fields).objective.kind, **fields}
        return recipes.auto(self.facts, **fields) if self.name == AUTO else recipe_named(self.name)(**fields)

    def settle(
        self,
        table: Table,
        encoder: Encoder,
        config: TrainConfig,
        *,
        where: str,
        portion: Portion,
        train: str | None,
        heads_alone: bool,
        progress: Progress,
    ) -> None:
        """Gather the facts, where the recipe is to be chosen, and tell which it is and why.

        Args:
            config: names the columns.
            train: part of the model that is asked for.
            heads_alone: the trunk of pictures stays as it is, whatever is chosen.
        """
        if self.name != AUTO:
            return
        from clipdata.training.recipe_facts import facts_of

        self.facts = facts_of(
            table,
            encoder,
            config.objective.resolved(table),
            where=where,
            portion=portion,
            image=config.image,
            heads_alone=heads_alone,
            train=train,
        )
        progress.say(str(choose(self.facts)))
