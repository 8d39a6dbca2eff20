"""Makes an Encoder from its parts: an architecture, weights in a file or none, and a tokenizer.

It must know nothing of names and hubs (loading.py, hub.py); every file it reads is on this machine.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import open_clip
import torch
from open_clip.model import set_model_preprocess_cfg
from open_clip.transform import PreprocessCfg, merge_preprocess_dict
from safetensors import SafetensorError
from torch import nn
from torch.overrides import TorchFunctionMode

from clipdata.encoder.layout import has_tokenizer
from clipdata.encoder.model import Encoder
from clipdata.encoder.preparation import Preparation
from clipdata.encoder.quiet import quiet_libraries
from clipdata.encoder.tokenization import TextTokenizer
from clipdata.errors import NotFoundError, UsageError
from clipdata.trained_rows import TrainedRows

# What the readers of the formats that open_clip knows, and the model itself, say of weights they cannot use.
_BAD_WEIGHTS = (
    RuntimeError,
    AssertionError,
    LookupError,
    ValueError,
    EOFError,
    StopIteration,
    UnpicklingError,
    SafetensorError,
)
_DRAW = frozenset({"normal_", "uniform_", "kaiming_uniform_"})  # of tensors, torch.nn.init, and those who wrap it


def build_encoder(
    name: str,
    model_cfg: Mapping[str, Any],
    preprocess_cfg: Mapping[str, Any] | None = None,
    *,
    weights: Path | None = None,
    tokenizer_folder: Path | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    precision: str = "fp32",
    trained_on: Iterable[TrainedRows] = (),
) -> Encoder:
    """Build the model, load its weights if there are any, and put preprocessing and tokenizer beside it.

    The global random state is left as it was.

    Args:
        name: what the person called the model.
        model_cfg: open_clip's `model_cfg`; a Hugging Face tower in it is named by a local folder.
        preprocess_cfg: what differs from open_clip's defaults; the size always comes from the model.
        weights: file of the whole model's weights; without it they are random.
        tokenizer_folder: files of a Hugging Face tokenizer, if the model uses one.
        seed: of the random weights.
        device: where the model runs.
        precision: what the towers compute in.
        trained_on: rows that the weights were trained on.

    Raises:
        UsageError: the architecture is not one that open_clip can build, or the weights belong to another.
    """
    # Weights that may be trained, also for a caller in inference mode.
    with quiet_libraries(), torch.random.fork_rng(devices=[]), torch.inference_mode(False):
        # Weights are made on the CPU; torch.manual_seed would also reset the generators of every GPU.
        torch.default_generator.manual_seed(seed)
        with nullcontext() if weights is None else _Undrawn():
            model = _build_model(name, model_cfg)
        if weights is not None:
            _load_weights(name, model, weights)
        tokenize = build_tokenizer(model_cfg["text_cfg"], tokenizer_folder)
    merged = merge_preprocess_dict(asdict(PreprocessCfg()), dict(preprocess_cfg or {}))
    merged["size"] = model.visual.image_size
    prepare = Preparation.from_config(merged)
    set_model_preprocess_cfg(model, prepare.to_config())
    return Encoder(
        model,
        name=name,
        model_cfg=model_cfg,
        prepare=prepare,
        tokenize=tokenize,
        device=device,
        precision=precision,
        trained_on=trained_on,
    )


class _Undrawn(TorchFunctionMode):
    """Within it no weights are drawn at random: those of a file come over all of them, and drawing takes as long."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if getattr(func, "__name__", "") in _DRAW:
            return args[0] if args else given["tensor"]
        return func(*args, **given)


def _build_model(name: str, model_cfg: Mapping[str, Any]) -> Any:
    """Instantiate the class that open_clip's own factory would choose, never looking for weights."""
    config = copy.deepcopy(dict(model_cfg))
    custom_text = config.pop("custom_text", False)
    if config["vision_cfg"].get("timm_model_name"):
        config["vision_cfg"]["timm_model_pretrained"] = False
    if config["text_cfg"].get("hf_model_name"):
        config["text_cfg"]["hf_model_pretrained"] = False
        custom_text = True
    kind = open_clip.CLIP
    if custom_text:
        kind = open_clip.CoCa if "multimodal_cfg" in config else open_clip.CustomTextCLIP
    try:
        return kind(**config)
    except (TypeError, KeyError, RuntimeError, AssertionError) as error:
        raise UsageError(f"open_clip cannot build {name!r}: {error}") from error


def _load_weights(name: str, model: nn.Module, weights: Path) -> None:
    try:
        open_clip.load_checkpoint(model, str(weights))
    except _BAD_WEIGHTS as error:
        said = " ".join(line.strip() for line in str(error).strip().splitlines()[:2])[:300]
        raise UsageError(
            f"{weights} does not hold weights of {name!r}: {said or type(error).__name__}",
            hint="another architecture's weights, or a file that was cut short",
        ) from error


def build_tokenizer(text_cfg: Mapping[str, Any], folder: Path | None) -> TextTokenizer:
    """Make the tokenizer of a text tower: that of a folder, or open_clip's own.

    Raises:
        NotFoundError: the folder holds no tokenizer.
        UsageError: it holds none that transformers can read, or one that cannot pad.
    """
    context_length = int(text_cfg.get("context_length", open_clip.tokenizer.DEFAULT_CONTEXT_LENGTH))
    options = dict(text_cfg.get("tokenizer_kwargs") or {})
    if folder is None:
        return _own(context_length, json.dumps(options, sort_keys=True))
    tokenizer = _from_folder(folder, context_length, text_cfg.get("tokenizer_mode"), options)
    return TextTokenizer(tokenizer, context_length)


@lru_cache(maxsize=8)
def _own(context_length: int, options: str) -> TextTokenizer:
    """Make open_clip's own, which models of one kind share: it holds a vocabulary of 49,408 pieces and their merges."""
    tokenizer: Any = open_clip.tokenizer.SimpleTokenizer(context_length=context_length, **json.loads(options))
    return TextTokenizer(tokenizer, context_length)


def _from_folder(folder: Path, context_length: int, mode: str | None, options: Mapping[str, Any]) -> Any:
    if not has_tokenizer(folder):  # of a model's config alone transformers makes a tokenizer that knows no word
        held = ", ".join(sorted(entry.name for entry in folder.iterdir())[:8]) or "nothing"
        raise NotFoundError(f"{folder} holds no tokenizer: expected tokenizer.json or vocab.txt, found {held}")
    try:
        tokenizer = open_clip.tokenizer.HFTokenizer(
            str(folder), context_length=context_length, tokenizer_mode=mode, local_files_only=True, **options
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        said = str(error).strip().partition("\n")[0][:200]
        raise UsageError(
            f"{folder} holds no tokenizer that transformers can read: {said}",
            hint="expected tokenizer.json with tokenizer_config.json, as a tokenizer's save_pretrained writes them",
        ) from error
    if tokenizer.tokenizer.pad_token_id is None:
        raise UsageError(f"the tokenizer in {folder} has no token to pad texts with", hint="set its pad_token")
    return tokenizer
