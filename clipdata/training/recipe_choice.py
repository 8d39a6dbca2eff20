"""Which recipe fits: a pure function of a few facts about a table and a model, with its reason in words.

It knows neither tables nor models; `recipe_facts.py` gathers the facts, `recipes.auto` makes the config.
"""

from __future__ import annotations

from dataclasses import dataclass

from clipdata.plurals import counted

AUTO = "auto"
"""The recipe that is chosen by facts."""
LORA_FROM = 500
"""Distinct pictures from which adapters in both trunks are worth their time. Source: CLIP-LoRA (arXiv 2405.18541),
whose smallest sets have some hundred pictures at 16 a class."""
FLYP_FROM = 5_000
"""Distinct pictures from which all weights are trained. Source: FLYP (arXiv 2212.00638), which gains on thousands; on
few, all weights of a CLIP end below their start (openai/CLIP#150, wise-ft#10)."""


READ_FROM = 300
"""Distinct pictures from which a text tower that cannot read learns more than its projection does; measured in
`clipdata.recipes.unread_texts`."""
TEXT_ON_CPU = 5_000_000
"""Weights of a text trunk of which some hundred steps are a matter of seconds on two cores."""


MOST_SKILL = 0.98
"""Skill beyond which a few hundred rows cannot tell."""


@dataclass(frozen=True)
class Facts:
    """What a recipe is chosen by.

    Args:
        num_rows: that can be trained on.
        num_pictures: distinct ones among them; None counts every row as one.
        attention: whether both trunks have queries, keys and values to put adapters beside.
        batchnorm: whether a trunk normalises by statistics of batches, as ResNets do.
        on_gpu: whether the model is on one.
        text_weights: how many weights the text trunk has.
        reads: False where the model was found to answer the training rows no better than chance.
        skill: what it got right of them beyond what guessing gives, as a part of all that there is beyond: from 0 to 1.
        heads_alone: features of a column are trained on, so that no trunk of pictures can be.
        train: part of the model that is asked for; None leaves it open.
    """

    num_rows: int
    num_pictures: int | None = None
    attention: bool = True
    batchnorm: bool = False
    on_gpu: bool = False
    text_weights: int = 0
    reads: bool = True
    skill: float = 0.0
    heads_alone: bool = False
    train: str | None = None

    @property
    def pictures(self) -> int:
        """Distinct pictures, one at least."""
        return max(1, min(self.num_rows, self.num_rows if self.num_pictures is None else self.num_pictures))

    @property
    def caution(self) -> float:
        """How many times as strong a pull a model wants that is right in most cases: there is more to lose than to win.

        The odds of its skill, and 1 below even odds.
        """
        skill = min(max(self.skill, 0.0), MOST_SKILL)
        return max(1.0, skill / (1 - skill))

    @property
    def amount(self) -> str:
        """Rows and pictures, in words."""
        rows = f"{self.num_rows:,} row{'s' if self.num_rows != 1 else ''}"
        return rows if self.pictures >= self.num_rows else f"{rows} of {self.pictures:,} pictures"


@dataclass(frozen=True)
class Chosen:
    """A recipe and why.

    Args:
        name: of a function in `clipdata.recipes`.
        reason: in words.
        instead: what to type for another one, where that is worth a thought.
    """

    name: str
    reason: str
    instead: str | None = None

    def __str__(self) -> str:
        return f"auto: {self.name}; {self.reason}" + (f" ({self.instead})" if self.instead else "")


_BY_PART = {"projections": "projections", "text": "unread_texts", "lora": "lora", "last_blocks": "flyp", "all": "flyp"}


def choose(facts: Facts) -> Chosen:
    """Choose by what is asked for, then by whether the model reads the texts, then by how many pictures there are."""
    if facts.train is not None:
        return Chosen(_BY_PART.get(facts.train, "projections"), f"{facts.amount}, and train={facts.train} is asked for")
    if not facts.reads:
        found = f"{facts.amount}, which the model answers no better than by guessing"
        if facts.pictures < READ_FROM:
            return Chosen("projections", f"{found}; a text tower learns to read from {READ_FROM:,} pictures on")
        if facts.on_gpu or facts.text_weights <= TEXT_ON_CPU:
            how = "its text tower is to learn to read"
            return Chosen("unread_texts", f"{found}: {how}", "--recipe projections leaves it as it is")
        why = f"a text tower of {facts.text_weights / 1e6:.0f} million weights learns to read on a GPU"
        return Chosen("projections", f"{found}; {why}", "--recipe unread-texts tries it here")
    larger = "flyp" if facts.pictures >= FLYP_FROM else "lora"
    why_not = _against(larger, facts)
    if why_not is None:
        parts = {"lora": "adapters in both trunks", "flyp": "all weights"}[larger]
        return Chosen(larger, f"{facts.amount}, on a GPU: {parts}", "--recipe projections takes seconds")
    instead = None if facts.pictures < LORA_FROM or facts.heads_alone else f"--recipe {larger} for the other"
    return Chosen("projections", f"{facts.amount}: {why_not}", instead)


def _against(larger: str, facts: Facts) -> str | None:
    """Why a recipe that trains trunks does not fit; None where it does."""
    if facts.pictures < LORA_FROM:
        few = f"with fewer than {counted(LORA_FROM, 'picture')} more weights are learned by heart"
        return f"{few}, most of all by a tower with BatchNorm" if facts.batchnorm else few
    if facts.heads_alone:
        return "features of a column are read, so the trunk of pictures stays as it is"
    if larger == "lora" and facts.batchnorm:
        return (
            f"a tower with BatchNorm takes no adapters, and fewer than {FLYP_FROM:,} pictures are too few for all of it"
        )
    if larger == "lora" and not facts.attention:
        return "a trunk has no attention to put adapters beside"
    if not facts.on_gpu:
        return "more goes through both towers in every step, which takes hours on a CPU"
    return None
