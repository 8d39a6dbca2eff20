"""Digests that tell two encoders apart: weights, architecture, preprocessing, tokenizer, precision.

Equal digests mean equal features up to rounding, on every machine and after every save and load. It must know nothing
of where a model came from: names and paths are no part of an identity.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from clipdata.encoder.layout import is_own_config

# Where a tower's files lie, and whether they were loaded: no part of what the tower computes.
_NOT_ARCHITECTURE = {"hf_model_name", "hf_model_pretrained", "hf_tokenizer_name", "timm_model_pretrained"}
# What a Hugging Face tower computes beyond its weights. A fixed list, because libraries add keys over time.
_TOWER_KEYS = ("model_type", "hidden_act", "activation", "layer_norm_eps", "num_attention_heads", "pad_token_id")


def digest_of(facts: Any) -> str:
    """Return the hex digest of a value that JSON can hold."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def digest_tensors(named: Iterable[tuple[str, torch.Tensor]]) -> str:
    """Return the hex digest of tensors by name, type, shape and bytes; memory layout and device play no part."""
    digest = hashlib.sha256()
    for name, tensor in sorted(named, key=lambda pair: pair[0]):
        digest.update(f"{name}:{tensor.dtype}:{list(tensor.shape)};".encode())
        flat = tensor.detach().to("cpu").contiguous().view(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def architecture(model_cfg: Mapping[str, Any], tower_config: Any = None, *, whole: bool = True) -> dict[str, Any]:
    """Return what of a model's config decides the features and cannot be seen in the weights' shapes.

    Args:
        model_cfg: open_clip's `model_cfg`, or our own config of an assembled model.
        tower_config: config of the Hugging Face text tower, if there is one.
        whole: of both towers and their heads, or of the image trunk alone.
    """
    if is_own_config(model_cfg):
        return _own_architecture(model_cfg, tower_config, whole)
    if not whole:
        model_cfg, tower_config = {k: v for k, v in model_cfg.items() if k != "text_cfg"}, None
    decisive = {key: _without_places(value) for key, value in model_cfg.items() if value is not None}
    decisive.pop("custom_text", None)
    if tower_config is not None:
        decisive["tower"] = {key: getattr(tower_config, key, None) for key in _TOWER_KEYS}
    return decisive


def _own_architecture(own: Mapping[str, Any], tower_config: Any, whole: bool) -> dict[str, Any]:
    if not whole:
        return {"image": {key: value for key, value in own["image"].items() if key != "head"}}
    text = dict(own["text"])
    if tower_config is not None:
        text["architecture"] = {key: getattr(tower_config, key, None) for key in _TOWER_KEYS}
    return {"image": own["image"], "text": text}


def mutation_count(model: torch.nn.Module) -> tuple[tuple[int, object], ...]:
    """Return what changes when a weight is replaced or written in place, so that a stale digest is noticed.

    Weights made under `torch.inference_mode` are not counted by torch: theirs differs at every call.
    """
    return tuple(
        (tensor.data_ptr(), object() if tensor.is_inference() else tensor._version)
        for tensor in model.state_dict(keep_vars=True).values()
    )


def _without_places(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {key: item for key, item in value.items() if key not in _NOT_ARCHITECTURE and item is not None}
