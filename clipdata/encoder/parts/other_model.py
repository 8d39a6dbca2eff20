"""The tower of another model, with its weights: of any model that `load_encoder` opens, or of a CLIP of transformers'.

It must know nothing of the other tower of the model that is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from open_clip.hf_model import HFTextEncoder
from open_clip.timm_model import TimmModel
from torch import nn

from clipdata.encoder import hub
from clipdata.encoder.layout import TOWER_CONFIG, find_model_folder, is_foreign_folder
from clipdata.encoder.parts import clip_format
from clipdata.encoder.parts.hugging_face import hugging_face_part, plain_config
from clipdata.encoder.parts.open_clip import TowerWeights, open_clip_image, open_clip_text
from clipdata.encoder.parts.protocol import Part
from clipdata.encoder.parts.tensors import put_in, read_tensors
from clipdata.encoder.parts.timm import timm_part
from clipdata.encoder.tower_kinds import Head, HuggingFaceText, TimmImage
from clipdata.encoder.towers.headed import HeadedTower
from clipdata.errors import UsageError
from clipdata.json_parsing import parse_json

if TYPE_CHECKING:
    from clipdata.encoder.model import Encoder

_PREPROCESSING = ("size", "mean", "std", "interpolation", "resize_mode", "fill_color")
_POOLING = {"cls_last_hidden_state_pooler": "cls", "mean_pooler": "mean", "cls_pooler": "pooler"}


def image_of(name: str, head: Head, *, embed_dim: int, size: tuple[int, int] | None) -> Part:
    """Take the image tower of another model.

    Args:
        name: of the model: see `tower_kinds.ClipImage`.
        head: of the tower here.
        embed_dim: D of the model that is made.
        size: of the pictures, if it is asked for.

    Raises:
        NotFoundError: there is no such model.
        UsageError: it has no such tower, or takes pictures of another size.
    """
    found = open_model(name)
    part = (
        _converted_image(found, head, embed_dim)
        if isinstance(found, Path)
        else image_of_encoder(found, head, embed_dim=embed_dim)
    )
    made_for = part.preprocessing.get("size")
    made_for = [made_for] * 2 if isinstance(made_for, int) else list(made_for or ())
    if size is not None and made_for != list(size) and _has_one_size(part.trunk):
        raise UsageError(
            f"preprocessing.size is {list(size)}; the image tower of {name} takes pictures of {made_for}",
            hint="leave the size out",
        )
    return part


def text_of(name: str, head: Head, *, embed_dim: int, context_length: int | None) -> Part:
    """Take the text tower of another model.

    Args:
        name, head, embed_dim: as of `image_of`.
        context_length: L, if it is asked for.

    Raises:
        NotFoundError: there is no such model.
        UsageError: it has no such tower.
    """
    found = open_model(name)
    if isinstance(found, Path):
        return _converted_text(found, head, embed_dim, context_length)
    part = text_of_encoder(found, head, embed_dim=embed_dim, context_length=context_length)
    return replace(part, tokenizer=_folder_of(name)) if found.tokenize.is_hugging_face else part


def open_model(name: str) -> Encoder | Path:
    """The model by its name, or the folder of a CLIP as transformers writes it."""
    from clipdata.encoder.loading import load_encoder

    folder = Path(name).expanduser()
    if folder.is_dir():
        if is_foreign_folder(folder):
            return folder
    elif hub.is_repository(name):
        return hub.find_tower(name)
    return load_encoder(name, device="cpu")


def image_of_encoder(encoder: Encoder, head: Head, *, embed_dim: int) -> Part:
    """Copy the image tower of a live model; see `image_of`."""
    visual: Any = encoder.model.visual
    cfg = encoder.model_cfg
    preprocessing = {key: encoder.prepare.to_config()[key] for key in _PREPROCESSING}
    if isinstance(visual, HeadedTower):
        part = _own_headed(encoder, "image", visual, head)
    elif isinstance(visual, TimmModel):
        part = _own_timm(encoder, visual, head)
    else:
        state = visual.state_dict()
        weights = TowerWeights(state, state.pop("proj", None), encoder.name)
        vision_cfg = cfg["vision_cfg"] | {"image_size": preprocessing["size"]}
        quick_gelu = bool(cfg.get("quick_gelu"))
        part = open_clip_image(vision_cfg, head, quick_gelu=quick_gelu, embed_dim=embed_dim, weights=weights)
    return replace(part, preprocessing=preprocessing)


def text_of_encoder(encoder: Encoder, head: Head, *, embed_dim: int, context_length: int | None = None) -> Part:
    """Copy the text tower of a live model; see `text_of`."""
    model, cfg = encoder.model, encoder.model_cfg
    text = getattr(model, "text", None)
    if isinstance(text, HeadedTower):
        if cfg["text"]["kind"] != "open_clip":
            return _own_headed(encoder, "text", text, head)
        part = open_clip_text(
            cfg["text"]["architecture"],
            Head(**cfg["text"]["head"]) if head.kind == "own" else head,
            quick_gelu=cfg["text"]["quick_gelu"],
            embed_dim=embed_dim,
            context_length=context_length,
            weights=TowerWeights(text.trunk.state_dict(), None, encoder.name),
        )
        return replace(part, head_state=text.head.state_dict()) if head.kind == "own" else part
    text_cfg = cfg["text_cfg"]
    if isinstance(text, HFTextEncoder):
        pooling = _POOLING.get(text_cfg.get("hf_pooler_type", "mean_pooler"))
        if pooling is None:
            raise UsageError(f"the text tower of {encoder.name} is pooled in a way that only open_clip knows")
        section = HuggingFaceText(plain_config(text.config), "random", pooling, _without_own(head))  # type: ignore[arg-type]
        part = hugging_face_part(section, text.transformer.state_dict())
        return _with_own_head(part, head, text.proj, encoder.name)
    if text is not None:
        state = text.state_dict()
    else:
        state = {n: t for n, t in model.state_dict().items() if not n.startswith(("visual.", "logit_"))}
    bias = state.pop("text_projection.bias", None)
    linear = state.pop("text_projection.weight", None)
    projection_TD = state.pop("text_projection", linear.T if linear is not None and bias is None else None)
    return open_clip_text(
        text_cfg,
        head,
        quick_gelu=bool(cfg.get("quick_gelu")),
        embed_dim=embed_dim,
        context_length=context_length,
        weights=TowerWeights(state, projection_TD, encoder.name),
    )


def _own_headed(encoder: Encoder, side: str, tower: HeadedTower, head: Head) -> Part:
    from clipdata.encoder.parts.sections import part_of_section

    part = part_of_section(side, encoder.model_cfg, None if head.kind == "own" else head)
    put_in(part.trunk, tower.trunk.state_dict(), encoder.name, what=f"the {side} tower")
    return replace(part, head_state=tower.head.state_dict()) if head.kind == "own" else part


def _has_one_size(trunk: Any) -> bool:
    """Whether a trunk takes pictures of the size that it was made for, and of no other."""
    fixed = getattr(trunk, "pretrained_cfg", {}).get("fixed_input_size", False)
    return bool(fixed) or hasattr(trunk, "positional_embedding") or hasattr(trunk, "attnpool")


def _folder_of(name: str) -> Path | None:
    """The folder of a model on this machine, or None for one that is named otherwise."""
    if name == "starter":
        from clipdata.encoder.starter import starter_folder

        return starter_folder()
    path = Path(name.removeprefix("local-dir:")).expanduser()
    return find_model_folder(path) if path.is_dir() else None


def _own_timm(encoder: Encoder, visual: Any, head: Head) -> Part:
    cfg = encoder.model_cfg["vision_cfg"]
    layers = dict(visual.head.named_children())
    if set(layers) - {"drop", "proj"}:
        raise UsageError(f"the image tower of {encoder.name} is pooled in a way that only open_clip knows")
    section = TimmImage(cfg["timm_model_name"], pool=cfg.get("timm_pool", "avg") or None, head=_without_own(head))
    part = timm_part(section, encoder.prepare.size)
    put_in(part.trunk, visual.trunk.state_dict(), encoder.name, what="the image tower")
    return _with_own_head(part, head, layers.get("proj"), encoder.name)


def _without_own(head: Head) -> Head:
    return Head("linear") if head.kind == "own" else head


def _with_own_head(part: Part, head: Head, projection: nn.Module | None, source: str) -> Part:
    """The part with the projection that it had, if that is asked for."""
    if head.kind != "own":
        return part
    if not isinstance(projection, nn.Linear) or projection.bias is not None:
        raise UsageError(f"head is 'own', and the projection of {source} is no plain matrix", hint="choose 'linear'")
    return replace(part, head_state={"weight": projection.weight.detach()})


def _converted_image(folder: Path, head: Head, embed_dim: int) -> Part:
    config, tensors = read_model(folder)
    inner = config.get("vision_config") or config
    renamed = clip_format.from_transformers(tensors, "vision")
    if not renamed:
        raise UsageError(
            f"{folder} holds no image tower of CLIP's kind: its {TOWER_CONFIG} says {config.get('model_type')!r}",
            hint="expected a folder of transformers' CLIPModel or CLIPVisionModel, or a model of clipdata's",
        )
    projection_DT = tensors.get("visual_projection.weight")
    part = open_clip_image(
        clip_format.vision_cfg(inner),
        head,
        quick_gelu=_quick_gelu(inner, folder),
        embed_dim=embed_dim,
        weights=TowerWeights(renamed, None if projection_DT is None else projection_DT.T, str(folder)),
    )
    return replace(part, preprocessing={"size": int(inner.get("image_size", 224)), **_image_processor(folder)})


def _converted_text(folder: Path, head: Head, embed_dim: int, context_length: int | None) -> Part:
    config, tensors = read_model(folder)
    inner = config.get("text_config") or config
    projection_DT = tensors.get("text_projection.weight")
    renamed = clip_format.from_transformers(tensors, "text")
    if renamed:
        part = open_clip_text(
            clip_format.text_cfg(inner),
            head,
            quick_gelu=_quick_gelu(inner, folder),
            embed_dim=embed_dim,
            context_length=context_length,
            weights=TowerWeights(renamed, None if projection_DT is None else projection_DT.T, str(folder)),
        )
        return replace(part, tokenizer=folder)
    return replace(_bert_of(folder, config, tensors, head), tokenizer=folder)


def _bert_of(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], head: Head) -> Part:
    """The BERT of a model that has one beside a CLIP's image tower."""
    own = {name: tensor for name, tensor in tensors.items() if name.startswith("text_model.")}
    inner = config.get("text_config")
    if not own or not isinstance(inner, Mapping):
        raise UsageError(
            f"{folder} holds no text tower beside an image tower: its {TOWER_CONFIG} says {config.get('model_type')!r}",
            hint='a text encoder alone is of the kind "hugging_face"',
        )
    kinds = {"chinese_clip_text_model": "bert"}
    kind = kinds.get(str(inner.get("model_type")), inner.get("model_type") or "bert")
    pooling = "cls" if config.get("model_type") == "chinese_clip" else "pooler"
    facts = {key: value for key, value in inner.items() if key in _bert_keys(kind)}
    section = HuggingFaceText({**facts, "model_type": kind}, "random", pooling, _without_own(head))  # type: ignore[arg-type]
    part = hugging_face_part(section, own)
    if head.kind != "own":
        return part
    projection = tensors.get("text_projection.weight")
    if projection is None:
        raise UsageError(f"text.head is 'own', and {folder} holds no projection of texts", hint="choose 'linear'")
    return replace(part, head_state={"weight": projection})


def _bert_keys(kind: str) -> set[str]:
    from transformers import CONFIG_MAPPING

    return set(CONFIG_MAPPING[kind]().to_dict()) if kind in CONFIG_MAPPING else set()


def read_model(folder: Path) -> tuple[Mapping[str, Any], dict[str, torch.Tensor]]:
    """Read the config and the weights of a folder in transformers' format.

    Raises:
        NotFoundError: it holds no weights.
        UsageError: a file of it cannot be read.
    """
    try:
        config = parse_json((folder / TOWER_CONFIG).read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{folder / TOWER_CONFIG} is not JSON: {error}") from error
    return config, read_tensors(folder)


def _quick_gelu(config: Mapping[str, Any], folder: Path) -> bool:
    activation = config.get("hidden_act", "quick_gelu")
    if activation not in ("quick_gelu", "gelu"):
        raise UsageError(f"{folder}: open_clip has no towers with the activation {activation!r}")
    return clip_format.uses_quick_gelu(config)


def _image_processor(folder: Path) -> dict[str, Any]:
    """What a folder of transformers' says of its pictures."""
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        return {}
    said = parse_json(path.read_text(encoding="utf-8"))
    found = {"mean": said.get("image_mean"), "std": said.get("image_std")}
    return {key: value for key, value in found.items() if value}
