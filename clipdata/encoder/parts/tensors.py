"""Files of weights, and how they are put into a module: every weight of it, and no other architecture's.

It must know no kind of tower. Half-precision weights become float32, since training in them loses small updates.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from clipdata.errors import NotFoundError, UsageError
from clipdata.json_parsing import parse_json

_PATTERNS = (
    "model.safetensors.index.json",
    "pytorch_model.bin.index.json",
    "model.safetensors",
    "pytorch_model.bin",
    "*.safetensors",
    "*.bin",
    "*.pth",
    "*.pt",
)
# What programs of training wrap weights in.
_WRAPPERS = ("state_dict", "model", "model_state_dict", "network", "state_dict_ema", "model_ema")
# Counters and positions that files of other versions lack or carry, and that decide nothing.
_IMMATERIAL = ("num_batches_tracked", "position_ids")


def weights_in(folder: Path) -> Path | None:
    """The file of weights in a folder, or None; an index stands for its shards."""
    for pattern in _PATTERNS:
        if found := sorted(folder.glob(pattern)):
            return found[0]
    return None


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read weights as float32 by name, from a file or from a folder with one.

    Raises:
        NotFoundError: there is no such file, or the folder holds none.
        UsageError: the file holds no weights, or was cut short.
    """
    path = path.expanduser()
    if path.is_dir():
        found = weights_in(path)
        if found is None:
            held = ", ".join(sorted(entry.name for entry in path.iterdir())[:8]) or "nothing"
            raise NotFoundError(f"{path} holds no weights: expected model.safetensors or such, found {held}")
        path = found
    if not path.is_file():
        raise NotFoundError(f"there is no file of weights {path}")
    if path.name.endswith(".index.json"):
        shards = sorted(set(parse_json(path.read_text(encoding="utf-8"))["weight_map"].values()))
        return {name: tensor for shard in shards for name, tensor in read_tensors(path.with_name(shard)).items()}
    try:
        tensors = _unwrapped(_loaded(path))
    except (SafetensorError, UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        said = str(error).strip().partition("\n")[0][:200]
        raise UsageError(f"{path} holds no weights that can be read: {said}", hint="was the file cut short?") from error
    if not tensors:
        raise UsageError(f"{path} holds no tensors by name; expected the state dict of a model")
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def put_in(
    module: nn.Module,
    tensors: Mapping[str, torch.Tensor],
    source: str | os.PathLike[str],
    *,
    what: str,
    spare: Callable[[str], bool] = lambda name: False,  # noqa: ARG005
    without: Iterable[str] = (),
) -> None:
    """Load weights into a module: all of its own, under whatever prefix they have; never some of them silently.

    Args:
        module: gets them.
        tensors: by name; where all names that fit begin with a prefix ("bert.", "visual.trunk."), others are ignored.
        source: where they come from, for errors.
        what: what the module is, for errors.
        spare: whether a name that the module lacks may stay unused, such as a classifier's.
        without: names of the module's that are not asked for.

    Raises:
        UsageError: weights are missing, have other shapes, or belong to what the module does not have.
    """
    wanted = {name: tensor for name, tensor in module.state_dict().items() if name not in set(without)}
    prefix = _prefix(wanted, tensors)
    given = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    missing = [name for name in wanted if name not in given and not name.endswith(_IMMATERIAL)]
    extra = [n for n in given if n not in wanted and not n.endswith(_IMMATERIAL) and not spare(n)]
    other = [
        f"{name} is {list(given[name].shape)} and should be {list(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in given and given[name].shape != tensor.shape
    ]
    problems = [
        f"{len(names)} {said}: {', '.join(names[:3])}{' …' if len(names) > 3 else ''}"
        for names, said in ((missing, "missing"), (extra, "too many"), (other, "of another shape"))
        if names
    ]
    if problems:
        raise UsageError(
            f"{source} does not hold the weights of {what}: {'; '.join(problems)}",
            hint="another architecture's weights, or another size of it",
        )
    chosen = {name: given[name] for name in wanted if name in given}
    module.load_state_dict(chosen, strict=False)


def _prefix(wanted: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """What stands before the module's names in a file: what most of them fit with."""
    probe = max(wanted, key=lambda name: (name.count("."), len(name)))
    candidates = {name.removesuffix(probe) for name in given if name == probe or name.endswith(f".{probe}")} | {""}
    return max(sorted(candidates), key=lambda prefix: sum(f"{prefix}{name}" in given for name in wanted))


def _loaded(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _unwrapped(loaded: Any) -> dict[str, torch.Tensor]:
    while isinstance(loaded, Mapping):
        inner = next((loaded[name] for name in _WRAPPERS if isinstance(loaded.get(name), Mapping)), None)
        if inner is None:
            return {str(name): value for name, value in loaded.items() if isinstance(value, torch.Tensor)}
        loaded = inner
    return {}
