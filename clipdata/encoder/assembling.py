"""Puts two towers with weights of their own and their projections together, by a ModelConfig.

    encoder = clipdata.new_encoder({"image": {"kind": "vit", "layers": 8, "heads": 6}, "text": {…}, "embed_dim": 256})

`new_encoder` takes an object like that, a ModelConfig, or the name of a JSON file of one; `tower_kinds.py` lists the
kinds of towers and heads. What comes back is an Encoder like any other: export it, lock it, train it.

A model that open_clip's own classes can express is made of them, so that its export opens with open_clip alone. Every
other one is an AssembledModel: two HeadedTowers under the same names, `visual` and `text`. It must know no kind of
tower. Shapes: B = batch, T = trunk, D = shared space.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from open_clip.hf_model import HFTextEncoder
from open_clip.model import set_model_preprocess_cfg
from open_clip.timm_model import TimmModel
from open_clip.transform import PreprocessCfg, merge_preprocess_dict
from torch import nn

from clipdata.encoder.building import build_encoder, build_tokenizer
from clipdata.encoder.fitting import check_fit, context_length, tokenizer_folder_of, why_not
from clipdata.encoder.layout import OWN_WEIGHTS
from clipdata.encoder.model import Encoder
from clipdata.encoder.model_config import LOGIT_SCALE, ModelConfig
from clipdata.encoder.parts.protocol import Part
from clipdata.encoder.parts.sections import image_part, text_part
from clipdata.encoder.parts.tensors import put_in, read_tensors
from clipdata.encoder.preparation import Preparation
from clipdata.encoder.quiet import quiet_libraries
from clipdata.encoder.tokenization import TextTokenizer
from clipdata.encoder.towers.headed import HeadedTower
from clipdata.encoder.towers.heads import build_head
from clipdata.errors import ClipdataError, NotFoundError, UsageError
from clipdata.trained_rows import TrainedRows

_PROJECTIONS = ("proj", "text_projection", "text_projection.weight", "text_projection.bias")


class AssembledModel(nn.Module):
    """Two towers with heads of any kind, behind the face of open_clip's models.

    Args:
        visual: image tower.
        text: text tower.
        logit_scale: what cosines are multiplied by at the start.
        logit_bias: what is added to them at the start, or None.
        why_not: why open_clip's own classes cannot hold this model.
    """

    def __init__(
        self,
        visual: HeadedTower,
        text: HeadedTower,
        logit_scale: float,
        logit_bias: float | None,
        why_not: Iterable[str],
    ) -> None:
        super().__init__()
        self.visual = visual
        self.text = text
        self.logit_scale = nn.Parameter(torch.tensor(math.log(logit_scale)))
        self.logit_bias = None if logit_bias is None else nn.Parameter(torch.tensor(float(logit_bias)))
        self.why_not = tuple(why_not)

    def encode_image(self, image_BCHW: torch.Tensor, normalize: bool = False) -> torch.Tensor:
        """Return [B, D] of normalised pictures."""
        features_BD = self.visual(image_BCHW)
        return nn.functional.normalize(features_BD, dim=-1) if normalize else features_BD

    def encode_text(self, tokens_BL: torch.Tensor, normalize: bool = False) -> torch.Tensor:
        """Return [B, D] of texts' ids."""
        features_BD = self.text(tokens_BL)
        return nn.functional.normalize(features_BD, dim=-1) if normalize else features_BD

    def forward(self, image_BCHW: torch.Tensor, tokens_BL: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return normalised [B, D] of both sides, and the scale; and the bias, if there is one."""
        both = self.encode_image(image_BCHW, normalize=True), self.encode_text(tokens_BL, normalize=True)
        scale = self.logit_scale.exp()
        return (*both, scale) if self.logit_bias is None else (*both, scale, self.logit_bias)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Compute activations anew in the backward pass."""
        self.visual.set_grad_checkpointing(enable)
        self.text.set_grad_checkpointing(enable)


def assemble(config: ModelConfig, *, name: str, device: torch.device | str = "cpu", precision: str = "fp32") -> Encoder:
    """Make a model of the towers that a config names. The global random state is left as it was.

    Args:
        config: the model.
        name: what to call it.
        device: where it runs.
        precision: what the towers compute in.

    Raises:
        NotFoundError: an architecture, weights or a tokenizer do not exist.
        ConfigError, UsageError: parts do not fit each other, or weights do not fit their architecture.
        TransientError, CredentialsError: something could not be fetched.
    """
    with quiet_libraries(), torch.random.fork_rng(devices=[]), torch.inference_mode(False):
        torch.default_generator.manual_seed(config.seed)
        image, text = _parts(config)
        length = context_length(config, text)
        tokenizer_folder = tokenizer_folder_of(config, text)
        tokenize = build_tokenizer({"context_length": length}, tokenizer_folder)
        check_fit(config, image, text, tokenize)
        prepare = _preparation(config, image)
        reasons = why_not(image, text)
        if not reasons:
            return _of_open_clip(config, image, text, name, prepare, length, tokenizer_folder, device, precision)
        model = _assembled(config, image, text, reasons)
    own = _own_config(config, image, text, prepare, tokenize)
    return _encoder(model, own, name, prepare, tokenize, device, precision, ())


def load_assembled(
    folder: Path,
    config: ModelConfig,
    *,
    name: str,
    device: torch.device,
    precision: str,
    trained_on: Iterable[TrainedRows],
) -> Encoder:
    """Load a model from its own folder, where `exporting.py` wrote it.

    Raises:
        NotFoundError: a file is missing.
        UsageError: the weights are not those of the config.
    """
    with quiet_libraries(), torch.random.fork_rng(devices=[]), torch.inference_mode(False):
        image, text = image_part(config), text_part(config)
        tokenize = build_tokenizer(
            {"context_length": context_length(config, text)}, folder if config.tokenizer is not None else None
        )
        prepare = _preparation(config, image)
        model = _assembled(config, image, text, why_not(image, text))
        put_in(model, read_tensors(folder / OWN_WEIGHTS), folder / OWN_WEIGHTS, what="the model")
    own = _own_config(config, image, text, prepare, tokenize)
    return _encoder(model, own, name, prepare, tokenize, device, precision, trained_on)


def _parts(config: ModelConfig) -> tuple[Part, Part]:
    """Make both trunks; when neither can be made, say both reasons."""
    made: list[Part] = []
    errors: list[ClipdataError] = []
    for make in (image_part, text_part):
        try:
            made.append(make(config))
        except (UsageError, NotFoundError) as error:
            errors.append(error)
    if len(errors) == 2:
        hints = [error.hint for error in errors if error.hint]
        kind = NotFoundError if all(isinstance(error, NotFoundError) for error in errors) else UsageError
        raise kind("\n".join(error.message for error in errors), hint="; ".join(hints) or None) from errors[0]
    if errors:
        raise errors[0]
    return made[0], made[1]


def _encoder(
    model: AssembledModel,
    own: Mapping[str, Any],
    name: str,
    prepare: Preparation,
    tokenize: TextTokenizer,
    device: torch.device | str,
    precision: str,
    trained_on: Iterable[TrainedRows],
) -> Encoder:
    model.visual.image_size = prepare.size
    set_model_preprocess_cfg(model, prepare.to_config())
    return Encoder(
        model,
        name=name,
        model_cfg=own,
        prepare=prepare,
        tokenize=tokenize,
        device=device,
        precision=precision,
        trained_on=trained_on,
    )


def _assembled(config: ModelConfig, image: Part, text: Part, why_not: Iterable[str]) -> AssembledModel:
    towers = []
    for part in (image, text):
        head = build_head(part.head, part.trunk_dim, config.embed_dim)
        if part.head_state is not None:
            head.load_state_dict(dict(part.head_state))
        towers.append(HeadedTower(part.trunk, head, part.trunk_dim, config.embed_dim))
    return AssembledModel(towers[0], towers[1], config.logit_scale, config.logit_bias, why_not)


def _own_config(
    config: ModelConfig, image: Part, text: Part, prepare: Preparation, tokenize: TextTokenizer
) -> dict[str, Any]:
    """The config of a model that stands in its own folder: its tokenizer lies beside it, its weights too."""
    preprocessing = {key: value for key, value in prepare.to_config().items() if key != "mode"}
    heads = {key: {"head": asdict(part.head)} for key, part in (("image", image), ("text", text))}
    own: dict[str, Any] = {
        "image": {**image.section, **heads["image"]},
        "text": {**text.section, **heads["text"]},
        "embed_dim": config.embed_dim,
        "logit_scale": config.logit_scale,
        "preprocessing": preprocessing,
        "context_length": tokenize.context_length,
    }
    own |= {"logit_bias": config.logit_bias} if config.logit_bias is not None else {}
    return own | ({"tokenizer": "."} if tokenize.is_hugging_face else {})


def _of_open_clip(
    config: ModelConfig,
    image: Part,
    text: Part,
    name: str,
    prepare: Preparation,
    length: int,
    tokenizer_folder: Path | None,
    device: torch.device | str,
    precision: str,
) -> Encoder:
    """Make the model of open_clip's classes, and put the parts' weights into it."""
    assert image.open_clip_cfg is not None
    assert text.open_clip_cfg is not None
    text_cfg: dict[str, Any] = {**text.open_clip_cfg, "context_length": length}
    if tokenizer_folder is not None:
        text_cfg["hf_tokenizer_name"] = str(tokenizer_folder)
    model_cfg: dict[str, Any] = {
        "embed_dim": config.embed_dim,
        "vision_cfg": dict(image.open_clip_cfg),
        "text_cfg": text_cfg,
        "custom_text": True,
    }
    if config.logit_scale != LOGIT_SCALE:
        model_cfg["init_logit_scale"] = math.log(config.logit_scale)
    if True in {image.quick_gelu, text.quick_gelu}:
        model_cfg["quick_gelu"] = True
    if config.logit_bias is not None:
        model_cfg["init_logit_bias"] = config.logit_bias
    with tempfile.TemporaryDirectory() as folder:
        tower = getattr(text.trunk, "config", None)
        if tower is not None:
            tower.save_pretrained(folder)
            text_cfg["hf_model_name"] = folder
        encoder = build_encoder(
            name,
            model_cfg,
            prepare.to_config(),
            tokenizer_folder=tokenizer_folder,
            seed=config.seed,
            device=device,
            precision=precision,
        )
    _fill(encoder.model.visual, image)
    _fill(encoder.model.text, text)
    return encoder


def _fill(tower: Any, part: Part) -> None:
    """Put a part's weights into open_clip's tower of the same kind."""
    trunk = getattr(part.trunk, "transformer", part.trunk) if hasattr(part.trunk, "config") else part.trunk
    inner = {TimmModel: "trunk", HFTextEncoder: "transformer"}.get(type(tower))
    target = getattr(tower, inner) if inner else tower
    put_in(target, trunk.state_dict(), "the part", what="open_clip's tower", without=_PROJECTIONS)
    if part.head_state is None:
        return
    with torch.no_grad():
        if isinstance(tower, TimmModel):
            tower.head.proj.load_state_dict(dict(part.head_state))
        elif isinstance(tower, HFTextEncoder):
            tower.proj.load_state_dict(dict(part.head_state))
        else:
            projection = tower.proj if hasattr(tower, "proj") else tower.text_projection
            projection.copy_(part.head_state["weight"].T)


def _preparation(config: ModelConfig, image: Part) -> Preparation:
    merged = merge_preprocess_dict(asdict(PreprocessCfg()), dict(image.preprocessing))
    return Preparation.from_config(merged | dict(config.preprocessing))
