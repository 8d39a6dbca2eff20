"""Writes a model as a folder that stands alone and that open_clip loads by itself; layout.py lists its files.

The counterpart of `loading.load_encoder`. It must know nothing of training or runs, beyond the record of the rows that
were trained on.
"""

from __future__ import annotations

import copy
import glob
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from clipdata.current_folder import absolute_path
from clipdata.disk import sync_above, sync_below
from clipdata.encoder.damage import file_digests
from clipdata.encoder.layout import (
    CLIPDATA_CONFIG,
    OPEN_CLIP_CONFIG,
    OPEN_CLIP_WEIGHTS,
    OWN_CONFIG,
    OWN_WEIGHTS,
    is_model_folder,
    is_own_config,
    is_run_export,
    write_json,
    write_trained_rows,
)
from clipdata.encoder.quiet import quiet_libraries
from clipdata.errors import StorageError, UsageError

if TYPE_CHECKING:
    from clipdata.encoder.model import Encoder
    from clipdata.encoder.preparation import Preparation
    from clipdata.encoder.tokenization import TextTokenizer
    from clipdata.trained_rows import TrainedRows

_ABANDONED_AFTER_S = 3600.0
# Longer than the moment between a living writer's two renames.
_KILLED_AFTER_S = 10.0

_README = """An image-text model in open_clip's format, exported by clipdata. In clipdata:

    encoder = clipdata.load_encoder("{path}")

With open_clip alone:

    model, _, preprocess = open_clip.create_model_and_transforms("local-dir:{path}")
    tokenizer = open_clip.get_tokenizer("local-dir:{path}")
{moved}"""

_OWN_README = """An image-text model of two towers, exported by clipdata. In clipdata:

    encoder = clipdata.load_encoder("{path}")

open_clip cannot load it by itself:

{why_not}

The folder may be moved. The towers alone, for transformers and timm:

    clipdata export-towers {path} --out DIR
"""

_MOVED = """
open_clip looks for the text tower's `config.json` at the path that `text_cfg.hf_model_name` in `open_clip_config.json`
names, and takes none that is relative to this folder. After the folder was moved, loading it once with clipdata writes
its new path there.
"""


def export(
    model: nn.Module, encoder: Encoder, path: str | os.PathLike[str], *, trained_on: Iterable[TrainedRows] = ()
) -> Path:
    """Write a model with the preprocessing and tokenizer of an encoder, so that loading it gives equal features.

    The folder appears whole or not at all; an earlier export at the same path is replaced.

    Args:
        model: open_clip model whose weights are written; `encoder.model`, or one trained from it.
        encoder: encoder of the same architecture that the model comes from.
        path: local folder to write.
        trained_on: rows of the trainings that made this model of the encoder's; those in the encoder's own past are
            carried along.

    Returns:
        the absolute path of the folder.

    Raises:
        UsageError: the path holds something else than an export.
        StorageError: the folder cannot be written.
    """
    target = absolute_path(path)
    if target.exists() and not _may_replace(target):
        raise UsageError(f"{target} exists and is not an exported model", hint="choose a path that does not exist yet")
    try:
        aside = begin_folder(target)
        try:
            past = write_trained_rows(aside, (*encoder.trained_on, *trained_on))
            made_of = {"name": encoder.name, "made_from": encoder.identity}
            about = {**made_of, "precision": encoder.precision, "trained_rows": past}
            write_model(aside, target, model, encoder.model_cfg, encoder.prepare, encoder.tokenize, about)
            put_in_place(aside, target)
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
    _bring_back(target)
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
    with quiet_libraries():
        tokenize.save(folder)
    write = _write_own if is_own_config(model_cfg) else _write_open_clip
    readme = write(folder, target, model, model_cfg, prepare, tokenize)
    write_json(folder / CLIPDATA_CONFIG, {"format": 1, **about, **file_digests(folder)})
    title = about.get("name", target.name)
    (folder / "README.md").write_text(f"# {title}\n\n{readme}", encoding="utf-8")
    # Written aside as private files; a model in a shared place is for whoever may read that place.
    folder.chmod(0o755)
    for entry in folder.rglob("*"):
        entry.chmod(0o755 if entry.is_dir() else 0o644)


def _write_open_clip(
    folder: Path,
    target: Path,
    model: nn.Module,
    model_cfg: Mapping[str, Any],
    prepare: Preparation,
    tokenize: TextTokenizer,
) -> str:
    """Write a model that open_clip can load; return what to type for that."""
    save_tensors(model.state_dict(), folder / OPEN_CLIP_WEIGHTS)
    config = copy.deepcopy(dict(model_cfg))
    tower = getattr(getattr(model, "text", None), "config", None)
    if tower is not None:
        with quiet_libraries():
            tower.save_pretrained(str(folder))
        config["text_cfg"]["hf_model_name"] = str(target)
    if tokenize.is_hugging_face:
        config["text_cfg"]["hf_tokenizer_name"] = str(target)
    write_json(folder / OPEN_CLIP_CONFIG, {"model_cfg": config, "preprocess_cfg": prepare.to_config()})
    return _README.format(path=target, moved=_MOVED if tower is not None else "")


def _write_own(
    folder: Path,
    target: Path,
    model: Any,
    model_cfg: Mapping[str, Any],
    prepare: Preparation,  # noqa: ARG001 - it is in the config
    tokenize: TextTokenizer,  # noqa: ARG001 - it lies beside it
) -> str:
    """Write a model that only clipdata can load whole; return why, and what to type."""
    save_tensors(model.state_dict(), folder / OWN_WEIGHTS)
    write_json(folder / OWN_CONFIG, model_cfg)
    return _OWN_README.format(path=target, why_not="\n".join(f"- {reason}" for reason in model.why_not))


def save_tensors(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write tensors by name as float32 safetensors."""
    from safetensors.torch import save_file

    save_file(_plain(tensors), path, metadata={"format": "pt"})


def _plain(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the weights as safetensors wants them: contiguous, and no two sharing memory."""
    state: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        plain = tensor.detach().to("cpu").contiguous()
        if plain.untyped_storage().data_ptr() in seen or plain.untyped_storage().nbytes() != plain.nbytes:
            plain = plain.clone()
        seen.add(plain.untyped_storage().data_ptr())
        state[name] = plain.float() if plain.is_floating_point() else plain
    return state


def _may_replace(target: Path) -> bool:
    is_own = is_model_folder(target) or (target / CLIPDATA_CONFIG).is_file() or is_run_export(target)
    return target.is_dir() and (is_own or not any(target.iterdir()))


def put_in_place(aside: Path, target: Path) -> None:
    """Put a finished folder in the target's place; the old one is out of the way for no longer than a rename.

    When the new one cannot be put there, the old one is put back.
    """
    sync_below(aside)
    if not target.exists():
        aside.rename(target)
        sync_above(target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old-", dir=target.parent))
    target.rename(old / target.name)
    try:
        aside.rename(target)
    except OSError:
        (old / target.name).rename(target)
        old.rmdir()
        raise
    sync_above(target)
    shutil.rmtree(old, ignore_errors=True)


def _bring_back(target: Path) -> None:
    """Put an export back that a writer, killed between its two renames, left out of the way."""
    for old in target.parent.glob(f"{glob.escape(f'.{target.name}.old-')}*"):
        age_s = time.time() - old.stat().st_mtime
        if age_s > _KILLED_AFTER_S and not target.exists() and (old / target.name).is_dir():
            (old / target.name).rename(target)
        if age_s > _ABANDONED_AFTER_S:
            shutil.rmtree(old, ignore_errors=True)
