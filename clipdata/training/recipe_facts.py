"""Facts that a recipe is chosen by, gathered from a table and a model; and the config that follows, told in one line.

It knows tables, encoders and recipes, and neither runs nor pipelines.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from clipdata.arguments import check_condition, check_kind
from clipdata.encoder import Encoder
from clipdata.encoder.towers import image_tower, text_tower
from clipdata.hints import typed
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.origin import changed_inputs
from clipdata.progress import Progress, Silent
from clipdata.storage import redact
from clipdata.training import recipes
from clipdata.training.config import TrainConfig
from clipdata.training.evaluation import evaluate
from clipdata.training.few_rows import has_batchnorm
from clipdata.training.figures import Evaluation
from clipdata.training.image_side import check_images
from clipdata.training.objectives import ClassPrompts, Objective, objective_with, own_fields
from clipdata.training.optimisers import part_of
from clipdata.training.portion import Portion
from clipdata.training.recipe_choice import Facts, choose
from clipdata.training.retrieval import SIZES
from clipdata.training.usable_rows import choose_rows

MEASURED = 256
"""Training rows that a model is asked about before it is trained."""
LEAST_MEASURED = 30
"""Rows below which nobody can tell a weak model from one that guesses."""
SURE = 2.3
"""Standard errors above chance at which a model is known to read the texts: guesses are so in 1 of 100 cases."""


def choose_recipe(
    table: AnyTable,
    encoder: Encoder,
    *,
    where: str | None = None,
    limit: int | None = None,
    sample: int | None = None,
    progress: Progress | None = None,
    **overrides: Any,
) -> TrainConfig:
    """Choose how to fine-tune an encoder on the rows of a table, and tell why.

    A column of the encoder's own image trunk is found and read where there is one.

    Args:
        table: read at the version it is pinned to.
        encoder: to begin with; some training rows are asked about, to see whether it reads their texts.
        where: SQL condition on the rows to train on.
        limit, sample: as of `clipdata.train`.
        progress: is told which recipe it is, and why.
        overrides: any field of `TrainConfig`, or of its objective; these stay as they are given.

    Raises:
        SchemaError, UsageError, ConfigError: as of `clipdata.train`.
    """
    check_kind(encoder, Encoder, "choose_recipe: encoder", 'clipdata.load_encoder("starter")')
    check_condition(where)
    progress, pinned = progress or Silent(), as_table(table).pinned()
    named = {"objective": overrides["objective"]} if "objective" in overrides else {}
    objective = objective_with(pinned, {**named, **own_fields(overrides)})
    image = str(overrides.get("image", TrainConfig.image))
    trunk = overrides["image_trunk"] if "image_trunk" in overrides else find_trunk(pinned, encoder, image, where)
    facts = facts_of(
        pinned,
        encoder,
        objective.resolved(pinned),
        where=where,
        portion=Portion(limit, sample, int(overrides.get("seed", 0))),
        image=image,
        trunk=trunk,
        heads_alone=overrides.get("image_trunk") is not None,
        train=overrides.get("train"),
    )
    progress.say(str(choose(facts)))
    config = recipes.auto(facts, **{**overrides, "objective": objective.to_json()})
    if config.image_trunk_trains or "image_trunk" in overrides:
        return config
    if trunk is None:
        progress.say(
            "every picture is decoded and looked at anew in every epoch; once is enough, with a column of what the "
            f"locked trunk makes of it: clipdata map {typed(redact(pinned.uri))} image-trunk image_trunk --model "
            f"{encoder.name}"
        )
    return replace(config, image_trunk=trunk)


def facts_of(
    table: Table,
    encoder: Encoder,
    objective: Objective,
    *,
    where: str | None = None,
    portion: Portion | None = None,
    image: str = "image",
    trunk: str | None = None,
    heads_alone: bool = False,
    train: str | None = None,
) -> Facts:
    """Count rows and pictures, look at the towers, and ask the model about some of the rows.

    Args:
        objective: what the training is about.
        portion: which of the rows; all by default.
        image: column of pictures.
        trunk: column of the encoder's trunk, to be asked about instead of these.
        heads_alone, train: as of `Facts`.
    """
    rows = choose_rows(table, objective, image=image, where=where, portion=portion, features=trunk)
    check_images(table, encoder, TrainConfig(objective=objective, image=image, image_trunk=trunk))
    answers = Answers()
    if train in (None, "projections"):
        found = evaluate(table, encoder, objective, where=where, sample=MEASURED, image=image, image_trunk=trunk)
        answers = Answers.of(found.evaluation, objective)
    return Facts(
        num_rows=len(rows.offsets),
        num_pictures=_num_distinct(rows.pictures_N),
        **towers_of(encoder),
        reads=answers.reads,
        skill=answers.skill,
        heads_alone=heads_alone,
        train=train,
    )


def find_trunk(table: Table, encoder: Encoder, image: str, where: str | None) -> str | None:
    """The column that holds what an encoder's image trunk makes of every picture, if there is one."""
    for name in table.schema.names:
        lineage = table.lineage(name)
        if lineage is None or lineage.step != "ImageTrunk" or lineage.model != encoder.trunk_identity:
            continue
        missing = f"`{name}` IS NULL" + (f" AND ({where})" if where else "")
        if image in lineage.inputs and not changed_inputs(table, lineage) and not table.count_rows(missing):
            return name
    return None


def towers_of(encoder: Encoder) -> dict[str, Any]:
    """What of a model decides which recipes it can take."""
    model: Any = encoder.model
    return {
        "attention": all(any(True for _ in tower(model).attention()) for tower in (image_tower, text_tower)),
        "batchnorm": has_batchnorm(encoder),
        "on_gpu": encoder.device.type == "cuda",
        "text_weights": sum(one.numel() for name, one in model.named_parameters() if _of_text_trunk(name, encoder)),
    }


def _of_text_trunk(name: str, encoder: Encoder) -> bool:
    """Tables of word vectors left out, of which a step moves a few rows and multiplies nothing."""
    return part_of(name, encoder.towers) == "text" and "embedding" not in name


@dataclass(frozen=True)
class Answers:
    """How well a model answers rows before it is trained on them.

    Args:
        reads: better than chance, as far as so many rows can tell; where none can, it is. Of recall at several sizes it
            is enough that one is.
        skill: as of `Facts`.
    """

    reads: bool = True
    skill: float = 0.0

    @classmethod
    def of(cls, found: Evaluation, objective: Objective) -> Answers:
        """Judge by the figures of what the objective is about."""
        chances = {
            name: chance
            for name, chance in _chances(found, objective).items()
            if name in found.units and 0 < chance < 1 and len(found.units[name].picture_N)
        }
        if not chances:
            return cls()
        first, chance = next(iter(chances.items()))
        skill = (found.metrics[first] - chance) / (1 - chance)
        surely = found.num_rows < LEAST_MEASURED or any(
            found.metrics[name] - chance > SURE * math.sqrt(chance * (1 - chance) / num)
            for name, chance in chances.items()
            if (num := _num_distinct(found.units[name].picture_N))
        )
        return cls(surely, min(max(skill, 0.0), 1.0))


def _chances(found: Evaluation, objective: Objective) -> dict[str, float]:
    """What guessing gives of the figures that tell right from wrong."""
    if isinstance(objective, ClassPrompts):
        return {"top1_accuracy": 1 / max(len(objective.classes), 1)}
    if "chance" in found.more:
        return {"accuracy": float(found.more["chance"])}
    side = "image_to_text"
    return {f"{side}_recall@{k}": float(found.more.get(f"{side}_chance@{k}", 1.0)) for k in SIZES}


def _num_distinct(pictures_N: np.ndarray) -> int:
    """Distinct pictures; one that nobody can tell is one of its own."""
    known = pictures_N[pictures_N != 0]
    return len(np.unique(known)) + len(pictures_N) - len(known)
