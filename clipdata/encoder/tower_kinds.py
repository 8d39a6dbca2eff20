"""The kinds of towers and heads that a model config names: one frozen dataclass each. It knows no model library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

RANDOM = "random"
PRETRAINED = "pretrained"


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
        found = below_one(self, "layers", "width", "heads", "patch_size")
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
        return [f"options holds {name!r:.80}, which other fields decide" for name in sorted(taken)]


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


def below_one(value: Any, *names: str) -> list[str]:
    """Say which of some whole numbers are below 1."""
    found = {name: getattr(value, name) for name in names}
    return [f"{n} is {v}; expected at least 1" for n, v in found.items() if isinstance(v, int) and v < 1]


def _inline_with_weights(tower: OpenClipImage | OpenClipText) -> list[str]:
    if isinstance(tower.architecture, str) or tower.weights == RANDOM:
        return []
    return [f"weights is {tower.weights!r:.80}, which needs an architecture with a name; or use the kind 'clip'"]
