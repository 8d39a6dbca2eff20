"""The two towers of a live open_clip model, each cut into a trunk and a head.

A head is what maps a trunk's features into the space the two towers share. Training only heads lets the trunks'
features be computed once. It must know nothing of which parts train (locking.py), nor of losses or tables.

Shapes: B = batch, C, H, W = channels, height, width, L = ids of a text, T = trunk features, D = shared space.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import nn

TensorMap = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class TowerSplit:
    """A live model's towers as four functions that carry gradients.

    Args:
        image_trunk: normalised float [B, C, H, W] to [B, T].
        image_head: [B, T] to [B, D], not L2-normalised.
        text_trunk: int64 [B, L] to [B, T].
        text_head: [B, T] to [B, D], not L2-normalised.
        trim_tokens: drops the columns of [B, L] that no text of the batch needs; the features stay the same.
        image_trunk_dim: T of the image tower.
        text_trunk_dim: T of the text tower.
        image_head_names: names of the model's parameters that belong to the image head.
        text_head_names: names of the model's parameters that belong to the text head.
    """

    image_trunk: TensorMap
    image_head: TensorMap
    text_trunk: TensorMap
    text_head: TensorMap
    trim_tokens: TensorMap
    image_trunk_dim: int
    text_trunk_dim: int
    image_head_names: tuple[str, ...]
    text_head_names: tuple[str, ...]


@dataclass(frozen=True)
class _Half:
    """One tower's share of a split."""

    trunk: TensorMap
    head: TensorMap
    trunk_dim: int
    head_parameters: tuple[nn.Parameter, ...]
    trim: TensorMap = lambda tokens_BL: tokens_BL


def split(model: nn.Module) -> TowerSplit:
    """Cut the towers of an open_clip model into trunks and heads.

    A tower without a projection of its own (ResNet's attention pooling ends in one that cannot be cut off) is all
    trunk, and its head passes features through.

    Args:
        model: open_clip's CLIP, CustomTextCLIP or CoCa. Its present weights are used at every call.
    """
    image, text = _image_half(model), _text_half(model)
    return TowerSplit(
        image_trunk=image.trunk,
        image_head=image.head,
        text_trunk=text.trunk,
        text_head=text.head,
        trim_tokens=text.trim,
        image_trunk_dim=image.trunk_dim,
        text_trunk_dim=text.trunk_dim,
        image_head_names=_names_of(model, image.head_parameters),
        text_head_names=_names_of(model, text.head_parameters),
    )


def _names_of(model: nn.Module, parameters: Sequence[nn.Parameter]) -> tuple[str, ...]:
    wanted = {id(parameter) for parameter in parameters}
    return tuple(name for name, parameter in model.named_parameters() if id(parameter) in wanted)


def _pass_through(features_BD: torch.Tensor) -> torch.Tensor:
    return features_BD


def _first(output: Any) -> torch.Tensor:
    """Take the pooled features of a tower that also gives its tokens."""
    return output[0] if isinstance(output, tuple) else output


def _image_half(model: Any) -> _Half:
    from open_clip.timm_model import TimmModel
    from open_clip.transformer import VisionTransformer

    visual = model.visual
    if isinstance(visual, VisionTransformer) and visual.proj is not None:
        return _Half(
            trunk=lambda image_BCHW: visual._pool(visual.transformer(visual._embeds(image_BCHW)))[0],
            head=lambda trunk_BT: trunk_BT @ visual.proj,
            trunk_dim=visual.proj.shape[0],
            head_parameters=(visual.proj,),
        )
    if isinstance(visual, TimmModel):
        return _timm_half(visual)
    return _Half(lambda image_BCHW: _first(visual(image_BCHW)), _pass_through, int(visual.output_dim), ())


def _timm_half(visual: Any) -> _Half:
    """Cut a timm tower at open_clip's own projection, else at timm's classifier, else not at all."""
    layers = dict(visual.head.named_children())
    pool = layers.pop("pool", None) or nn.Identity()
    if layers:
        first = layers["proj"] if "proj" in layers else layers["mlp"].fc1
        return _Half(
            trunk=lambda image_BCHW: pool(visual.trunk(image_BCHW)),
            head=lambda trunk_BT: _in_turn(layers.values(), trunk_BT),
            trunk_dim=first.in_features,
            head_parameters=tuple(chain.from_iterable(layer.parameters() for layer in layers.values())),
        )
    classifier = visual.trunk.get_classifier()
    if isinstance(classifier, nn.Linear):
        return _Half(
            trunk=lambda image_BCHW: visual.trunk.forward_head(
                visual.trunk.forward_features(image_BCHW), pre_logits=True
            ),
            head=classifier,
            trunk_dim=classifier.in_features,
            head_parameters=tuple(classifier.parameters()),
        )
    return _Half(visual, _pass_through, int(visual.trunk.num_features), ())


def _in_turn(layers: Iterable[nn.Module], features: torch.Tensor) -> torch.Tensor:
    for layer in layers:
        features = layer(features)
    return features


def _text_half(model: Any) -> _Half:
    from open_clip.hf_model import HFTextEncoder
    from open_clip.transformer import TextTransformer

    text = getattr(model, "text", model)
    if isinstance(text, HFTextEncoder):
        return _hugging_face_half(text)
    if isinstance(text, TextTransformer) or hasattr(text, "token_embedding"):
        return _native_text_half(text)
    return _Half(lambda tokens_BL: _first(text(tokens_BL)), _pass_through, int(text.output_dim), ())


def _hugging_face_half(text: Any) -> _Half:
    pad_id = text.config.pad_token_id

    def trunk(tokens_BL: torch.Tensor) -> torch.Tensor:
        mask_BL = (tokens_BL != pad_id).long()
        return text.pooler(text.transformer(input_ids=tokens_BL, attention_mask=mask_BL), mask_BL)

    def trim(tokens_BL: torch.Tensor) -> torch.Tensor:
        # Padding is masked, so only its width matters; ids that end in no padding (or begin with it) stay whole.
        used = (tokens_BL != pad_id).any(dim=0).nonzero()
        return tokens_BL[:, : int(used[-1]) + 1] if len(used) else tokens_BL

    linear = next((layer for layer in text.proj.modules() if isinstance(layer, nn.Linear)), None)
    trunk_dim = text.output_dim if linear is None else linear.in_features
    return _Half(trunk, text.proj, trunk_dim, tuple(text.proj.parameters()), trim)


def _native_text_half(text: Any) -> _Half:
    """Cut open_clip's own text tower, which CLIP carries unpacked among its own attributes."""
    from open_clip.transformer import text_global_pool

    pool_type = getattr(text, "text_pool_type", None) or text.pool_type
    eos_id = getattr(text, "text_eos_id", None) or getattr(text, "eos_id", None)
    appends_class = getattr(text, "cls_emb", None) is not None

    def embed(tokens_BL: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        if hasattr(text, "_embeds"):
            features_BLT, mask = text._embeds(tokens_BL)
        else:
            features_BLT = text.token_embedding(tokens_BL) + text.positional_embedding[: tokens_BL.shape[1]]
            mask = text.attn_mask
        length = features_BLT.shape[1]
        return features_BLT, None if mask is None else mask[..., :length, :length]

    def trunk(tokens_BL: torch.Tensor) -> torch.Tensor:
        features_BLT, mask = embed(tokens_BL)
        features_BLT = text.transformer(features_BLT, attn_mask=mask)
        if appends_class:
            return text.ln_final(text_global_pool(features_BLT, pool_type="last"))
        return text_global_pool(text.ln_final(features_BLT), tokens_BL, pool_type, eos_token_id=eos_id)

    def head(trunk_BT: torch.Tensor) -> torch.Tensor:
        projection = text.text_projection
        if projection is None:
            return trunk_BT
        return projection(trunk_BT) if isinstance(projection, nn.Linear) else trunk_BT @ projection

    def trim(tokens_BL: torch.Tensor) -> torch.Tensor:
        # With a causal mask the end mark cannot see what follows it.
        is_end = tokens_BL if pool_type == "argmax" else tokens_BL.eq(eos_id or 0).int()
        return tokens_BL[:, : int(is_end.argmax(dim=-1).max()) + 1] if len(tokens_BL) else tokens_BL

    causal = text.attn_mask is not None and pool_type in ("argmax", "eos") and not appends_class
    projection = text.text_projection
    parameters = tuple(projection.parameters()) if isinstance(projection, nn.Linear) else (projection,)
    trunk_dim = text.ln_final.normalized_shape[0]
    return _Half(trunk, head, trunk_dim, () if projection is None else parameters, *((trim,) if causal else ()))
