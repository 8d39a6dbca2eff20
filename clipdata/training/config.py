"""TrainConfig: everything that decides how a model is trained, in one frozen value. Knows neither torch nor tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from clipdata.encoder.augmentation import Augmentation
from clipdata.errors import ConfigError
from clipdata.json_parsing import json_kind, parse_json
from clipdata.training import config_checks, settings
from clipdata.training.config_checks import AUTO
from clipdata.training.objectives import OBJECTIVES, Choice, Objective, objective_of

OPERATIONAL = frozenset(
    {
        "num_workers",
        "num_threads",
        "gradient_checkpointing",
        "checkpoint_every_steps",
        "checkpoint_every_epochs",
        "keep_checkpoints",
        "checkpoint_to",
        "export_every_epochs",
        "tell_every_steps",
        "report_to",
        "evaluation_batch",
        "max_bad_share",
        "canary",
        "recipe",
    }
)
"""Fields that change how fast and how safely a run goes, and nothing in its result."""

BEFORE_IT_EXISTED: Mapping[str, Any] = {
    "pull": 0.0,
    "min_steps": 0,
    "steps": None,
    "fidelity": "fast",
    "prepared": None,
    "augment": None,
}
"""What a run did that was recorded before a field existed. A field that is added later belongs here with the value that
gives the numbers of the time, whatever its default; one that is missing here counts as its default of today."""


@dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Args:
        objective: what the run is about, with the columns that it needs: choice, contrastive, multi_positive, siglip,
            soft_target, distillation or class_prompts; a name stands for the one with its defaults.
        epochs: times every row is seen.
        min_steps: least number of steps; a table so small that its epochs are fewer is seen more often.
        steps: number of steps exactly, whatever the size of the table, `epochs` and `min_steps`; None goes by these.
        batch_size: rows whose features meet in a loss, over all ranks; a smaller table is one batch.
        accumulate: batches whose gradients are averaged before the weights move. It adds no negatives: rows are only
            compared with those of their own batch.
        shuffle: draw another order of rows every epoch; False keeps the table's.
        drop_last: leave out the rows of an epoch that do not fill a batch; False trains on a shorter one.
        lr: peak learning rate, of the heads.
        optimizer: "adamw" decays weights apart from the gradient; "adam" adds the decay to it (L2), as torch's does;
            "sgd".
        momentum: of "sgd".
        betas, eps: of "adamw" and "adam".
        weight_decay: of the optimizer.
        decay_all: decay biases, norms and the logit scale, too, as torch's optimizers do by themselves.
        pull: penalty that pulls towards the weights that training began with: the loss gets
            pull / rows * |W - W0|^2, summed over all that trains but the logit scale, so that it fades as the table
            grows. Source: ProLIP (arXiv 2410.05270), where it stands for a validation set on few rows.
        warmup_steps: steps over which the rate rises from lr / warmup_steps to lr.
        warmup_ratio: the same as a share of all steps, where warmup_steps is 0.
        warmup_from_zero: begin the warm-up at 0, as Hugging Face's schedules do: the first step moves nothing then.
        schedule: "cosine" and "linear" fall from lr towards 0, which they would reach one step after the last;
            "constant" stays; "step" is multiplied by step_gamma every step_epochs.
        step_epochs, step_gamma: of "step".
        precision: "fp32"; "bf16" and "fp16" compute in it by autocast, with weights kept in fp32.
        grad_clip: largest norm of the gradient of a step, or None.
        train: "projections" trains the two heads, "last_blocks" also the last `blocks` of each tower, "lora" the heads
            and low-rank additions to the attention of both towers, which are merged when the model is exported, "text"
            the heads and the whole text tower (locked-image tuning), "all" everything.
        blocks: of "last_blocks": how many of each tower.
        lora_rank, lora_alpha, lora_dropout: of "lora": rank, scale (alpha / rank) and dropout of the additions to the
            query, key and value projections. Source: CLIP-LoRA (arXiv 2405.18541).
        freeze_batchnorm: keep the statistics of BatchNorm layers as they were, also in parts that are trained.
        learn_logit_scale: train the temperature; the scale never exceeds 100.
        init_logit_scale: the scale to begin with, up to 100; None takes the model's own.
        image_lr_multiplier, text_lr_multiplier: of the rate for the towers' trunks; the heads have lr itself.
        layer_decay: factor of the rate from each block of a trunk to the one before it; 1 gives all the same.
        ema: decay of a moving average of the trained weights, which is measured and exported in their place; 0 keeps
            none.
        gradient_checkpointing: compute the blocks of the trunks again in the backward pass in place of keeping what
            they made: less memory, about a third slower.
        compile: have torch.compile make faster code of the trunks; the first steps take longer.
        grad_cache_chunk: rows that go through the towers at a time, while the loss compares all of a batch: memory is
            that of so many rows, gradients are those of the whole batch. 0 takes the batch at once. Source: GradCache
            (arXiv 2101.06983).
        seed: of the order of rows and of dropout.
        image: column of images.
        image_trunk: column that holds the image trunk's features, computed by `map` with the same encoder: no image is
            decoded then. Only where the image trunk stays as it is: train="projections" or "text", or "lora" where that
            tower has no attention. None decodes `image`.
        fidelity: "fast" resizes pictures within about a level of open_clip's own transform, "exact" as that does;
            "scaled" is fast, and decodes JPEGs much larger than the model's input to a fraction of their size, off by
            half a level on average.
        prepared: column of prepared pixels (`map prepared-pixels`) to read in place of the pictures; "auto" takes one
            that fits if there is one, None decodes `image`.
        augment: random crops, mirror images and colours of the rows to train on, as JSON such as {"flip": 0.5} or {}
            for the usual crops; drawn for seed, epoch and row alone. Rows that are measured stay as they are.
        max_bad_share: largest share of the rows whose pictures cannot be decoded. These are left out and counted; a
            run that meets more of them ends.
        text_cache: most distinct captions to encode once, before the first step, when the text trunk is not trained;
            0 encodes captions in every step.
        evaluate_where: SQL condition of rows to measure after every epoch, or None. They should not be trained on.
            "auto" takes rows that the filter leaves out and whose `split` says validation, or else test, if there are.
        evaluation_batch: rows that are measured at a time.
        wise_ft: mix the weights before and after training, (1 - a) * before + a * after: a number from 0 to 1 is this
            a; "auto" takes the one with the least loss on validation rows that are split off the rows to train on,
            where these show 40 pictures or more; None exports what training ended with. Source: WiSE-FT (arXiv
            2109.01903).
        validation_share: share of the rows to train on that "auto" splits off.
        canary: measure the built-in zero-shot set of pictures and classes before and after, so that a training which
            ruins what the model could do is told.
        best: figure of these rows whose best report gives the exported model, such as "accuracy"; None exports the last
            step. The best of many reports is a little lucky: judge it on other rows.
        checkpoint_every_steps: steps between checkpoints; 0 writes them at the ends of epochs alone.
        checkpoint_every_epochs: epochs between checkpoints.
        keep_checkpoints: newest checkpoints to keep.
        checkpoint_to: folder in a bucket, or on another disk, that checkpoints are copied to, with all that a run needs
            to go on, and taken up from where the run's own folder has none or older ones. One folder a run. It is
            reached as the table is (its storage options), in another store as the environment says.
        export_every_epochs: epochs between models written to `epochs/`; 0 writes the tuned one alone.
        tell_every_steps: steps between losses told; 0 tells those of epochs.
        report_to: what metrics go to beside metrics.jsonl, some of tensorboard, wandb and trackio (extras of the same
            names): nothing but them and config.json.
        recipe: name of what the config was made by; told, and changes nothing.
        num_workers: processes that read and decode; 0 uses threads.
        num_threads: images decoded at the same time by each; None uses all cores.

    Raises:
        ConfigError: lists every field that is wrong.
    """

    objective: Objective = field(default_factory=Choice)
    epochs: int = 5
    min_steps: int = 0
    steps: int | None = None
    batch_size: int = 64
    accumulate: int = 1
    shuffle: bool = True
    drop_last: bool = True
    lr: float = 1e-4
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    momentum: float = 0.9
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-6
    weight_decay: float = 0.1
    decay_all: bool = False
    pull: float = 0.0
    warmup_steps: int = 0
    warmup_ratio: float = 0.0
    warmup_from_zero: bool = False
    schedule: Literal["cosine", "linear", "constant", "step"] = "cosine"
    step_epochs: int = 10
    step_gamma: float = 0.1
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    grad_clip: float | None = 1.0
    train: Literal["projections", "last_blocks", "lora", "text", "all"] = "projections"
    blocks: int = 1
    lora_rank: int = 2
    lora_alpha: float = 1.0
    lora_dropout: float = 0.25
    freeze_batchnorm: bool = True
    learn_logit_scale: bool = True
    init_logit_scale: float | None = None
    image_lr_multiplier: float = 1.0
    text_lr_multiplier: float = 1.0
    layer_decay: float = 1.0
    ema: float = 0.0
    gradient_checkpointing: bool = False
    compile: bool = False
    grad_cache_chunk: int = 0
    seed: int = 0
    image: str = "image"
    image_trunk: str | None = None
    fidelity: Literal["fast", "exact", "scaled"] = "fast"
    prepared: str | None = AUTO
    augment: Augmentation | None = None
    max_bad_share: float = 0.1
    text_cache: int = 200_000
    evaluate_where: str | None = AUTO
    evaluation_batch: int = 256
    wise_ft: float | Literal["auto"] | None = None
    validation_share: float = 0.15
    canary: bool = True
    best: str | None = None
    checkpoint_every_steps: int = 500
    checkpoint_every_epochs: int = 1
    keep_checkpoints: int = 2
    checkpoint_to: str | None = None
    export_every_epochs: int = 0
    tell_every_steps: int = 0
    report_to: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = ()
    recipe: str | None = None
    num_workers: int = 0
    num_threads: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "objective", objective_of(self.objective))
        if isinstance(self.augment, Mapping):
            object.__setattr__(self, "augment", Augmentation.from_json(self.augment))
        problems = self._of_wrong_type() or config_checks.out_of_range(self)
        if problems:
            raise ConfigError(problems, what="training config", hint="clipdata train --help lists the fields")
        object.__setattr__(self, "betas", tuple(map(float, self.betas)))
        for name, kind in settings.field_types(TrainConfig).items():
            value = getattr(self, name)
            if settings.fits(1.5, kind) and isinstance(value, int) and not isinstance(value, bool):
                object.__setattr__(self, name, float(value))

    def num_steps(self, steps_per_epoch: int) -> int:
        """Steps of a run, for a table that makes so many an epoch."""
        return self.steps or max(self.epochs * steps_per_epoch, self.min_steps)

    @property
    def image_trunk_trains(self) -> bool:
        """Whether features of the image trunk change as it trains."""
        return self.train in ("last_blocks", "lora", "all")

    @property
    def text_trunk_trains(self) -> bool:
        """Whether features of the text trunk change as it trains."""
        return self.train in ("last_blocks", "lora", "text", "all")

    @classmethod
    def parse_settings(cls, texts: Mapping[str, str]) -> dict[str, Any]:
        """Values of fields from texts, as typed in `--set key=value`; a recipe takes them as overrides.

        A key that is no field of the config is one of its objective.

        Raises:
            ConfigError: lists every unknown name with the nearest known one, and every text that fits no field.
        """
        own = _names(cls)
        values, problems = settings.parse({n: text for n, text in texts.items() if n in own and n != "objective"}, cls)
        kinds = [OBJECTIVES[texts["objective"]]] if texts.get("objective") in OBJECTIVES else list(OBJECTIVES.values())
        values |= {"objective": texts["objective"]} if "objective" in texts else {}
        known = list(dict.fromkeys([*own, *(name for kind in kinds for name in _names(kind))]))
        for name, text in texts.items():
            if name in own:
                continue
            kind = next((kind for kind in kinds if name in _names(kind)), None)
            if kind is None:
                problems += settings.unknown_names([name], known)
                continue
            parsed, found = settings.parse({name: text}, kind)
            values, problems = values | parsed, problems + found
        if problems:
            raise ConfigError(problems, what="training config", hint="clipdata train --help lists the fields")
        return values

    def with_settings(self, texts: Mapping[str, str]) -> TrainConfig:
        """Change fields by texts; see `parse_settings`."""
        return self.from_json({**self.to_json(), **self.parse_settings(texts)})

    def to_json(self) -> dict[str, Any]:
        """Fields as JSON values."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        augment = None if self.augment is None else self.augment.to_json()
        listed = {name: list(value) for name, value in values.items() if isinstance(value, tuple)}
        return {**values, **listed, "objective": self.objective.to_json(), "augment": augment}

    @classmethod
    def from_json(cls, given: str | bytes | Mapping[str, Any]) -> TrainConfig:
        """Read what `to_json` gave, or JSON text of it; fields that are left out have their defaults.

        A name that is no field of the config is one of its objective.

        Raises:
            ConfigError: the text is no JSON object, or lists every field that is wrong.
        """
        if isinstance(given, (str, bytes)):
            try:
                given = parse_json(given)
            except ValueError as error:
                raise ConfigError([f"not JSON: {error}"], what="training config") from error
        if not isinstance(given, Mapping):
            raise ConfigError([f"found {json_kind(given)}; expected a JSON object"], what="training config")
        objective = objective_of(given.get("objective", "choice"))
        own = _names(cls)
        of_objective = {name: value for name, value in given.items() if name not in own}
        unknown = settings.unknown_names(of_objective, [*_names(type(objective)), *own])
        if unknown:
            raise ConfigError(unknown, what="training config")
        values: dict[str, Any] = {
            n: tuple(value) if isinstance(value, list) else value for n, value in given.items() if n in own
        }
        return cls(**{**values, "objective": objective_of({**objective.to_json(), **of_objective})})

    def _of_wrong_type(self) -> list[str]:
        return [
            f"{name} is {getattr(self, name)!r:.80}; expected {settings.describe(kind)}"
            for name, kind in settings.field_types(TrainConfig).items()
            if not settings.fits(getattr(self, name), kind)
        ]


def _names(kind: type) -> list[str]:
    """Fields of a dataclass."""
    return [one.name for one in fields(kind)]
