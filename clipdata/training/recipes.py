"""Recipes: functions that return a TrainConfig which is known to work. They know no models and no tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any

from clipdata.training.config import TrainConfig
from clipdata.training.recipe_choice import AUTO, TEXT_ON_CPU, Facts, choose

PULL = 1.0
"""Pull of `projections` where every row has a picture of its own."""
LARGE_TEXT = 0.05
"""Part of the rate of 1e-3 that a large text trunk learns at. Source: BERT (arXiv 1810.04805), fine-tuned at 2e-5 to
5e-5."""


def _named(recipe: Callable[..., TrainConfig]) -> Callable[..., TrainConfig]:
    """The same recipe, whose configs say that they are made by it."""

    @wraps(recipe)
    def named(*given: Any, **overrides: Any) -> TrainConfig:
        made = recipe(*given, **overrides)
        return made if made.recipe is not None else replace(made, recipe=recipe.__name__)

    return named


def auto(facts: Facts | None = None, **overrides: Any) -> TrainConfig:
    """Choose among the recipes by facts of a table and a model: the default of `clipdata fine-tune` and `train`.

        the model answers training rows no better than by guessing        `unread_texts`
        fewer than 500 distinct pictures, or no GPU                        `projections`
        from 500 on, with attention in both trunks                         `lora`
        from 5,000 on                                                      `flyp`

    The pull of the projections goes by distinct pictures, and is as many times as strong as there are right answers for
    a wrong one before training, where the model is right in most cases: it has more to lose than to win.

    Held-out accuracy of the starter model in percent with 60 rows to train on, mean ± standard deviation over five
    seeds; none of the runs ended below its start beyond the 95 % interval:

                                             before        auto       2e-4, 5 epochs
        one of five captions                  43.1      47.1 ± 3.0      43.8 ± 3.8
        one of 33 classes                      9.4      31.4 ± 4.3      14.8 ± 2.4
        one of five Chinese names             21.5      22.6 ± 1.9      22.9 ± 2.1
        the same, by an untrained text tower  19.0      24.1 ± 2.2      18.8 ± 1.0

    It chose the projections for these. Measured with `python -m benchmarks.auto_recipe`; more of it, and tasks that are
    made hard, in docs/benchmarks/2026-11-26-training.md. Adapters and all weights were not measured: what they are
    chosen by is what their authors report.

    A tower with BatchNorm takes no adapters: below 5,000 pictures its projections train. What trains from a column of
    features are heads, however many rows there are. `train=…` decides where it is given.

    Args:
        facts: of a table and a model, as `clipdata.choose_recipe` gathers them; by default those of a single row.
        overrides: any field of `TrainConfig`, or of its objective.

    Raises:
        ConfigError: lists every override that is wrong.
    """
    facts = facts or Facts(num_rows=1, train=overrides.get("train"))
    chosen = choose(facts)
    fitting = {}
    if chosen.name == "projections":
        fitting = {"pull": PULL * facts.caution * facts.num_rows / facts.pictures}
    elif chosen.name == "unread_texts" and facts.text_weights > TEXT_ON_CPU:
        fitting = {"text_lr_multiplier": LARGE_TEXT}
    recipe: Callable[..., TrainConfig] = globals()[chosen.name]
    return recipe(**{**fitting, "recipe": f"{AUTO}: {chosen.name}", **overrides})


@_named
def projections(**overrides: Any) -> TrainConfig:
    """Train the two projections with a pull towards the weights they began with: for few rows, and for any on a CPU.

    The pull fades as rows are added. It is that of ProLIP, which trains the projection of pictures alone. The tables it
    was chosen by stand in `caption_contest` and `prompt_classification`.

    Args:
        overrides: any field of `TrainConfig`, or of its objective.

    Raises:
        ConfigError: lists every override that is wrong.

    Source: ProLIP (arXiv 2410.05270).
    """
    own = {"train": "projections", "lr": 1e-3, "epochs": 5, "min_steps": 200, "pull": PULL, "weight_decay": 0.0}
    return TrainConfig.from_json({**own, **overrides})


@_named
def unread_texts(**overrides: Any) -> TrainConfig:
    """Train the text tower and both projections, for a model that cannot read the texts: nothing is there to be kept.

    It is `locked_image` for any objective, with batches of 64. The starter's image tower and a BERT of two layers over
    the characters of Chinese names, chosen right among five held-out ones in percent (two seeds, one for all; guessing
    gives 20):

        names to train on          60           300         all (1,150)
        projections            17.4 → 24.8  17.4 → 30.0    18.1 → 30.9
        this recipe            17.4 → 23.6  17.4 → 32.8    18.1 → 42.4

    Args:
        overrides: any field of `TrainConfig`, or of its objective.

    Raises:
        ConfigError: lists every override that is wrong.

    Source: LiT (arXiv 2111.07991).
    """
    own = {"train": "text", "lr": 1e-3, "epochs": 20, "min_steps": 200, "weight_decay": 0.01, "warmup_ratio": 0.1}
    return TrainConfig.from_json({**own, **overrides})


@_named
def caption_contest(**overrides: Any) -> TrainConfig:
    """Choose the right caption of a picture among several, by training the two projections.

    The recipe goes by the size of the table: five epochs but at least 200 steps, and a pull towards the weights it
    began with that fades as rows are added. It was chosen on the training rows of the built-in sample, split anew for
    each of the seeds 0 to 4, with no picture and no right caption on both sides; no test row was read. Held-out
    accuracy of the starter model in percent, mean ± standard deviation over the seeds; before training it is 43.0:

        questions to train on                 60           300         1,000    all (3,450)
        before: 2e-4, 5 epochs        43.9 ± 3.8    46.4 ± 3.8    51.5 ± 3.0    57.5 ± 1.8
        1e-3, 5 epochs                43.7 ± 2.9    48.3 ± 3.7    56.9 ± 2.7    59.1 ± 2.7
        5e-4, 200 steps               43.8 ± 3.1*   53.8 ± 4.0    56.9 ± 2.9    59.4 ± 2.6
        5e-4, 200 steps, pull 1       47.0 ± 3.1    53.2 ± 3.8    56.5 ± 2.9    59.3 ± 2.5
        1e-3, 200 steps, pull 0.5     47.0 ± 3.1    53.3 ± 3.7    57.2 ± 2.7    59.0 ± 2.4
        1e-3, 200 steps, pull 1       47.1 ± 3.0    53.1 ± 3.7    56.9 ± 2.6    59.2 ± 2.4    this recipe
        1e-3, 200 steps, pull 2       46.9 ± 2.7    52.7 ± 3.8    56.6 ± 2.7    59.3 ± 2.5
        and where few pictures have many questions (--whole-groups):
        before: 2e-4, 5 epochs        44.3 ± 4.2    45.7 ± 3.2    49.9 ± 4.1
        1e-3, 5 epochs                43.7 ± 4.7    42.8 ± 4.2*   52.4 ± 3.5
        5e-4, 200 steps               39.8 ± 3.5*   46.6 ± 3.9    53.2 ± 4.1
        1e-3, 200 steps, pull 1       46.1 ± 4.2    47.7 ± 3.8    52.5 ± 3.6    this recipe

    A star: one of the five ended below its start by more than the 95 % interval. Any pull from 0.5 to 2 and rate from
    5e-4 to 1e-3 ends within a point of the recipe; without a pull few rows are learned by heart. Measured with `python
    benchmarks/default_recipe.py`, which prints more candidates.

    Name the column of image trunk features (`image_trunk="image_trunk"`) where there is one: nothing is decoded then.

    For ViT-B-32 with thousands of questions, begin with `train="all", lr=1e-5, warmup_steps=100, epochs=3` and, on a
    GPU, `precision="bf16"`. Source: FLYP (arXiv 2212.00638), whose authors fine-tune such models with AdamW at
    1e-5 and weight decay 0.1. With fewer, keep to the projections.

    The tutorial that this task comes from fits ten questions by heart, with `train="all", optimizer="adam", lr=1e-4,
    betas=(0.9, 0.999), eps=1e-8, weight_decay=0, schedule="constant", grad_clip=None, batch_size=2`.

    Args:
        overrides: any field of `TrainConfig`.

    Raises:
        ConfigError: lists every override that is wrong.
    """
    for_projections = {"lr": 1e-3, "min_steps": 200, "pull": 1.0, "weight_decay": 0.0}
    # Nothing was measured for whole blocks; they keep what they had before the projections' was chosen anew.
    for_blocks = {"lr": 2e-4, "weight_decay": 0.1}
    fitting = for_projections if overrides.get("train", "projections") == "projections" else for_blocks
    return TrainConfig.from_json({"train": "projections", "epochs": 5, "batch_size": 64, **fitting, **overrides})


@_named
def prompt_classification(**overrides: Any) -> TrainConfig:
    """Tell a picture's class by prompts such as "a photo of {class}", by training the two projections.

    Pictures and the prompts of a batch are compared in both directions, with equal prompts as positives of each other.
    The recipe was chosen on the training rows of the built-in sample (33 classes), split anew for each of the seeds 0
    to 4 with no subject on both sides; no test row was read. Held-out top-1 of the starter model in percent, mean ±
    standard deviation over the seeds; before training it is 10.3, and guessing gives 3.0:

        pictures to train on                  60           300      all (1,150)
        2e-4, 5 epochs                16.0 ± 1.6    26.0 ± 2.4    41.6 ± 2.8
        1e-3, 200 steps               30.1 ± 2.7    44.9 ± 3.0    52.0 ± 4.4
        1e-3, 200 steps, pull 0.3     30.2 ± 3.7    44.3 ± 3.1    51.9 ± 4.6
        1e-3, 200 steps, pull 1       29.7 ± 2.8    43.4 ± 2.4    52.0 ± 4.1    this recipe

    Ten epochs of any of these sizes are fewer than 200 steps. None of the runs ended below its start. A pull makes no
    difference here; it is kept for models that know the classes better than this one does, which few rows would make
    worse. Measured with `python benchmarks/class_recipe.py`.

    Name the column of image trunk features (`image_trunk="image_trunk"`) where there is one: nothing is decoded then.

    The document that this task comes from trains all of a RN50, with `train="all", optimizer="adam", lr=1e-6,
    betas=(0.9, 0.98), eps=1e-6, weight_decay=1e-3, decay_all=True, schedule="step", batch_size=4, epochs=30,
    drop_last=False, grad_clip=None`.

    Args:
        overrides: any field of `TrainConfig`, or of its objective.

    Raises:
        ConfigError: lists every override that is wrong.
    """
    for_projections = {"lr": 1e-3, "min_steps": 200, "pull": 1.0, "weight_decay": 0.0}
    # Nothing was measured for whole blocks. Source: FLYP (arXiv 2212.00638) fine-tunes CLIP models with these.
    for_blocks = {"lr": 1e-5, "weight_decay": 0.1}
    fitting = for_projections if overrides.get("train", "projections") == "projections" else for_blocks
    about = {} if "objective" in overrides else {"objective": "multi_positive", "text": "prompt"}
    return TrainConfig.from_json(
        {"train": "projections", "epochs": 10, "batch_size": 64, **fitting, **about, **overrides}
    )


@_named
def dual_encoder(**overrides: Any) -> TrainConfig:
    """Join two towers that never met, by training all of both and a new head on each.

    Rates and the order of magnitude of a batch are those of Lance's Flickr8k example: 1e-3 for the heads, 1e-4 for the
    image trunk, 1e-5 for the text trunk, batches of 32. The loss is not: captions of one picture, and pictures of one
    caption, are each other's positives here, on L2-normalised features with a learned scale.

    Args:
        overrides: any field of `TrainConfig`, or of its objective.

    Raises:
        ConfigError: lists every override that is wrong.
    """
    own = {
        "objective": "multi_positive",
        "train": "all",
        "lr": 1e-3,
        "image_lr_multiplier": 0.1,
        "text_lr_multiplier": 0.01,
        "weight_decay": 0.01,
        "batch_size": 32,
        "epochs": 2,
        "min_steps": 80,
        "warmup_ratio": 0.1,
    }
    return TrainConfig.from_json({**own, **overrides})


@_named
def from_scratch(**overrides: Any) -> TrainConfig:
    """Train a model with random weights on pairs of pictures and captions.

    Args:
        overrides: any field of `TrainConfig`, or of its objective.

    Raises:
        ConfigError: lists every override that is wrong.
    """
    own = {
        "objective": "contrastive",
        "train": "all",
        "freeze_batchnorm": False,
        "lr": 1e-3,
        "weight_decay": 0.1,
        "batch_size": 64,
        "epochs": 10,
        "min_steps": 250,
        "warmup_ratio": 0.1,
    }
    return TrainConfig.from_json({**own, **overrides})


@_named
def locked_image(**overrides: Any) -> TrainConfig:
    """Train a text tower to read what a locked image tower sees: the text tower, both projections and the scale.

    Texts and pictures that belong together by their ids are each other's positives. The last, short batch is kept.

    It was chosen on the training rows of the built-in sample (names in Chinese, the starter's image tower, a BERT of
    two layers, 128 wide, over characters), of which a fifth of the names was held out for each of the seeds 0 and 1; no
    test row was read. Chosen right among five held-out names in percent, mean ± standard deviation; guessing gives 20:

        this recipe, [CLS]'s features                                   43.9 ± 1.0
        this recipe, BERT's pooler                                      42.6 ± 1.8
        [CLS]'s features, a random projection of pictures into 128      42.7 ± 0.6

    They do not differ beyond chance. With the pooler, transformers opens the whole where its classes fit.

    Args:
        overrides: any field of `TrainConfig`, or of its objective.

    Raises:
        ConfigError: lists every override that is wrong.

    Source: LiT (arXiv 2111.07991).
    """
    own = {
        "objective": "multi_positive",
        "train": "text",
        "lr": 1e-3,
        "weight_decay": 0.01,
        "batch_size": 128,
        "epochs": 20,
        "min_steps": 200,
        "drop_last": False,
        "warmup_ratio": 0.1,
    }
    return TrainConfig.from_json({**own, **overrides})


@_named
def lora(**overrides: Any) -> TrainConfig:
    """Train low-rank additions to the attention of both towers, and the heads: for hundreds of rows and more.

    Rank 2, alpha 1 and a dropout of .25 beside queries, keys and values, AdamW at 2e-4 over a cosine, and batches of 32
    are CLIP-LoRA's. Its authors take 500 steps for each example of a class, however many classes there are; a table of
    captions has no such number, so this goes over the rows ten times, and takes 500 steps at least. They train no head.
    How much of the training the exported model takes is chosen on rows split off (`wise_ft`).

    Args:
        overrides: any field of `TrainConfig`, or of its objective.

    Raises:
        ConfigError: lists every override that is wrong.

    Source: CLIP-LoRA (arXiv 2405.18541).
    """
    own = {
        "train": "lora",
        "lr": 2e-4,
        "betas": (0.9, 0.999),
        "weight_decay": 0.01,
        "batch_size": 32,
        "epochs": 10,
        "min_steps": 500,
        "wise_ft": "auto",
    }
    return TrainConfig.from_json({**own, **overrides})


@_named
def flyp(**overrides: Any) -> TrainConfig:
    """Train all weights as CLIP itself was trained, pictures against captions or prompts: for thousands of rows.

    AdamW at 1e-5 with a weight decay of .1, a warm-up and a cosine over ten epochs are FLYP's, whose batches are 512
    large: take as many rows as memory holds. Equal captions are each other's positives here. The norms' statistics of a
    ResNet stay as they were; with few rows such a model ends below its start. How much of the training the exported
    model takes is chosen on rows split off (`wise_ft`).

    Args:
        overrides: any field of `TrainConfig`, or of its objective.

    Raises:
        ConfigError: lists every override that is wrong.

    Source: FLYP (arXiv 2212.00638).
    """
    own = {
        "train": "all",
        "lr": 1e-5,
        "betas": (0.9, 0.999),
        "eps": 1e-8,
        "weight_decay": 0.1,
        "wise_ft": "auto",
        "batch_size": 64,
        "epochs": 10,
        "warmup_ratio": 0.1,
    }
    about = {} if "objective" in overrides else {"objective": "multi_positive"}
    return TrainConfig.from_json({**own, **about, **overrides})
