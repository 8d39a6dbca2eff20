"""TrainArguments: a training written down as a `train_clip.json`, in the words of transformers' Trainer.

It knows the names of that file, what each may hold, and which field of a TrainConfig says the same. It opens no model,
table or picture.

Source: the arguments of CLIP-Chinese, and the defaults of transformers.TrainingArguments 4.18, which it is built on.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from clipdata.errors import ConfigError, NotFoundError, StorageError
from clipdata.json_parsing import json_kind, parse_json
from clipdata.training import settings

_PLACES = ("output_dir", "image_path", "train_file", "clip_pretrain_path")
_OPTIONAL = ("test_file", "bert_pretrain_path")
_EVERY_CHECKPOINT = 1_000_000
"""What stands for no limit: more checkpoints than a run writes."""
_POSITIVE = (
    "per_device_train_batch_size", "per_device_eval_batch_size", "max_seq_length", "logging_steps",
    "save_steps", "gradient_accumulation_steps",
)  # fmt: skip
_NOT_NEGATIVE = ("warmup_steps", "seed", "dataloader_num_workers", "save_total_limit", "weight_decay", "max_grad_norm")


@dataclass(frozen=True)
class TrainArguments:
    """What a `train_clip.json` says.

    Args:
        output_dir: folder of the run.
        image_path: folder of the pictures.
        train_file: csv `text,url,filename` of the rows to train on.
        test_file: the same of rows to measure, or None; "" is None.
        clip_pretrain_path: weights of a CLIP, of which the image tower is taken, or all where `load_from_bert_clip`.
        bert_pretrain_path: weights of the text tower; not read, and may be None or "", where `load_from_bert_clip`.
        load_from_bert_clip: whether `clip_pretrain_path` holds both towers.
        num_train_epochs: times every row is seen; a whole number.
        max_steps: steps in all, whatever the epochs; -1 goes by these.
        per_device_train_batch_size: rows whose features meet in a loss.
        per_device_eval_batch_size: rows that are measured at once.
        learning_rate: at its peak.
        max_seq_length: most tokens of a text, marks included.
        logging_steps: steps between two reports.
        save_strategy: "steps" writes checkpoints every `save_steps` and at the ends of epochs, which a killed run goes
            on from; "epoch" and "no" at these alone.
        save_steps: steps between two checkpoints.
        save_total_limit: newest checkpoints to keep; None or 0 keeps all.
        lr_scheduler_type: the way of the rate after the warm-up; "constant" has no warm-up, whatever is said of one.
        warmup_steps: of the warm-up; where it is given, `warmup_ratio` is not read.
        warmup_ratio: of all steps.
        gradient_accumulation_steps: batches whose gradients are averaged before the weights move.
        optim: the three names of AdamW are one optimizer here.
        seed: of the order of rows and of dropout.
        fp16: compute in half precision where there is a GPU.
        no_cuda: leave a GPU alone.
        dataloader_num_workers: processes that read and decode.
        dataloader_drop_last: leave the last, short batch of an epoch out.
        weight_decay, adam_beta1, adam_beta2, adam_epsilon: of the optimizer.
        max_grad_norm: largest norm of a gradient; 0 clips none.

    Raises:
        ConfigError: lists every argument that is wrong.
    """

    output_dir: str
    image_path: str
    train_file: str
    clip_pretrain_path: str
    test_file: str | None = None
    bert_pretrain_path: str | None = None
    load_from_bert_clip: bool = False
    num_train_epochs: float = 3.0
    max_steps: int = -1
    per_device_train_batch_size: int = 8
    per_device_eval_batch_size: int = 8
    learning_rate: float = 5e-5
    max_seq_length: int = 100
    logging_steps: int = 500
    save_strategy: Literal["steps", "epoch", "no"] = "steps"
    save_steps: int = 500
    save_total_limit: int | None = None
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"] = "linear"
    warmup_steps: int = 0
    warmup_ratio: float = 0.0
    gradient_accumulation_steps: int = 1
    optim: Literal["adamw_hf", "adamw_torch", "adamw_torch_fused", "sgd"] = "adamw_hf"
    seed: int = 42
    fp16: bool = False
    no_cuda: bool = False
    dataloader_num_workers: int = 0
    dataloader_drop_last: bool = False
    weight_decay: float = 0.0
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8
    max_grad_norm: float = 1.0

    def __post_init__(self) -> None:
        _refuse(_problems_of(vars(self)))
        for name in _OPTIONAL:
            object.__setattr__(self, name, getattr(self, name) or None)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> TrainArguments:
        """Read a file: one JSON object, in UTF-8.

        Raises:
            NotFoundError: there is no such file.
            StorageError: it may not be read.
            ConfigError: it is no JSON object, or lists every name that is unknown, missing or doubled and every value
                that is wrong.
        """
        try:
            text = Path(path).read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFoundError(
                f"there is no file {path}", hint="--train-args-file train_args/train_clip.json"
            ) from error
        except OSError as error:
            raise StorageError(f"{path} cannot be read: {error.strerror}") from error
        return cls.from_json(text, what=str(path))

    @classmethod
    def from_json(cls, text: str | bytes, *, what: str = "training arguments") -> TrainArguments:
        """Read the text of a file; see `read`.

        Args:
            text: UTF-8 where it is bytes.
            what: names the text in an error.
        """
        try:
            text = text.decode("utf-8-sig") if isinstance(text, bytes) else text
            given = parse_json(text, pairs=_Pairs)
        except ValueError as error:  # no UTF-8, or no JSON
            raise ConfigError([f"not JSON: {error}"], what=what) from error
        if not isinstance(given, _Pairs):
            raise ConfigError([f"found {json_kind(given)}; expected a JSON object"], what=what)
        values = dict(given)
        known = {field.name: field for field in fields(cls)}
        missing = [name for name, field in known.items() if field.default is MISSING and name not in values]
        problems = settings.unknown_names(values, known)
        problems += [f"{name} is given {count} times" for name, count in given.doubled().items()]
        problems += [f"{name} is missing; expected {settings.describe(str)}" for name in missing]
        defaults = {name: field.default for name, field in known.items() if field.default is not MISSING}
        problems += _problems_of({**defaults, **{name: value for name, value in values.items() if name in known}})
        _refuse(problems, what)
        return cls(**values)

    @property
    def device(self) -> str | None:
        """Of the model, as `clipdata.load_encoder` takes it; None is the best there is."""
        return "cpu" if self.no_cuda else None

    def to_train_config(self, *, on_gpu: bool) -> dict[str, Any]:
        """The fields of a TrainConfig that say the same.

        Args:
            on_gpu: whether the model is on one, which `fp16` needs.
        """
        warms_up = self.lr_scheduler_type != "constant"
        return {
            "epochs": math.ceil(self.num_train_epochs),
            "steps": self.max_steps if self.max_steps > 0 else None,
            "batch_size": self.per_device_train_batch_size,
            "accumulate": self.gradient_accumulation_steps,
            "drop_last": self.dataloader_drop_last,
            "lr": float(self.learning_rate),
            "schedule": "constant" if "constant" in self.lr_scheduler_type else self.lr_scheduler_type,
            "warmup_steps": self.warmup_steps if warms_up else 0,
            "warmup_ratio": float(self.warmup_ratio) if warms_up else 0.0,
            "warmup_from_zero": True,
            "optimizer": "sgd" if self.optim == "sgd" else "adamw",
            "betas": (float(self.adam_beta1), float(self.adam_beta2)),
            "eps": float(self.adam_epsilon),
            "momentum": 0.0,
            "weight_decay": float(self.weight_decay),
            "decay_all": False,
            "grad_clip": float(self.max_grad_norm) or None,
            "seed": self.seed,
            "precision": "fp16" if self.fp16 and on_gpu else "fp32",
            "evaluation_batch": self.per_device_eval_batch_size,
            "tell_every_steps": self.logging_steps,
            "checkpoint_every_steps": self.save_steps if self.save_strategy == "steps" else 0,
            "keep_checkpoints": self.save_total_limit or _EVERY_CHECKPOINT,
            "num_workers": self.dataloader_num_workers,
        }

    def notes(self, *, on_gpu: bool) -> list[str]:
        """What is not done as a reader of the file may expect, a sentence each."""
        said = []
        if self.fp16 and not on_gpu:
            said.append("fp16 is true and the model runs on a CPU: it computes in fp32")
        if self.max_steps > 0:
            said.append(f"max_steps is {self.max_steps:,}: num_train_epochs ({self.num_train_epochs:g}) is not read")
        if self.lr_scheduler_type == "constant" and (self.warmup_steps or self.warmup_ratio):
            said.append('lr_scheduler_type is "constant", which has no warm-up; "constant_with_warmup" has one')
        elif self.warmup_steps and self.warmup_ratio:
            said.append(f"warmup_steps is {self.warmup_steps:,}: warmup_ratio ({self.warmup_ratio:g}) is not read")
        if self.load_from_bert_clip and self.bert_pretrain_path is not None:
            said.append("load_from_bert_clip is true: bert_pretrain_path is not read")
        if self.gradient_accumulation_steps > 1:
            rows = self.per_device_train_batch_size
            said.append(
                f"gradients of {self.gradient_accumulation_steps} batches are averaged; {rows:,} rows meet in a loss"
            )
        return said


class _Pairs(list[tuple[str, Any]]):
    """The members of a JSON object as they stand in the file."""

    def doubled(self) -> dict[str, int]:
        """How often a name stands there, of those that do more than once."""
        names = [name for name, _ in self]
        return {name: names.count(name) for name in dict.fromkeys(names) if names.count(name) > 1}


def _refuse(problems: Sequence[str], what: str = "training arguments") -> None:
    if problems:
        raise ConfigError(problems, what=what)


def _problems_of(values: Mapping[str, Any]) -> list[str]:
    """What is wrong with values, each by its name; a name that is not among them is not looked at."""
    kinds = settings.field_types(TrainArguments)
    wrong = [name for name, value in values.items() if not settings.fits(value, kinds[name])]
    problems = [f"{name} is {values[name]!r:.80}; expected {settings.describe(kinds[name])}" for name in wrong]
    fitting = {name: value for name, value in values.items() if name not in wrong and value is not None}
    return problems + list(_out_of_range(fitting)) + list(_inconsistent(values, fitting))


def _out_of_range(values: Mapping[str, Any]) -> Iterable[str]:
    def outside(names: Sequence[str], good: Any, expected: str) -> Iterable[str]:
        return (f"{n} is {values[n]!r}; expected {expected}" for n in names if n in values and not good(values[n]))

    yield from outside(_POSITIVE, lambda value: 1 <= value < math.inf, "at least 1")
    yield from outside(_NOT_NEGATIVE, lambda value: 0 <= value < math.inf, "0 or more")
    yield from outside(
        ["num_train_epochs", "learning_rate", "adam_epsilon"], lambda value: 0 < value < math.inf, "a number above 0"
    )
    yield from outside(["warmup_ratio"], lambda value: 0 <= value <= 1, "a share from 0 to 1")
    yield from outside(["adam_beta1", "adam_beta2"], lambda value: 0 <= value < 1, "a number from 0 to below 1")
    yield from outside(["max_steps"], lambda value: value >= -1, "at least 1, or -1 to go by num_train_epochs")
    yield from outside(_PLACES, str.strip, "a path")


def _inconsistent(values: Mapping[str, Any], fitting: Mapping[str, Any]) -> Iterable[str]:
    epochs = fitting.get("num_train_epochs", 1)
    if 0 < epochs < math.inf and epochs % 1 and fitting.get("max_steps", -1) < 1:
        yield f"num_train_epochs is {epochs!r}; expected a whole number, or max_steps for a part of an epoch"
    if values.get("load_from_bert_clip") is False and values.get("bert_pretrain_path") in (None, ""):
        yield (
            "bert_pretrain_path is empty and load_from_bert_clip is false; expected the weights of the text tower, or "
            "load_from_bert_clip true where clip_pretrain_path holds both towers"
        )
