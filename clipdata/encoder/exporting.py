"""Writes a model as a folder that stands alone and that open_clip loads by itself.

    open_clip_config.json       open_clip's architecture and preprocessing
    open_clip_model.safetensors weights, float32
    config.json                 architecture of a Hugging Face text tower, if the model has one
    tokenizer files             if the model has a Hugging Face tokenizer
    clipdata_config.json        where the model comes from and its identity
    README.md                   what to type to load it

The counterpart of `loading.load_encoder`. It must know nothing of training or runs.
"""

from __future__ import annotations

import copy
import glob
import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from clipdata.encoder.layout import CLIPDATA_CONFIG, OPEN_CLIP_CONFIG, OPEN_CLIP_WEIGHTS
from clipdata.encoder.quiet import quiet_libraries
from clipdata.errors import StorageError, UsageError

if TYPE_CHECKING:
    from clipdata.encoder.model import Encoder
    from clipdata.encoder.preparation import Preparation
    from clipdata.encoder.tokenization import TextTokenizer

_ABANDONED_AFTER_S = 3600.0

_README = """# {name}

An image-text model in open_clip's format, exported by clipdata. In clipdata:

    encoder = clipdata.load_encoder("{path}")

With open_clip alone:

    model, _, preprocess = open_clip.create_model_and_transforms("local-dir:{path}")
    tokenizer = open_clip.get_tokenizer("local-dir:{path}")
{moved}"""

_MOVED = """
clipdata finds everything in this folder wherever it lies. open_clip alone looks for the text tower's `config.json`
where `text_cfg.hf_model_name` in `open_clip_config.json` says: after moving the folder, write its new path there.
"""


def export(model: nn.Module, encoder: Encoder, path: str | os.PathLike[str]) -> Path:
    """Write a model with the preprocessing and tokenizer of an encoder, so that loading it gives equal features.

    The folder appears whole or not at all; an earlier export at the same path is replaced.

    Args:
        model: open_clip model whose weights are written; `encoder.model`, or one trained from it.
        encoder: encoder of the same architecture that the model comes from.
        path: local folder to write.

    Returns:
        the absolute path of the folder.

    Raises:
        UsageError: the path holds something else than an export.
        StorageError: the folder cannot be written.
    """
    target = Path(path).expanduser().absolute()
    if target.exists() and not _may_replace(target):
        raise UsageError(f"{target} exists and is not an exported model", hint="choose a path that does not exist yet")
    try:
        aside = begin_folder(target)
        try:
            about = {"name": encoder.name, "made_from": encoder.identity}
            write_model(aside, target, model, encoder.model_cfg, encoder.prepare, encoder.tokenize, about)
            _replace(aside, target)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise StorageError(f"cannot write the model to {target}: {error}") from error
    return target


def begin_folder(target: Path) -> Path:
    """Make an empty folder beside the target, on the same disk, to be renamed to it when it is whole.

    What a writer that was killed left behind an hour ago or earlier is removed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{target.name}.writing-"
    for left in target.parent.glob(f"{glob.escape(prefix)}*"):
        if time.time() - left.stat().st_mtime > _ABANDONED_AFTER_S:
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))


def write_model(
    folder: Path,
    target: Path,
    model: nn.Module,
    model_cfg: Mapping[str, Any],
    prepare: Preparation,
    tokenize: TextTokenizer,
    about: Mapping[str, Any],
) -> None:
    """Write a model's files into a folder that will be renamed to `target`."""
    from safetensors.torch import save_file

    save_file(_state_on_cpu(model), folder / OPEN_CLIP_WEIGHTS, metadata={"format": "pt"})
    config = copy.deepcopy(dict(model_cfg))
    tower = getattr(getattr(model, "text", None), "config", None)
    with quiet_libraries():
        tokenize.save(folder)
        if tower is not None:
            tower.save_pretrained(str(folder))
            config["text_cfg"]["hf_model_name"] = str(target)
    if tokenize.is_hugging_face:
        config["text_cfg"]["hf_tokenizer_name"] = str(target)
    _write_json(folder / OPEN_CLIP_CONFIG, {"model_cfg": config, "preprocess_cfg": prepare.to_config()})
    _write_json(folder / CLIPDATA_CONFIG, {"format": 1, **about})
    moved = _MOVED if tower is not None else ""
    text = _README.format(name=about.get("name", target.name), path=target, moved=moved)
    (folder / "README.md").write_text(text, encoding="utf-8")
    # Written aside as private files; a model in a shared place is for whoever may read that place.
    folder.chmod(0o755)
    for file in folder.iterdir():
        file.chmod(0o644)


def _state_on_cpu(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the weights as safetensors wants them: contiguous, and no two sharing memory."""
    state: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, tensor in model.state_dict().items():
        plain = tensor.detach().to("cpu").contiguous()
        if plain.untyped_storage().data_ptr() in seen or plain.untyped_storage().nbytes() != plain.nbytes:
            plain = plain.clone()
        seen.add(plain.untyped_storage().data_ptr())
        state[name] = plain.float() if plain.is_floating_point() else plain
    return state


def _may_replace(target: Path) -> bool:
    return target.is_dir() and ((target / OPEN_CLIP_CONFIG).is_file() or not any(target.iterdir()))


def _replace(aside: Path, target: Path) -> None:
    """Put a finished folder in the target's place; the old one is out of the way for no longer than a rename."""
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old-", dir=target.parent))
    try:
        if target.exists():
            target.rename(old / target.name)
        aside.rename(target)
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
