"""open_clip's own trunks: vision transformers, ResNets with attention pooling, and text transformers.

Shapes: as in protocol.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from open_clip.model import CLIPTextCfg, CLIPVisionCfg, _build_text_tower, _build_vision_tower

from clipdata.encoder.parts.protocol import Part, no_key
from clipdata.encoder.parts.tensors import put_in
from clipdata.encoder.tower_kinds import Head
from clipdata.errors import ConfigError, UsageError

_NO_FACTS = ("hf_tokenizer_name", "tokenizer_kwargs", "tokenizer_mode", "output_tokens", "proj_type", "proj_bias")
_OUTPUT_DIM = "output_dim"
"""Key of a ResNet's architecture in our configs: what its attention pooling ends in. open_clip takes the model's."""


@dataclass(frozen=True)
class TowerWeights:
    """Weights of a tower of open_clip's own.

    Args:
        tensors: of the trunk, in the names of open_clip's class for that tower.
        projection_TD: what maps the trunk's features into the shared space of the model it comes from, or None.
        source: where they come from, for errors.
    """

    tensors: Mapping[str, torch.Tensor]
    projection_TD: torch.Tensor | None
    source: str


def open_clip_image(
    vision_cfg: Mapping[str, Any],
    head: Head,
    *,
    quick_gelu: bool,
    embed_dim: int,
    weights: TowerWeights | None = None,
) -> Part:
    """Make a trunk of open_clip's own image towers.

    Args:
        vision_cfg: open_clip's, with the size of the pictures.
        head: of the tower; "own" is the projection that comes with the weights.
        quick_gelu: OpenAI's activation.
        embed_dim: D.
        weights: to put in; random without them.

    Raises:
        ConfigError: open_clip cannot build it.
        UsageError: the weights are another architecture's, or have no such projection.
    """
    cfg = {key: value for key, value in vision_cfg.items() if value is not None and key not in _NO_FACTS}
    output_dim = int(cfg.pop(_OUTPUT_DIM, embed_dim))
    is_resnet = isinstance(cfg.get("layers"), list | tuple)
    if is_resnet and weights is not None:
        output_dim = int(weights.tensors["attnpool.c_proj.weight"].shape[0])
    visual = _built(_build_vision_tower, output_dim, CLIPVisionCfg, cfg, quick_gelu, "image")
    if is_resnet:  # its attention pooling ends in the projection
        part = Part(
            trunk=visual,
            trunk_dim=output_dim,
            section={"kind": "open_clip", "architecture": cfg | {_OUTPUT_DIM: output_dim}},
            head=Head("none") if head.kind == "own" else head,
        )
        fits = part.head.kind == "none"
    else:
        resolved, state = _own_head(head, weights, "image")
        part = Part(
            trunk=visual,
            trunk_dim=int(visual.proj.shape[0]),
            section={"kind": "open_clip", "architecture": cfg},
            head=resolved,
            head_state=state,
        )
        visual.proj = None
        fits = resolved.is_matrix
    if weights is not None:
        put_in(visual, weights.tensors, weights.source, what="the image tower")
    size = cfg.get("image_size", CLIPVisionCfg().image_size)
    return _finished(replace(part, preprocessing={"size": size}), cfg if fits else None, quick_gelu)


def open_clip_text(
    text_cfg: Mapping[str, Any],
    head: Head,
    *,
    quick_gelu: bool,
    embed_dim: int,
    context_length: int | None,
    weights: TowerWeights | None = None,
) -> Part:
    """Make a trunk of open_clip's own text transformer.

    Args:
        text_cfg: open_clip's.
        head, quick_gelu, embed_dim, weights: as of `open_clip_image`.
        context_length: L, where it is not the architecture's; that of weights can only be made shorter.

    Raises:
        ConfigError, UsageError: as of `open_clip_image`.
    """
    cfg = {key: value for key, value in text_cfg.items() if value is not None and key not in _NO_FACTS}
    longest = int(cfg.get("context_length", CLIPTextCfg().context_length))
    length = context_length or longest
    if weights is not None and length > longest:
        raise UsageError(f"context_length is {length}; {weights.source} knows {longest} positions at most")
    cfg["context_length"] = length
    resolved, state = _own_head(head, weights, "text")
    text = _built(_build_text_tower, embed_dim, CLIPTextCfg, cfg | {"proj_type": "none"}, quick_gelu, "text")
    if weights is not None:
        tensors = dict(weights.tensors)
        if text.cls_emb is None:
            tensors["positional_embedding"] = tensors["positional_embedding"][:length]
        put_in(text, tensors, weights.source, what="the text tower")
    part = Part(
        trunk=text,
        trunk_dim=int(cfg.get("width", CLIPTextCfg().width)),
        section={"kind": "open_clip", "architecture": cfg},
        head=resolved,
        head_state=state,
        max_length=length,
    )
    has_key = resolved.kind in ("linear", "none")
    projection = {"proj_type": "none"} if resolved.kind == "none" else {"proj_bias": resolved.has_bias}
    return _finished(part, cfg | projection if has_key else None, quick_gelu)


def _finished(part: Part, cfg: Mapping[str, Any] | None, quick_gelu: bool) -> Part:
    return replace(
        part,
        section={**part.section, "quick_gelu": quick_gelu},
        open_clip_cfg=cfg,
        why_not="" if cfg is not None else no_key(part.head),
        quick_gelu=quick_gelu,
    )


def _built(build: Callable[..., Any], dim: int, kind: type, cfg: Mapping[str, Any], quick_gelu: bool, key: str) -> Any:
    try:
        return build(dim, kind(**cfg), quick_gelu).eval()
    except (TypeError, KeyError, RuntimeError, AssertionError, ZeroDivisionError, ValueError) as error:
        said = str(error).replace(f"{kind.__name__}.__init__()", f"{key}.architecture")
        raise ConfigError([f"open_clip cannot build the {key} tower: {said}"], what="model config") from error


def _own_head(head: Head, weights: TowerWeights | None, key: str) -> tuple[Head, dict[str, torch.Tensor] | None]:
    """A head that can be built, with its weights if it is the tower's own."""
    if head.kind != "own":
        return head, None
    if weights is None or weights.projection_TD is None:
        source = "random weights" if weights is None else weights.source
        raise UsageError(f"{key}.head is 'own', and no projection comes with {source}", hint="choose 'linear'")
    return Head("linear"), {"weight": weights.projection_TD.T.contiguous()}
