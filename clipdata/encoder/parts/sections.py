"""From the sections of a model config to parts: which kind is made by which file.

It knows every kind of tower by name, and nothing of how one is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip

from clipdata.encoder.hub import near_names
from clipdata.encoder.model_config import ModelConfig
from clipdata.encoder.parts.hugging_face import hugging_face_part
from clipdata.encoder.parts.open_clip import open_clip_image, open_clip_text
from clipdata.encoder.parts.other_model import image_of, text_of
from clipdata.encoder.parts.protocol import Part
from clipdata.encoder.parts.timm import timm_part
from clipdata.encoder.tower_kinds import (
    RANDOM,
    ClipImage,
    ClipText,
    Head,
    HuggingFaceText,
    OpenClipImage,
    OpenClipText,
    TimmImage,
    VitImage,
)
from clipdata.errors import NotFoundError

_DEFAULT_SIZE = 224
_POOLING = {"cls_last_hidden_state_pooler": "cls", "mean_pooler": "mean", "cls_pooler": "pooler"}


def image_part(config: ModelConfig) -> Part:
    """Make the image trunk of a config."""
    tower, size = config.image, _size(config.preprocessing.get("size"))
    if isinstance(tower, TimmImage):
        return timm_part(tower, size)
    if isinstance(tower, ClipImage):
        return image_of(tower.weights, tower.head, embed_dim=config.embed_dim, size=size)
    if isinstance(tower, VitImage):
        architecture: dict[str, Any] = {
            "layers": tower.layers,
            "width": tower.width,
            "head_width": tower.width // tower.heads,
            "patch_size": tower.patch_size,
            "mlp_ratio": tower.mlp_ratio,
        }
        tower = OpenClipImage(architecture, head=tower.head)
    if tower.weights != RANDOM:
        return image_of(_source(tower), tower.head, embed_dim=config.embed_dim, size=size)
    cfg, quick_gelu, own_dim = _architecture(tower, "vision_cfg")
    if cfg.get("timm_model_name"):
        timm = TimmImage(cfg["timm_model_name"], pool=cfg.get("timm_pool", "avg") or None, head=tower.head)
        return timm_part(timm, size)
    if size is not None:
        cfg["image_size"] = size[0] if size[0] == size[1] else list(size)
    if own_dim is not None and isinstance(cfg.get("layers"), list) and tower.head.kind != "none":
        cfg["output_dim"] = own_dim
    return open_clip_image(cfg, tower.head, quick_gelu=quick_gelu, embed_dim=config.embed_dim)


def text_part(config: ModelConfig) -> Part:
    """Make the text trunk of a config."""
    tower = config.text
    if isinstance(tower, HuggingFaceText):
        return hugging_face_part(tower)
    if isinstance(tower, ClipText):
        return _text_of(tower.weights, tower.head, config)
    if tower.weights != RANDOM:
        return _text_of(_source(tower), tower.head, config)
    cfg, quick_gelu, _ = _architecture(tower, "text_cfg")
    if cfg.get("hf_model_name"):
        pooling = _POOLING.get(cfg.get("hf_pooler_type", "mean_pooler"), "mean")
        return hugging_face_part(HuggingFaceText(cfg["hf_model_name"], RANDOM, pooling, tower.head))  # type: ignore[arg-type]
    return open_clip_text(
        cfg, tower.head, quick_gelu=quick_gelu, embed_dim=config.embed_dim, context_length=config.context_length
    )


def part_of_section(side: str, own_config: Mapping[str, Any], head: Head | None) -> Part:
    """Make the trunk of a model's own config anew, with random weights.

    Args:
        side: "image" or "text".
        own_config: as an assembled model keeps it.
        head: instead of the model's own, or None.
    """
    config = ModelConfig.from_json(own_config)
    if head is not None:
        from dataclasses import replace

        tower: Any = replace(getattr(config, side), head=head)
        config = replace(config, **{side: tower})
    return image_part(config) if side == "image" else text_part(config)


def _text_of(name: str, head: Head, config: ModelConfig) -> Part:
    return text_of(name, head, embed_dim=config.embed_dim, context_length=config.context_length)


def _source(tower: OpenClipImage | OpenClipText) -> str:
    """Name of the model whose weights a tower takes: a folder, or a tag or file of its architecture."""
    path = Path(tower.weights).expanduser()
    return tower.weights if path.is_dir() else f"{tower.architecture}/{tower.weights}"


def _architecture(tower: OpenClipImage | OpenClipText, key: str) -> tuple[dict[str, Any], bool, int | None]:
    """open_clip's config of a tower, its activation, and the dimensions of the whole architecture's shared space."""
    if isinstance(tower.architecture, Mapping):
        return dict(tower.architecture), bool(tower.quick_gelu), None
    model_cfg = open_clip.get_model_config(tower.architecture.replace("/", "-"))
    if model_cfg is None:
        raise NotFoundError(
            f"open_clip has no architecture {tower.architecture!r}",
            hint=near_names(tower.architecture, open_clip.list_models()),
        )
    quick_gelu = model_cfg.get("quick_gelu") if tower.quick_gelu is None else tower.quick_gelu
    return dict(model_cfg[key]), bool(quick_gelu), int(model_cfg["embed_dim"])


def _size(size: Any) -> tuple[int, int] | None:
    if size is None:
        return None
    return (size, size) if isinstance(size, int) else (size[0], size[1])
