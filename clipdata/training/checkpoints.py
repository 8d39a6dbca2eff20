"""Checkpoints: a folder a step that exists whole or not at all.

    checkpoints/step-200/weights.safetensors    the trained tensors alone; the rest is as in the encoder it began with
    checkpoints/step-200/state.pt               optimizer, scaler, random state, cursor; read with weights_only

One is written aside, synced to disk and renamed. This module knows files and tensors, and not what they mean.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from clipdata.disk import sync, sync_above
from clipdata.errors import StorageError
from clipdata.printable import shell_word
from clipdata.training.memory_watch import is_out_of_memory
from clipdata.training.state_files import writing

_NAME = re.compile(r"step-(\d+)")
_ASIDE = ".aside-"
_WEIGHTS, _STATE = "weights.safetensors", "state.pt"
_DISK_FAILED = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENXIO, errno.EMFILE, errno.ENFILE}


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint on disk."""

    step: int
    path: Path

    def load(self, device: torch.device | str = "cpu") -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Read the weights (onto a device) and the state.

        Raises:
            StorageError: a file is missing, damaged, or may not be read; the memory does not suffice.
        """
        try:
            weights = load_file(self.path / _WEIGHTS, device=str(device))
            state = torch.load(self.path / _STATE, weights_only=True, map_location="cpu")
        except Exception as error:
            raise self._unread(error, device) from error
        return weights, state

    def _unread(self, error: Exception, device: torch.device | str) -> StorageError:
        """Why it could not be read: only what is damaged or incomplete is to be removed."""
        what, again = f"the checkpoint {self.path}", "then the same command goes on from it"
        if is_out_of_memory(error):
            where = "the GPU" if torch.device(device).type == "cuda" else "this machine"
            return StorageError(
                f"{what} is whole, and the memory of {where} does not hold it: {_first_line(error)}",
                hint=f"free memory on {where}, or go on where there is more; {again}",
            )
        # Asked of the system: safetensors says of a file that may not be read that there is none, and nobody can say
        # what is in a folder that may not be entered.
        may_enter = os.access(self.path, os.R_OK | os.X_OK)
        missing = [name for name in (_WEIGHTS, _STATE) if may_enter and not (self.path / name).exists()]
        if not may_enter or not (missing or all(os.access(self.path / name, os.R_OK) for name in (_WEIGHTS, _STATE))):
            return StorageError(f"{what} may not be read by this user", hint=f"chmod -R u+rX {self.path}; {again}")
        if missing:
            why = f"is not whole: {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
        elif isinstance(error, OSError) and error.errno in _DISK_FAILED:
            return StorageError(f"{what} cannot be read: {error}", hint=f"see to the disk; {again}")
        else:
            why = f"is damaged: {_first_line(error)}"
        return StorageError(
            f"{what} {why}", hint=f"remove it to go on from the one before: rm -r {shell_word(str(self.path))}"
        )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def save(folder: Path, step: int, weights: Mapping[str, torch.Tensor], state: Mapping[str, Any]) -> Checkpoint:
    """Write a checkpoint; after a crash at any moment the folder holds it whole or not at all.

    Raises:
        StorageError: it cannot be written; those before it are unharmed.
    """
    aside, final = folder / f"{_ASIDE}step-{step}", folder / f"step-{step}"
    with writing(final):
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in (aside, final):
            if leftover.exists():
                shutil.rmtree(leftover)
        aside.mkdir()
        try:
            with writing(final):
                _write(aside, weights, state)
        except Exception:  # what is half-written would hold the room that a full disk lacks
            shutil.rmtree(aside, ignore_errors=True)
            raise
        aside.rename(final)
        sync(folder)
        sync_above(folder)
    return Checkpoint(step, final)


def _write(aside: Path, weights: Mapping[str, torch.Tensor], state: Mapping[str, Any]) -> None:
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}, aside / _WEIGHTS)
    torch.save(dict(state), aside / _STATE)
    for path in (aside / _WEIGHTS, aside / _STATE, aside):
        sync(path)


def complete(folder: Path) -> list[Checkpoint]:
    """List complete checkpoints, oldest first."""
    if not folder.is_dir():
        return []
    found = [(_NAME.fullmatch(path.name), path) for path in folder.iterdir()]
    return sorted((Checkpoint(int(name[1]), path) for name, path in found if name), key=lambda one: one.step)


def prune(folder: Path, keep: int) -> None:
    """Remove all but the newest checkpoints, and what a crash left half-written."""
    with writing(folder):
        for old in complete(folder)[:-keep]:
            # Renamed first, on the disk too: a crash inside rmtree must not leave something that looks complete.
            gone = old.path.with_name(f"{_ASIDE}{old.path.name}")
            old.path.rename(gone)
        if leftovers := list(folder.glob(f"{_ASIDE}*")):
            sync(folder)
            for leftover in leftovers:
                shutil.rmtree(leftover)
            sync(folder)
