"""The two towers of a live model, each cut into a trunk and a head.

A head is what maps a trunk's features into the space the two towers share. Training only heads lets the trunks'
features be computed once. It must know nothing of which parts train (locking.py), nor of losses or tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from clipdata.encoder.towers import hugging_face, vision_transformer
from clipdata.encoder.towers.headed import HeadedTower, headed_tower
from clipdata.encoder.towers.native_text import native_text_tower
from clipdata.encoder.towers.protocol import TensorMap, Tower, TowerSplit
from clipdata.encoder.towers.timm import bare_tower, timm_tower

__all__ = ["TensorMap", "Tower", "TowerSplit", "distances", "image_tower", "split", "text_tower"]


def image_tower(model: Any) -> Tower:
    """The image tower of a live model: open_clip's CLIP, CustomTextCLIP or CoCa, or an AssembledModel."""
    return _image(model.visual)


def text_tower(model: Any) -> Tower:
    """The text tower of a live model: open_clip's CLIP, CustomTextCLIP or CoCa, or an AssembledModel."""
    return _text(getattr(model, "text", model))


def _image(visual: Any) -> Tower:
    from open_clip.timm_model import TimmModel
    from open_clip.transformer import VisionTransformer

    if isinstance(visual, HeadedTower):
        return headed_tower(visual, _image)
    if isinstance(visual, TimmModel):
        return timm_tower(visual)
    if isinstance(visual, VisionTransformer):
        return vision_transformer.vision_transformer(visual)
    if hasattr(visual, "group_matcher"):
        return bare_tower(visual)
    return vision_transformer.uncut(visual)


def _text(text: Any) -> Tower:
    from open_clip.hf_model import HFTextEncoder
    from open_clip.transformer import TextTransformer

    if isinstance(text, HeadedTower):
        return headed_tower(text, _text)
    if isinstance(text, hugging_face.HuggingFaceText):
        return hugging_face.own_tower(text)
    if isinstance(text, HFTextEncoder):
        return hugging_face.hugging_face_tower(text)
    if isinstance(text, TextTransformer) or hasattr(text, "token_embedding"):
        return native_text_tower(text)
    return hugging_face.uncut(text)


def split(model: nn.Module) -> TowerSplit:
    """Cut the towers of a model into trunks and heads.

    A tower without a projection of its own (ResNet's attention pooling ends in one that cannot be cut off) is all
    trunk, and its head passes features through.

    Args:
        model: as of `image_tower`. Its present weights are used at every call.
    """
    image, text = image_tower(model), text_tower(model)
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


def distances(model: nn.Module) -> dict[str, int]:
    """How many layers lie from each parameter of a model to the head of its tower, by its name.

    Heads and scales have 0, the last blocks and what lies behind them 1, embeddings and first convolutions the most.
    """
    towers = image_tower(model), text_tower(model)
    found = {id(parameter): distance for tower in towers for parameter, distance in tower.layers().distances()}
    return {name: found.get(id(parameter), 0) for name, parameter in model.named_parameters()}


def _names_of(model: nn.Module, parameters: Sequence[nn.Parameter]) -> tuple[str, ...]:
    wanted = {id(parameter) for parameter in parameters}
    return tuple(name for name, parameter in model.named_parameters() if id(parameter) in wanted)
