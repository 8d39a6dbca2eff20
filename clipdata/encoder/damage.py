"""Damage: what is missing, cut short or changed in a model's folder that clipdata wrote.

A look at a folder costs the headers of its files. Whoever loads the weights reads all of them, and holds them to the
digests that were written beside them. It knows files, and loads no model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clipdata.encoder.layout import (
    CLIPDATA_CONFIG,
    OPEN_CLIP_CONFIG,
    OWN_CONFIG,
    find_weights,
    is_model_folder,
    read_about,
    read_config,
    remedy,
    trained_rows_files,
)
from clipdata.errors import ClipdataError, StorageError
from clipdata.json_parsing import json_kind, parse_json
from clipdata.plurals import counted

# Written after the model, or into a folder that was moved.
_MAY_CHANGE = frozenset({CLIPDATA_CONFIG, OPEN_CLIP_CONFIG, "README.md"})
_FILES = "files"


def file_digests(folder: Path) -> dict[str, Any]:
    """What `clipdata_config.json` says of the files of a model that stay as they were written: name → sha256."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and path.name not in _MAY_CHANGE)
    return {_FILES: {name: _sha256(folder / name) for name in names}}


def check_files(folder: Path) -> None:
    """Hold the files of a model to their digests; a folder of an earlier release, or of something else, has none.

    Raises:
        StorageError: one was changed since it was written, or is missing.
    """
    for name, digest in _digests(folder).items():
        path = folder / name
        _require_there(path, folder)
        if _sha256(path) != digest:
            meant = f"if it was changed on purpose, remove {_FILES} from {CLIPDATA_CONFIG}"
            raise StorageError(f"{path} is not as it was written", hint=f"{remedy(folder)}; {meant}")


def check_model(folder: Path) -> None:
    """Look whether a model's folder is whole, by what its files are and how long they are.

    Raises:
        ClipdataError: something is missing or cut short; it is named, with what to type.
    """
    if not is_model_folder(folder):
        raise StorageError(f"{folder} holds no model: it has no {OPEN_CLIP_CONFIG}", hint=remedy(folder))
    if (folder / OWN_CONFIG).is_file():
        _require_object(folder / OWN_CONFIG)
    else:
        read_config(folder / OPEN_CLIP_CONFIG)
    weights = find_weights(folder)
    if weights.suffix == ".safetensors":
        _require_whole(weights)
    for name in _digests(folder):
        _require_there(folder / name, folder)
    for path in trained_rows_files(folder):
        if not path.stat().st_size:
            raise StorageError(f"{path} is empty: it says which rows the model was trained on", hint=remedy(folder))


def damage_of(folder: Path) -> str | None:
    """What `check_model` finds, in words; None where the folder is whole."""
    try:
        check_model(folder)
    except ClipdataError as error:
        return error.message
    except OSError as error:
        return f"{folder} cannot be read: {error.strerror or error}"
    return None


def _digests(folder: Path) -> Mapping[str, str]:
    found = read_about(folder).get(_FILES, {})
    if not isinstance(found, dict):
        path = folder / CLIPDATA_CONFIG
        raise StorageError(f"{path}: {_FILES} is {json_kind(found)}; expected an object", hint=remedy(folder))
    return found


def _require_there(path: Path, folder: Path) -> None:
    if not path.is_file():
        raise StorageError(f"{path} is missing", hint=remedy(folder))


def _require_object(path: Path) -> None:
    try:
        found = parse_json(path.read_bytes())
    except ValueError as error:
        raise StorageError(f"{path} cannot be read: {error}", hint=remedy(path.parent)) from error
    if not isinstance(found, dict):
        raise StorageError(f"{path} holds {json_kind(found)}; expected an object", hint=remedy(path.parent))


def _require_whole(path: Path) -> None:
    """Check that a file of safetensors is as long as its header says."""
    num_bytes, expected = path.stat().st_size, 8
    with path.open("rb") as stream:
        expected += int.from_bytes(stream.read(8), "little")
        header = stream.read(expected - 8) if expected <= num_bytes else b""
    try:
        found = parse_json(header) if header else {}
        ends = [one["data_offsets"][1] for name, one in found.items() if name != "__metadata__"]
        expected += max(ends, default=0)
    except (AttributeError, LookupError, TypeError, ValueError):
        expected = -1
    if expected < 0 or expected != num_bytes or not header:
        whole = f": {counted(num_bytes, 'byte')} of {expected:,}" if header and expected > num_bytes else ""
        raise StorageError(f"{path} is damaged, or was cut short{whole}", hint=remedy(path.parent))


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
