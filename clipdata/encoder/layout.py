"""A model's folder: the names of its files, how to find it, and how to read what is not weights.

    open_clip_config.json       open_clip's architecture and preprocessing
    open_clip_model.safetensors weights, float32
    model_config.json           instead of these two, of a model that open_clip has no classes for: our own config of it
    model.safetensors           and its weights, float32
    config.json                 architecture of a Hugging Face text tower, if the model has one
    tokenizer files             if the model has a Hugging Face tokenizer
    clipdata_config.json        where the model comes from, its precision, its past trainings, and digests of its files
    trained_rows/<digest>.arrow which rows each of these trainings read
    README.md                   what to type to load it

It must know nothing of models; it imports neither torch nor open_clip.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from clipdata import trained_rows
from clipdata.cache_folder import cache_folder
from clipdata.errors import NotFoundError, StorageError, UsageError
from clipdata.json_parsing import json_kind, parse_json
from clipdata.printable import shell_word
from clipdata.trained_rows import OF_A_RUN, TrainedRows

OPEN_CLIP_CONFIG = "open_clip_config.json"
OWN_CONFIG = "model_config.json"
OPEN_CLIP_WEIGHTS = "open_clip_model.safetensors"
OWN_WEIGHTS = "model.safetensors"
TOWER_CONFIG = "config.json"
CLIPDATA_CONFIG = "clipdata_config.json"
# Any of them makes a tokenizer; which of them exist depends on its kind.
_TOKENIZER_MARKS = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
)
# A training run keeps its exported model here, beside these.
RUN_EXPORT = "export"
RUN_MARKS = (OF_A_RUN, "metrics.jsonl", "summary.json", "checkpoints")


def find_model_folder(path: Path) -> Path:
    """Return the folder that holds the model: the path itself, or `export/` inside a run's folder.

    Raises:
        NotFoundError: there is no such folder, or no model in it.
    """
    for folder in (path, path / RUN_EXPORT):
        if is_model_folder(folder):
            return folder.absolute()
    if not path.exists():
        raise NotFoundError(f"there is no folder {path}")
    if not path.is_dir():
        raise NotFoundError(
            f"{path} is a file; expected a folder with {OPEN_CLIP_CONFIG}",
            hint=f"to load weights into a known architecture, write its name first: 'ViT-B-32/{path}'",
        )
    held = ", ".join(sorted(entry.name for entry in path.iterdir())[:8]) or "nothing"
    raise NotFoundError(
        f"{path} holds no model: expected {OPEN_CLIP_CONFIG} in it or in its {RUN_EXPORT}/, found {held}",
        hint="a training run writes its model when it ends; the same clipdata train again goes on with it",
    )


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds the files of a Hugging Face tokenizer."""
    return any((folder / name).is_file() for name in _TOKENIZER_MARKS)


def is_model_folder(folder: Path) -> bool:
    """Whether a folder is that of a model."""
    return (folder / OPEN_CLIP_CONFIG).is_file() or (folder / OWN_CONFIG).is_file()


def is_foreign_folder(folder: Path) -> bool:
    """Whether a folder is that of a model in transformers' format, and not one of ours or a run with one."""
    is_ours = is_model_folder(folder) or is_model_folder(folder / RUN_EXPORT) or (folder / OF_A_RUN).is_file()
    return not is_ours and (folder / TOWER_CONFIG).is_file()


def is_own_config(model_cfg: Mapping[str, Any]) -> bool:
    """Whether a model's config is one of ours, which open_clip cannot read."""
    return "image" in model_cfg


def find_weights(folder: Path) -> Path:
    """Return the file of weights in a model's folder, by open_clip's order of preference.

    Raises:
        NotFoundError: there is none.
    """
    for pattern in (OPEN_CLIP_WEIGHTS, "open_clip_pytorch_model.*", "*.safetensors", "*.bin", "*.pth"):
        if found := sorted(folder.glob(pattern)):
            return found[-1]
    expected = OWN_WEIGHTS if (folder / OWN_CONFIG).is_file() else OPEN_CLIP_WEIGHTS
    raise NotFoundError(f"{folder} holds no weights; expected {expected}", hint=remedy(folder))


def is_run_export(folder: Path) -> bool:
    """Whether a model's folder is the one that a training run exported last."""
    return folder.name == RUN_EXPORT and any((folder.parent / name).is_file() for name in RUN_MARKS)


def remedy(folder: Path) -> str:
    """What to type where a file of a model's folder is missing or damaged."""
    if folder.parent == cache_folder():
        return f"it is made again once it is gone: rm -r {shell_word(str(folder))}"
    if not is_run_export(folder):
        return "copy the model's folder whole, with the folders in it, or export it again"
    if any((folder.parent / "checkpoints").glob("step-*")):
        again = "the same clipdata train again writes it anew from the newest checkpoint"
        return f"rm -r {shell_word(str(folder))}; then {again}"
    return "the run has no checkpoint to write its model from: clipdata train … --overwrite trains it anew"


def read_about(folder: Path) -> dict[str, Any]:
    """Read what clipdata wrote of a model beside open_clip's config; empty for a folder that something else wrote.

    Raises:
        UsageError: the file is not one of clipdata's.
    """
    path = folder / CLIPDATA_CONFIG
    try:
        about = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise UsageError(f"{path} is not JSON: {error}", hint=remedy(folder)) from error
    if not isinstance(about, dict):
        raise UsageError(f"{path} holds {json_kind(about)}; expected an object", hint=remedy(folder))
    return about


def read_trained_rows(folder: Path) -> tuple[TrainedRows, ...]:
    """Read which rows the trainings in a model's past read, first training first.

    Raises:
        StorageError: a record is missing or was changed, so that nobody could tell seen rows from unseen.
    """
    read = []
    for path in trained_rows_files(folder):
        try:
            read.append(TrainedRows.from_bytes(path.read_bytes()))
        except StorageError as error:
            raise StorageError(f"{path}: {error.message}", hint=remedy(folder)) from error
    return tuple(read)


def trained_rows_files(folder: Path) -> list[Path]:
    """The files that say which rows the trainings in a model's past read, first training first.

    Raises:
        StorageError: one is missing; or what names them is, and there were trainings.
    """
    named = read_about(folder).get("trained_rows", [])
    if not isinstance(named, list) or not all(isinstance(digest, str) for digest in named):
        raise StorageError(
            f"{folder / CLIPDATA_CONFIG}: trained_rows is {json_kind(named)}; expected a list of names of files",
            hint=remedy(folder),
        )
    paths = [folder / trained_rows.FOLDER / f"{digest}.arrow" for digest in named]
    for path in paths:
        if not path.is_file():
            raise StorageError(f"{path} is missing: it says which rows the model was trained on", hint=remedy(folder))
    kept = {*(folder / trained_rows.FOLDER).glob("*.arrow")}
    of_run = is_run_export(folder) and (folder.parent / OF_A_RUN).is_file()
    if not kept <= {*paths} or (of_run and not paths):
        path = folder / CLIPDATA_CONFIG
        found = "does not name all of" if path.is_file() else "is missing: it names"
        raise StorageError(
            f"{path} {found} the files that say which rows the model was trained on", hint=remedy(folder)
        )
    return paths


def write_trained_rows(folder: Path, trained_on: Iterable[TrainedRows]) -> list[str]:
    """Write the records of trainings into a model's folder; return their digests, for `clipdata_config.json`."""
    distinct = {rows.digest: rows for rows in trained_on}
    if distinct:
        (folder / trained_rows.FOLDER).mkdir()
    for digest, rows in distinct.items():
        (folder / trained_rows.FOLDER / f"{digest}.arrow").write_bytes(rows.to_bytes())
    return list(distinct)


def note_place(folder: Path) -> None:
    """Write into a moved folder's config where its text tower lies now, for open_clip, which takes no relative path.

    Only in folders that clipdata wrote; one that may not be written stays as it is.
    """
    path = folder / OPEN_CLIP_CONFIG
    config = parse_json(path.read_text(encoding="utf-8"))
    text_cfg = config["model_cfg"]["text_cfg"]
    if text_cfg.get("hf_model_name") in (None, str(folder)) or not (folder / CLIPDATA_CONFIG).is_file():
        return
    for name in ("hf_model_name", "hf_tokenizer_name"):
        text_cfg.update({name: str(folder)} if text_cfg.get(name) else {})
    with suppress(OSError):
        write_json(path, config)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file that appears whole, for whoever may read its folder."""
    aside = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        aside.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        aside.chmod(0o644)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def read_config(path: Path) -> dict[str, Any]:
    """Read an `open_clip_config.json`.

    Raises:
        UsageError: the file is not one.
    """
    try:
        config = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{path} is not an open_clip config: {error}", hint=remedy(path.parent)) from error
    if not isinstance(config, dict):
        raise UsageError(f"{path} is not an open_clip config: it is {json_kind(config)}", hint=remedy(path.parent))
    model_cfg = config.get("model_cfg")
    if not isinstance(model_cfg, dict) or not {"embed_dim", "text_cfg", "vision_cfg"} <= set(model_cfg):
        raise UsageError(
            f"{path} is not an open_clip config: model_cfg needs embed_dim, vision_cfg and text_cfg",
            hint=remedy(path.parent),
        )
    towers = ("text_cfg", "vision_cfg")
    wrong = [f"{name} is {json_kind(model_cfg[name])}" for name in towers if not isinstance(model_cfg[name], dict)]
    if wrong:
        raise UsageError(
            f"{path} is not an open_clip config: {' and '.join(wrong)}; expected an object", hint=remedy(path.parent)
        )
    return config
