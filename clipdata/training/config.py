"""TrainConfig: everything that decides how a model is trained, in one frozen value. Knows neither torch nor tables."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from clipdata.errors import ConfigError
from clipdata.training import settings

OPERATIONAL = frozenset({"num_workers", "num_threads", "checkpoint_every_steps", "keep_checkpoints", "max_bad_share"})
"""Fields that change how fast and how safely a run goes, and nothing in its result."""

BEFORE_IT_EXISTED: Mapping[str, Any] = {"pull": 0.0, "min_steps": 0, "steps": None, "fidelity": "fast"}
"""What a run did that was recorded before a field existed. A field that is added later belongs here with the value that
gives the numbers of the time, whatever its default; one that is missing here counts as its default of today."""


@dataclass(frozen=True)
class TrainConfig:
    """How to fine-tune.

    Args:
        objective: "choice": each image among its own captions, cross-entropy on the right one.
        epochs: times every row is seen.
        min_steps: least number of steps; a table so small that its epochs are fewer is seen more often.
        steps: number of steps exactly, whatever the size of the table, `epochs` and `min_steps`; None goes by these.
        batch_size: rows of a step, over all ranks; a smaller table is one batch.
        lr: peak learning rate.
        optimizer: "adamw" decays weights apart from the gradient; "adam" adds the decay to it (L2), as torch's does.
        betas, eps, weight_decay: of the optimizer. Biases, norms and the logit scale are never decayed.
        pull: penalty that pulls towards the weights that training began with: the loss gets
            pull / rows * |W - W0|^2, summed over all that trains but the logit scale, so that it fades as the table
            grows. Source: ProLIP (arXiv 2410.05270), where it stands for a validation set on few rows.
        warmup_steps: steps over which the rate rises from lr / warmup_steps to lr.
        schedule: "cosine" falls from lr towards 0, which it would reach one step after the last; "constant" stays.
        precision: "fp32"; "bf16" and "fp16" compute in it by autocast, with weights kept in fp32.
        grad_clip: largest norm of the gradient of a step, or None.
        train: "projections" trains the two heads, "last_blocks" also the last block of each tower, "all" everything.
        freeze_batchnorm: keep the statistics of BatchNorm layers as they were, also in parts that are trained.
        learn_logit_scale: train the temperature; it never exceeds ln 100.
        image_lr_multiplier, text_lr_multiplier: of the rate for the towers' trunks; the heads have lr itself.
        seed: of the order of rows and of dropout.
        image: column of images.
        image_trunk: column that holds the image trunk's features, computed by `map` with the same encoder: no image is
            decoded then. Only for train="projections". None decodes `image`.
        choices: column of captions to choose from, a list a row.
        label: column of the right caption's place, from 0.
        fidelity: "fast" resizes pictures within about a level of open_clip's own transform, "exact" as that does.
        max_bad_share: largest share of the rows whose pictures cannot be decoded. These are left out and counted; a
            run that meets more of them ends.
        text_cache: most distinct captions to encode once, before the first step, when the text trunk is not trained;
            0 encodes captions in every step.
        evaluate_where: SQL condition of rows to measure after every epoch, or None. They should not be trained on.
        checkpoint_every_steps: steps between checkpoints; 0 writes one only at the end of every epoch.
        keep_checkpoints: newest checkpoints to keep.
        num_workers: processes that read and decode; 0 uses threads.
        num_threads: images decoded at the same time by each; None uses all cores.

    Raises:
        ConfigError: lists every field that is wrong.
    """

    objective: Literal["choice"] = "choice"
    epochs: int = 5
    min_steps: int = 0
    steps: int | None = None
    batch_size: int = 64
    lr: float = 1e-4
    optimizer: Literal["adamw", "adam"] = "adamw"
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-6
    weight_decay: float = 0.1
    pull: float = 0.0
    warmup_steps: int = 0
    schedule: Literal["cosine", "constant"] = "cosine"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    grad_clip: float | None = 1.0
    train: Literal["projections", "last_blocks", "all"] = "projections"
    freeze_batchnorm: bool = True
    learn_logit_scale: bool = True
    image_lr_multiplier: float = 1.0
    text_lr_multiplier: float = 1.0
    seed: int = 0
    image: str = "image"
    image_trunk: str | None = None
    choices: str = "caption_choices"
    label: str = "label_ind"
    fidelity: Literal["fast", "exact"] = "fast"
    max_bad_share: float = 0.1
    text_cache: int = 200_000
    evaluate_where: str | None = None
    checkpoint_every_steps: int = 500
    keep_checkpoints: int = 2
    num_workers: int = 0
    num_threads: int | None = None

    def __post_init__(self) -> None:
        problems = self._of_wrong_type() or self._out_of_range()
        if problems:
            raise ConfigError(problems, what="training config", hint="clipdata train --help lists the fields")
        object.__setattr__(self, "betas", tuple(map(float, self.betas)))
        for name, kind in settings.field_types(TrainConfig).items():
            value = getattr(self, name)
            if settings.fits(1.5, kind) and isinstance(value, int) and not isinstance(value, bool):
                object.__setattr__(self, name, float(value))

    def num_steps(self, batches_per_epoch: int) -> int:
        """Steps of a run, for a table that makes so many batches."""
        return self.steps or max(self.epochs * batches_per_epoch, self.min_steps)

    @classmethod
    def parse_settings(cls, texts: Mapping[str, str]) -> dict[str, Any]:
        """Values of fields from texts, as typed in `--set key=value`; a recipe takes them as overrides.

        Raises:
            ConfigError: lists every unknown name with the nearest known one, and every text that fits no field.
        """
        values, problems = settings.parse(texts, cls)
        if problems:
            raise ConfigError(problems, what="training config", hint="clipdata train --help lists the fields")
        return values

    def with_settings(self, texts: Mapping[str, str]) -> TrainConfig:
        """Change fields by texts; see `parse_settings`."""
        return replace(self, **self.parse_settings(texts))

    def to_json(self) -> dict[str, Any]:
        """Fields as JSON values."""
        return {**asdict(self), "betas": list(self.betas)}

    @classmethod
    def from_json(cls, given: str | bytes | Mapping[str, Any]) -> TrainConfig:
        """Read what `to_json` gave, or JSON text of it; fields that are left out have their defaults.

        Raises:
            ConfigError: the text is no JSON object, or lists every field that is wrong.
        """
        if isinstance(given, (str, bytes)):
            try:
                given = json.loads(given)
            except json.JSONDecodeError as error:
                raise ConfigError([f"not JSON: {error}"], what="training config") from error
        if not isinstance(given, Mapping):
            raise ConfigError([f"found {type(given).__name__}; expected a JSON object"], what="training config")
        unknown = settings.unknown_names(given, (field.name for field in fields(cls)))
        if unknown:
            raise ConfigError(unknown, what="training config")
        values: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in given.items()}
        return cls(**values)

    def _of_wrong_type(self) -> list[str]:
        return [
            f"{name} is {getattr(self, name)!r}; expected {settings.describe(kind)}"
            for name, kind in settings.field_types(TrainConfig).items()
            if not settings.fits(getattr(self, name), kind)
        ]

    def _out_of_range(self) -> list[str]:
        problems = []
        for name in ("epochs", "batch_size", "keep_checkpoints"):
            if getattr(self, name) < 1:
                problems.append(f"{name} is {getattr(self, name)}; expected at least 1")
        for name in ("min_steps", "warmup_steps", "text_cache", "checkpoint_every_steps", "num_workers"):
            if getattr(self, name) < 0:
                problems.append(f"{name} is {getattr(self, name)}; expected 0 or more")
        for name in ("lr", "eps"):
            if not 0 < getattr(self, name) < math.inf:
                problems.append(f"{name} is {getattr(self, name)}; expected a number above 0")
        for name in ("weight_decay", "pull", "image_lr_multiplier", "text_lr_multiplier"):
            if not 0 <= getattr(self, name) < math.inf:
                problems.append(f"{name} is {getattr(self, name)}; expected 0 or a number above it")
        if not all(0 <= beta < 1 for beta in self.betas):
            problems.append(f"betas is {self.betas}; expected two numbers from 0 to below 1")
        if self.grad_clip is not None and not self.grad_clip > 0:
            problems.append(f"grad_clip is {self.grad_clip}; expected a number above 0, or none")
        for name in ("num_threads", "steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                problems.append(f"{name} is {value}; expected at least 1, or none")
        if not 0 <= self.max_bad_share <= 1:
            problems.append(f"max_bad_share is {self.max_bad_share}; expected a share from 0 to 1")
        if self.image_trunk is not None and self.train != "projections":
            problems.append(
                f"image_trunk is {self.image_trunk!r} and train is {self.train!r}; features that are computed once can "
                'only train the projections: train="projections", or image_trunk=none to decode images'
            )
        return problems
