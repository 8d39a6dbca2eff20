"""ModelConfig: everything a model is made of, in one frozen value and one JSON object. It knows no model library.

    {"image": {"kind": "timm", "architecture": "resnet50", "weights": "pretrained", "head": "mlp"},
     "text": {"kind": "hugging_face", "architecture": "bert-base-cased", "pooling": "cls", "head": "mlp"},
     "embed_dim": 256, "context_length": 18, "logit_scale": 1.0,
     "preprocessing": {"size": 128, "resize_mode": "squash", "mean": 0.5, "std": 0.5}}

The kinds of towers are the classes of tower_kinds.py; their fields are the keys of `image` and `text`. Files and
folders are named relative to where the program runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, get_args

from clipdata.encoder.config_reading import HINT, parse_object, read_object, read_tower, unknown_names, wrong_types
from clipdata.encoder.tower_kinds import Head, HuggingFaceText, Image, Text, VitImage, below_one
from clipdata.errors import ConfigError

_PREPROCESSING = ("size", "mean", "std", "interpolation", "resize_mode", "fill_color")
LOGIT_SCALE = 1 / 0.07
"""Source: Radford et al. 2021, section 2.5."""


@dataclass(frozen=True)
class ModelConfig:
    """Two towers, their heads, and what stands around them.

    Args:
        image, text: the towers.
        embed_dim: length D of a vector in the shared space.
        logit_scale: what cosines are multiplied by before a softmax, at the start; its logarithm is trained.
        logit_bias: what is added to them at the start (SigLIP begins at -10), or None for a model without one.
        preprocessing: size, mean, std, interpolation, resize_mode and fill_color, where they differ from what the
            image tower's weights were made with.
        context_length: ids that a text is cut or padded to; by default the text tower's own, at most 77.
        tokenizer: folder or hub name of a Hugging Face tokenizer; by default the text tower's own.
        seed: of the random weights.
        name: what to call the model.

    Raises:
        ConfigError: lists every field that is wrong.
    """

    image: Image
    text: Text
    embed_dim: int = 512
    logit_scale: float = LOGIT_SCALE
    logit_bias: float | None = None
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    context_length: int | None = None
    tokenizer: str | None = None
    seed: int = 0
    name: str | None = None

    def __post_init__(self) -> None:
        problems = wrong_types(self, "")
        for key in ("image", "text"):
            tower = getattr(self, key)
            problems += wrong_types(tower, f"{key}.") or [f"{key}.{problem}" for problem in tower.problems()]
            problems += wrong_types(tower.head, f"{key}.head.") or [
                f"{key}.head.{problem}" for problem in tower.head.problems()
            ]
        problems = problems or self._out_of_range()
        if problems:
            raise ConfigError(problems, what="model config", hint=HINT)

    def _out_of_range(self) -> list[str]:
        problems = below_one(self, "embed_dim", "context_length")
        if not 0 < self.logit_scale < math.inf:
            problems.append(f"logit_scale is {self.logit_scale}; expected a number above 0")
        problems += [f"preprocessing: {problem}" for problem in unknown_names(self.preprocessing, _PREPROCESSING)]
        return problems + _wrong_preprocessing(self.preprocessing)

    @classmethod
    def from_json(cls, given: str | bytes | Mapping[str, Any]) -> ModelConfig:
        """Read a config from an object, or from JSON text of one.

        Raises:
            ConfigError: the text is no JSON object, or lists every field that is wrong.
        """
        if isinstance(given, str | bytes):
            given = parse_object(given)
        problems = unknown_names(given, [one.name for one in fields(cls)])
        read = dict(given)
        for key, kinds in (("image", get_args(Image)), ("text", get_args(Text))):
            read[key], found = read_tower(given.get(key), key, kinds, Head)
            problems += found
        if not problems:
            return cls(**read)
        rest = {key: value for key, value in read.items() if key in {one.name for one in fields(cls)}}
        stands_in = {"image": VitImage(), "text": HuggingFaceText("distilbert")}
        try:
            cls(**(rest | {key: rest[key] or stand_in for key, stand_in in stands_in.items()}))
        except ConfigError as error:
            problems += error.problems
        raise ConfigError(problems, what="model config", hint=HINT)

    @classmethod
    def read(cls, path: Path) -> ModelConfig:
        """Read a file of JSON.

        Raises:
            NotFoundError: there is no such file.
            ConfigError: as in `from_json`.
        """
        return cls.from_json(read_object(path))

    def to_json(self) -> dict[str, Any]:
        """The same as an object that `from_json` reads; what has its default value is left out."""
        plain = {"image": tower_json(self.image), "text": tower_json(self.text), "embed_dim": self.embed_dim}
        return plain | {key: value for key, value in _changed(self).items() if key not in plain}


def tower_json(tower: Image | Text) -> dict[str, Any]:
    """One tower's section."""
    plain = {"kind": tower.kind} | _changed(tower)
    plain["head"] = {"kind": tower.head.kind} | _changed(tower.head)
    return plain


def _changed(value: Any) -> dict[str, Any]:
    """Fields that are not at their defaults, but for heads."""
    found = {}
    for one in fields(value):
        default = one.default if one.default_factory is MISSING else one.default_factory()
        now = getattr(value, one.name)
        if now != default and not isinstance(now, Head):
            found[one.name] = dict(now) if isinstance(now, Mapping) else now
    return found


def _wrong_preprocessing(given: Mapping[str, Any]) -> list[str]:
    """What is wrong with the numbers of a preprocessing; `Preparation` knows the words."""
    problems = []
    size = given.get("size", 1)
    sides = size if isinstance(size, list | tuple) and len(size) == 2 else [size]
    if not all(isinstance(side, int) and not isinstance(side, bool) and side >= 1 for side in sides):
        problems.append(f"preprocessing.size is {size!r:.80}; expected a number of pixels, or [height, width]")
    for name in ("mean", "std"):
        levels = given.get(name, 1)
        listed = levels if isinstance(levels, list | tuple) and len(levels) == 3 else [levels]
        if not all(isinstance(level, int | float) and not isinstance(level, bool) for level in listed):
            problems.append(
                f"preprocessing.{name} is {levels!r:.80}; expected a number, or one for each of three channels"
            )
        elif name == "std" and 0 in listed:
            problems.append(
                f"preprocessing.std is {levels!r:.80}; expected numbers above 0, which pixels are divided by"
            )
    if not isinstance(given.get("fill_color", 0), int):
        problems.append(f"preprocessing.fill_color is {given['fill_color']!r:.80}; expected a level from 0 to 255")
    return problems
