"""ModelConfig: everything a model is made of, in one frozen value and one JSON object. It knows no model library.

    {"image": {"kind": "timm", "architecture": "resnet50", "weights": "pretrained", "head": "mlp"},
     "text": {"kind": "hugging_face", "architecture": "bert-base-cased", "pooling": "cls", "head": "mlp"},
     "embed_dim": 256, "context_length": 18, "logit_scale": 1.0,
     "preprocessing": {"size": 128, "resize_mode": "squash", "mean": 0.5, "std": 0.5}}

The kinds of towers are the classes below; their fields are the keys of `image` and `text`. Files and folders are named
relative to where the program runs.
"""

from __future__ import annotations

import difflib
import json
import math
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from clipdata.errors import ConfigError, NotFoundError

_HINT = "clipdata new --help shows whole configs"
_PREPROCESSING = ("size", "mean", "std", "interpolation", "resize_mode", "fill_color")
RANDOM = "random"
PRETRAINED = "pretrained"
LOGIT_SCALE = 1 / 0.07
"""Source: Radford et al. 2021, section 2.5."""


@dataclass(frozen=True)
class Head:
    """What maps a trunk's features into the shared space.

    Args:
        kind: "linear"; "linear+layernorm"; "mlp" (Linear, GELU, Linear, dropout, plus the first Linear's output, then
            LayerNorm); "none" passes the trunk's features through; "own" is the projection that comes with the weights
            of a tower.
        bias: of the linear layers; by default only "linear" has none.
        dropout: share that an "mlp" drops in training.
    """

    kind: Literal["linear", "linear+layernorm", "mlp", "none", "own"] = "linear"
    bias: bool | None = None
    dropout: float = 0.3

    @property
    def has_bias(self) -> bool:
        """Whether the linear layers have one."""
        return self.kind != "linear" if self.bias is None else self.bias

    @property
    def is_matrix(self) -> bool:
        """Whether it is one linear layer without bias, as CLIP's own projection is."""
        return self.kind == "linear" and not self.has_bias

    def problems(self) -> list[str]:
        """What is wrong with its values."""
        found = [] if 0 <= self.dropout < 1 else [f"dropout is {self.dropout}; expected a share from 0 to below 1"]
        if self.kind in ("none", "own") and self.bias is not None:
            found.append(f"bias is {self.bias}, and a head of the kind {self.kind!r} has no layers to give one")
        return found


@dataclass(frozen=True)
class VitImage:
    """A plain vision transformer with random weights (open_clip's class, so with a norm before the blocks).

    Args:
        layers, width, heads: of the transformer.
        patch_size: side of a patch in pixels.
        mlp_ratio: width of the hidden layer of a block, over the width.
    """

    kind: ClassVar[str] = "vit"
    layers: int = 12
    width: int = 768
    heads: int = 12
    patch_size: int = 16
    mlp_ratio: float = 4.0
    head: Head = field(default_factory=Head)

    def problems(self) -> list[str]:
        """What is wrong with its values."""
        found = _below_one(self, "layers", "width", "heads", "patch_size")
        if not found and self.width % self.heads:
            found.append(f"width is {self.width}; expected a multiple of the {self.heads} heads")
        return found


@dataclass(frozen=True)
class OpenClipImage:
    """An image tower of open_clip's own: vision transformers, and the ResNets that end in attention pooling.

    Args:
        architecture: open_clip's name, such as "ViT-B-32" or "RN50", or its `vision_cfg`.
        weights: "random"; a tag such as "openai"; or a file of the whole model's weights.
        quick_gelu: OpenAI's activation; by default as the architecture and the weights say.
    """

    kind: ClassVar[str] = "open_clip"
    architecture: str | Mapping[str, Any]
    weights: str = RANDOM
    quick_gelu: bool | None = None
    head: Head = field(default_factory=Head)

    def problems(self) -> list[str]:
        """What is wrong with its values."""
        return _inline_with_weights(self)


@dataclass(frozen=True)
class TimmImage:
    """An image tower from timm.

    Args:
        architecture: timm's name, such as "resnet50".
        weights: "random"; "pretrained", timm's own from the hub; or a file, or folder, of weights.
        pool: how the trunk's features become one vector: "avg", "max", "token" …; by default as the architecture does.
        options: more arguments of `timm.create_model`, such as {"drop_path_rate": 0.1}.
    """

    kind: ClassVar[str] = "timm"
    architecture: str
    weights: str = RANDOM
    pool: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    head: Head = field(default_factory=Head)

    def problems(self) -> list[str]:
        """What is wrong with its values."""
        taken = {"pretrained", "num_classes", "global_pool", "img_size", "pretrained_cfg_overlay"} & set(self.options)
        return [f"options holds {name!r}, which other fields decide" for name in sorted(taken)]


@dataclass(frozen=True)
class ClipImage:
    """The image tower of another model, with its weights.

    Args:
        weights: any name that `load_encoder` takes, or a folder or hub name of a CLIP model or CLIP vision tower in
            transformers' format.
    """

    kind: ClassVar[str] = "clip"
    weights: str
    head: Head = field(default_factory=Head)

    def problems(self) -> list[str]:
        """What is wrong with its values."""
        return []


@dataclass(frozen=True)
class OpenClipText:
    """open_clip's own text transformer.

    Args:
        architecture: open_clip's name, such as "ViT-B-32", or its `text_cfg`.
        weights: "random"; a tag such as "openai"; or a file of the whole model's weights.
        quick_gelu: OpenAI's activation; by default as the architecture and the weights say.
    """

    kind: ClassVar[str] = "open_clip"
    architecture: str | Mapping[str, Any]
    weights: str = RANDOM
    quick_gelu: bool | None = None
    head: Head = field(default_factory=Head)

    def problems(self) -> list[str]:
        """What is wrong with its values."""
        return _inline_with_weights(self)


@dataclass(frozen=True)
class HuggingFaceText:
    """A text encoder of transformers: BERT, RoBERTa, DistilBERT and their like.

    Args:
        architecture: a folder, or a name on the hub, with a `config.json`; a model type such as "distilbert", which is
            transformers' default of it; or a config as an object with its `model_type`.
        weights: "random"; "pretrained", those that lie with the architecture; or another folder or hub name. By default
            "pretrained" for a folder or hub name, and "random" for a type or a config.
        pooling: "cls" takes the first token's features, "mean" the average over the text's tokens, "pooler" what
            BERT's own pooler makes of the first.
    """

    kind: ClassVar[str] = "hugging_face"
    architecture: str | Mapping[str, Any]
    weights: str | None = None
    pooling: Literal["cls", "mean", "pooler"] = "cls"
    head: Head = field(default_factory=Head)

    def problems(self) -> list[str]:
        """What is wrong with its values."""
        if isinstance(self.architecture, Mapping) and "model_type" not in self.architecture:
            return ['architecture has no model_type; expected one such as "distilbert"']
        if isinstance(self.architecture, Mapping) and self.weights == PRETRAINED:
            return ["weights is 'pretrained', and a config of one's own has none; expected 'random' or a folder"]
        return []


@dataclass(frozen=True)
class ClipText:
    """The text tower of another model, with its weights.

    Args:
        weights: as of `ClipImage`.
    """

    kind: ClassVar[str] = "clip"
    weights: str
    head: Head = field(default_factory=Head)

    def problems(self) -> list[str]:
        """What is wrong with its values."""
        return []


Image = VitImage | OpenClipImage | TimmImage | ClipImage
Text = OpenClipText | HuggingFaceText | ClipText


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
        problems = _of_wrong_type(self, "")
        for key in ("image", "text"):
            tower = getattr(self, key)
            problems += _of_wrong_type(tower, f"{key}.") or [f"{key}.{problem}" for problem in tower.problems()]
            problems += _of_wrong_type(tower.head, f"{key}.head.") or [
                f"{key}.head.{problem}" for problem in tower.head.problems()
            ]
        problems = problems or self._out_of_range()
        if problems:
            raise ConfigError(problems, what="model config", hint=_HINT)

    def _out_of_range(self) -> list[str]:
        problems = _below_one(self, "embed_dim", "context_length")
        if not 0 < self.logit_scale < math.inf:
            problems.append(f"logit_scale is {self.logit_scale}; expected a number above 0")
        problems += [f"preprocessing: {problem}" for problem in _unknown(self.preprocessing, _PREPROCESSING)]
        return problems + _wrong_size(self.preprocessing.get("size"))

    @classmethod
    def from_json(cls, given: str | bytes | Mapping[str, Any]) -> ModelConfig:
        """Read a config from an object, or from JSON text of one.

        Raises:
            ConfigError: the text is no JSON object, or lists every field that is wrong.
        """
        if isinstance(given, str | bytes):
            given = _parsed(given)
        problems = _unknown(given, [one.name for one in fields(cls)])
        read = dict(given)
        for key, kinds in (("image", get_args(Image)), ("text", get_args(Text))):
            read[key], found = _read_tower(given.get(key), key, kinds)
            problems += found
        if not problems:
            return cls(**read)
        rest = {key: value for key, value in read.items() if key in {one.name for one in fields(cls)}}
        stands_in = {"image": VitImage(), "text": HuggingFaceText("distilbert")}
        try:
            cls(**(rest | {key: rest[key] or stand_in for key, stand_in in stands_in.items()}))
        except ConfigError as error:
            problems += error.problems
        raise ConfigError(problems, what="model config", hint=_HINT)

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


def read_object(path: Path) -> Mapping[str, Any]:
    """Read a file that holds a JSON object.

    Raises:
        NotFoundError: there is no such file.
        ConfigError: it holds something else.
    """
    try:
        return _parsed(path.read_bytes())
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFoundError(f"there is no file {path}") from error


def tower_json(tower: Image | Text) -> dict[str, Any]:
    """One tower's section."""
    plain = {"kind": tower.kind} | _changed(tower)
    plain["head"] = {"kind": tower.head.kind} | _changed(tower.head)
    return plain


def _parsed(text: str | bytes) -> Mapping[str, Any]:
    try:
        given = json.loads(text)
    except ValueError as error:
        raise ConfigError([f"not JSON: {error}"], what="model config", hint=_HINT) from error
    if not isinstance(given, Mapping):
        raise ConfigError([f"found {type(given).__name__}; expected a JSON object"], what="model config", hint=_HINT)
    return given


def _changed(value: Any) -> dict[str, Any]:
    """Fields that are not at their defaults, but for heads."""
    found = {}
    for one in fields(value):
        default = one.default if one.default_factory is MISSING else one.default_factory()
        now = getattr(value, one.name)
        if now != default and not isinstance(now, Head):
            found[one.name] = dict(now) if isinstance(now, Mapping) else now
    return found


def _read_tower(given: Any, key: str, kinds: Sequence[Any]) -> tuple[Any, list[str]]:
    """The tower of a section, or None with what is wrong with it."""
    by_name = {kind.kind: kind for kind in kinds}
    if isinstance(given, tuple(kinds)):
        return given, []
    if not isinstance(given, Mapping):
        return None, [f"{key} is {given!r:.80}; expected an object with a kind: {', '.join(by_name)}"]
    if given.get("kind") not in by_name:
        near = _nearest(str(given.get("kind")), list(by_name))
        return None, [f"{key}.kind is {given.get('kind')!r}; {near}"]
    kind = by_name[given["kind"]]
    values = {name: value for name, value in given.items() if name != "kind"}
    problems = [f"{key}: {problem}" for problem in _unknown(values, [one.name for one in fields(kind)])]
    needed = [one.name for one in fields(kind) if one.default is MISSING and one.default_factory is MISSING]
    problems += [f"{key} has no {name}, which a tower of the kind {kind.kind!r} needs" for name in needed
                 if name not in values]  # fmt: skip
    if "head" in values:
        values["head"], found = _read_head(values["head"], f"{key}.head")
        problems += found
    return (None, problems) if problems else (kind(**values), [])


def _read_head(given: Any, key: str) -> tuple[Any, list[str]]:
    if isinstance(given, Head):
        return given, []
    kinds = get_args(get_type_hints(Head)["kind"])
    values = {"kind": given} if isinstance(given, str) else given
    if not isinstance(values, Mapping):
        return None, [f"{key} is {given!r:.80}; expected {', '.join(kinds)}, or an object with such a kind"]
    problems = [f"{key}: {problem}" for problem in _unknown(values, [one.name for one in fields(Head)])]
    if values.get("kind", "linear") not in kinds:
        problems.append(f"{key} is {values['kind']!r}; {_nearest(str(values['kind']), list(kinds))}")
    return (None, problems) if problems else (Head(**values), [])


def _unknown(given: Iterable[str], known: Sequence[str]) -> list[str]:
    return [f"there is no field {name!r}; {_nearest(name, list(known))}" for name in given if name not in known]


def _nearest(wrong: str, known: list[str]) -> str:
    near = difflib.get_close_matches(wrong, known, n=2)
    return f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(known)}"


def _of_wrong_type(value: Any, prefix: str) -> list[str]:
    hints = get_type_hints(type(value))
    return [
        f"{prefix}{one.name} is {getattr(value, one.name)!r:.80}; expected {_described(hints[one.name])}"
        for one in fields(value)
        if not _fits(getattr(value, one.name), hints[one.name])
    ]


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a declared type; whole numbers are floats too, booleans are no numbers."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return any(_fits(value, option) for option in get_args(kind))
    if origin is Literal:
        return value in get_args(kind)
    if kind in (int, float):
        return isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
    return isinstance(value, origin or kind)


def _described(kind: Any) -> str:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(_described(option) for option in get_args(kind))
    if origin is Literal:
        return " or ".join(map(repr, get_args(kind)))
    plain = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", type(None): "null"}
    return plain.get(kind, "an object")


def _below_one(value: Any, *names: str) -> list[str]:
    found = {name: getattr(value, name) for name in names}
    return [f"{n} is {v}; expected at least 1" for n, v in found.items() if isinstance(v, int) and v < 1]


def _wrong_size(size: Any) -> list[str]:
    sides = size if isinstance(size, list | tuple) and len(size) == 2 else [size]
    if size is None or all(isinstance(side, int) and not isinstance(side, bool) and side >= 1 for side in sides):
        return []
    return [f"preprocessing.size is {size!r}; expected a number of pixels, or [height, width]"]


def _inline_with_weights(tower: OpenClipImage | OpenClipText) -> list[str]:
    if isinstance(tower.architecture, str) or tower.weights == RANDOM:
        return []
    return [f"weights is {tower.weights!r}, which needs an architecture with a name; or use the kind 'clip'"]
