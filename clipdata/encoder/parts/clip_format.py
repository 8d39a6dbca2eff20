"""CLIP as transformers writes it, and as open_clip does: the same network under other names, both ways.

It reads configs and tensors and imports neither library. A tower that the other format cannot hold is refused, never
written nearly right.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch

_VISION = {
    "class_embedding": "embeddings.class_embedding",
    "conv1.weight": "embeddings.patch_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_pre.weight": "pre_layrnorm.weight",
    "ln_pre.bias": "pre_layrnorm.bias",
    "ln_post.weight": "post_layernorm.weight",
    "ln_post.bias": "post_layernorm.bias",
}
_TEXT = {
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
}
_IN_BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_BLOCK = re.compile(r"transformer\.resblocks\.(\d+)\.(.+)\.(weight|bias)$")
_JOINED = re.compile(r"transformer\.resblocks\.(\d+)\.attn\.in_proj_(weight|bias)$")
_PARTS = ("q_proj", "k_proj", "v_proj")
# What an open_clip config may say of a tower that transformers' CLIP can hold too; other keys make another network.
_VISION_KEYS = {"layers", "width", "head_width", "mlp_ratio", "patch_size", "image_size", "patch_dropout"}
_TEXT_KEYS = {"layers", "width", "heads", "mlp_ratio", "vocab_size", "context_length", "pool_type", "eos_id", "pad_id"}
_NEUTRAL = {"pool_type": ("tok", "argmax", "eos"), "output_tokens": (False,), "proj_type": ("linear",)}
_MARK_OF_CLIP = 2
"""The `eos_token_id` of the first CLIP configs: the end of a text is then the largest id in it."""


def to_transformers(tensors: Mapping[str, torch.Tensor], side: str) -> dict[str, torch.Tensor]:
    """Rename the tensors of an open_clip tower, without its projection.

    Args:
        tensors: of a VisionTransformer or TextTransformer.
        side: "vision" or "text".

    Raises:
        KeyError: transformers' CLIP has no such tensor.
    """
    renamed = {}
    for name, tensor in tensors.items():
        if joined := _JOINED.match(name):
            for part, piece in zip(_PARTS, tensor.chunk(3), strict=True):
                renamed[f"encoder.layers.{joined[1]}.self_attn.{part}.{joined[2]}"] = piece.clone()
        elif block := _BLOCK.match(name):
            renamed[f"encoder.layers.{block[1]}.{_IN_BLOCK[block[2]]}.{block[3]}"] = tensor
        else:
            renamed[_names(side)[name]] = tensor
    return renamed


def from_transformers(tensors: Mapping[str, torch.Tensor], side: str) -> dict[str, torch.Tensor]:
    """Rename the tensors of one of transformers' CLIP towers, and join queries, keys and values.

    Args:
        tensors: as in its file, under whatever prefix; those of other parts are ignored.
        side: "vision" or "text".

    Returns:
        What of open_clip's tower was found; empty where it is no CLIP tower.
    """
    ending = _names(side)["positional_embedding"]
    prefixes = [name.removesuffix(ending) for name in tensors if name.endswith(ending)]
    wanted = [prefix for prefix in prefixes if f"{prefix}{_first(side)}" in tensors]
    if not wanted:
        return {}
    inner = {name.removeprefix(wanted[0]): t for name, t in tensors.items() if name.startswith(wanted[0])}
    renamed = {ours: inner[theirs] for ours, theirs in _names(side).items() if theirs in inner}
    back = {theirs: ours for ours, theirs in _IN_BLOCK.items()}
    for name, tensor in inner.items():
        found = re.match(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)$", name)
        if found and found[2] in back:
            renamed[f"transformer.resblocks.{found[1]}.{back[found[2]]}.{found[3]}"] = tensor
        elif found and found[2] == "self_attn.q_proj":
            pieces = [inner[name.replace("q_proj", part)] for part in _PARTS]
            renamed[f"transformer.resblocks.{found[1]}.attn.in_proj_{found[3]}"] = torch.cat(pieces)
    return renamed


def vision_cfg(config: Mapping[str, Any]) -> dict[str, Any]:
    """open_clip's `vision_cfg` of transformers' CLIP vision config, whose missing keys have that library's defaults."""
    width = int(config.get("hidden_size", 768))
    return {
        "layers": int(config.get("num_hidden_layers", 12)),
        "width": width,
        "head_width": width // int(config.get("num_attention_heads", 12)),
        "mlp_ratio": int(config.get("intermediate_size", 3072)) / width,
        "patch_size": int(config.get("patch_size", 32)),
        "image_size": int(config.get("image_size", 224)),
    }


def text_cfg(config: Mapping[str, Any]) -> dict[str, Any]:
    """open_clip's `text_cfg` of transformers' CLIP text config, whose missing keys have that library's defaults."""
    width = int(config.get("hidden_size", 512))
    eos_id, vocab_size = config.get("eos_token_id", 49407), int(config.get("vocab_size", 49408))
    cfg = {
        "layers": int(config.get("num_hidden_layers", 12)),
        "width": width,
        "heads": int(config.get("num_attention_heads", 8)),
        "mlp_ratio": int(config.get("intermediate_size", 2048)) / width,
        "vocab_size": vocab_size,
        "context_length": int(config.get("max_position_embeddings", 77)),
    }
    is_largest = eos_id in (None, _MARK_OF_CLIP, vocab_size - 1)
    return cfg if is_largest else cfg | {"pool_type": "eos", "eos_id": int(eos_id)}


def uses_quick_gelu(config: Mapping[str, Any]) -> bool:
    """Whether a tower of transformers' CLIP has OpenAI's activation, which it has by default."""
    return config.get("hidden_act", "quick_gelu") == "quick_gelu"


def transformers_vision(cfg: Mapping[str, Any], quick_gelu: bool, embed_dim: int) -> dict[str, Any] | str:
    """transformers' CLIP vision config of open_clip's `vision_cfg`, or why there is none."""
    if isinstance(cfg.get("layers"), list | tuple):
        return "transformers' CLIP has vision transformers only, no ResNet"
    if reason := _beyond(cfg, _VISION_KEYS):
        return reason
    if not isinstance(cfg.get("image_size", 224), int):
        return f"transformers' CLIP has square pictures only, and this is {cfg['image_size']}"
    width = int(cfg.get("width", 768))
    return {
        "hidden_size": width,
        "intermediate_size": int(width * cfg.get("mlp_ratio", 4.0)),
        "num_hidden_layers": int(cfg.get("layers", 12)),
        "num_attention_heads": width // int(cfg.get("head_width", 64)),
        "image_size": int(cfg.get("image_size", 224)),
        "patch_size": int(cfg.get("patch_size", 16)),
        "hidden_act": "quick_gelu" if quick_gelu else "gelu",
        "projection_dim": embed_dim,
    }


def transformers_text(cfg: Mapping[str, Any], quick_gelu: bool, embed_dim: int) -> dict[str, Any] | str:
    """transformers' CLIP text config of open_clip's `text_cfg`, or why there is none."""
    if reason := _beyond(cfg, _TEXT_KEYS):
        return reason
    width, vocab_size = int(cfg.get("width", 512)), int(cfg.get("vocab_size", 49408))
    pools_eos = cfg.get("pool_type", "argmax") == "eos"
    return {
        "hidden_size": width,
        "intermediate_size": int(width * cfg.get("mlp_ratio", 4.0)),
        "num_hidden_layers": int(cfg.get("layers", 12)),
        "num_attention_heads": int(cfg.get("heads", 8)),
        "vocab_size": vocab_size,
        "max_position_embeddings": int(cfg.get("context_length", 77)),
        "hidden_act": "quick_gelu" if quick_gelu else "gelu",
        "projection_dim": embed_dim,
        "eos_token_id": int(cfg.get("eos_id", 2)) if pools_eos else _MARK_OF_CLIP,
    }


def _beyond(cfg: Mapping[str, Any], known: set[str]) -> str:
    beyond = [
        key
        for key, value in cfg.items()
        if value not in (None, False) and (key not in known | set(_NEUTRAL) or value not in _NEUTRAL.get(key, (value,)))
    ]
    return f"transformers' CLIP has nothing like {', '.join(beyond)} of open_clip" if beyond else ""


def _names(side: str) -> dict[str, str]:
    return _VISION if side == "vision" else _TEXT


def _first(side: str) -> str:
    return _names(side)["class_embedding" if side == "vision" else "token_embedding.weight"]
