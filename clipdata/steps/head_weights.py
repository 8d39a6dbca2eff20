"""Head weights: the linear layers in a file of a few formats, first to last, held to fit one another.

It reads arrays, and runs no code that a file may hold. It knows no table.

Shapes: I inputs and O outputs of a layer.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clipdata.errors import UsageError
from clipdata.json_parsing import parse_json

SUFFIXES = (".npz", ".safetensors", ".pth", ".pt", ".json")
_WEIGHTS, _BIASES = {"weight", "weights", "w", "coef", "coef_"}, {"bias", "biases", "b", "intercept", "intercept_"}
_WRAPPERS = ("state_dict", "model_state_dict", "model", "layers")


@dataclass(frozen=True)
class Layer:
    """One linear layer: x ↦ weight · x + bias.

    Args:
        weight_OI: float64.
        bias_O: float64.
    """

    weight_OI: np.ndarray
    bias_O: np.ndarray


def read_layers(path: Path, data: bytes, *, asker: str) -> list[Layer]:
    """Read the layers of a file.

    Args:
        path: by whose ending the format is known.
        data: the file's bytes.
        asker: who was given the file, for messages.

    Raises:
        UsageError: it is of another format, damaged, or holds something else than linear layers that follow each other.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{asker}: weights {path} ends in {path.suffix!r}; expected one of {', '.join(SUFFIXES)}")
    try:
        arrays = _flat(_read(path.suffix.lower(), data))
    except UsageError:
        raise
    except Exception as error:  # each format's reader fails in ways of its own on a damaged file
        raise UsageError(f"{asker}: weights {path} cannot be read: {error!s:.200}") from error
    try:
        return _layers(arrays)
    except ValueError as error:
        hint = "a layer is NAME.weight [outputs, inputs] and NAME.bias [outputs]; a single one needs no NAME"
        raise UsageError(f"{asker}: weights {path}: {error}", hint=hint) from error


def _read(suffix: str, data: bytes) -> Any:
    if suffix == ".npz":
        with np.load(io.BytesIO(data), allow_pickle=False) as held:
            return {name: held[name] for name in held.files}
    if suffix == ".json":
        return parse_json(data)
    import torch

    if suffix == ".safetensors":
        import safetensors.torch

        return safetensors.torch.load(data)
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _flat(held: Any, prefix: str = "") -> dict[str, np.ndarray]:
    """Every array by its dotted name, whatever it is wrapped in."""
    if isinstance(held, Mapping):
        for wrapper in _WRAPPERS:
            if not prefix and isinstance(held.get(wrapper), Mapping | list) and _holds_arrays(held[wrapper]):
                return _flat(held[wrapper], f"{wrapper}.")
        flat: dict[str, np.ndarray] = {}
        for name, value in held.items():
            flat |= _flat(value, f"{prefix}{name}" if _is_array(value) else f"{prefix}{name}.")
        return flat
    if isinstance(held, list) and held and isinstance(held[0], Mapping):
        return _flat({str(place): layer for place, layer in enumerate(held)}, prefix)
    if not _is_array(held):
        return {}  # settings that stand beside the weights
    array = held.float().numpy() if hasattr(held, "numpy") else np.asarray(held)
    return {prefix: array.astype(np.float64)}


def _holds_arrays(held: Any) -> bool:
    return bool(_flat(held, "."))


def _is_array(held: Any) -> bool:
    if isinstance(held, list):
        return bool(held) and not isinstance(held[0], Mapping)
    return isinstance(held, np.ndarray) or hasattr(held, "numpy")


def _layers(arrays: Mapping[str, np.ndarray]) -> list[Layer]:
    weights: dict[str, np.ndarray] = {}
    biases: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        place, _, kind = name.rpartition(".")
        if kind.lower() not in _WEIGHTS | _BIASES:
            raise ValueError(f"it holds {name!r}, which is neither the weight nor the bias of a linear layer")
        (weights if kind.lower() in _WEIGHTS else biases)[place] = array
    if not weights or biases.keys() - weights.keys():
        raise ValueError(f"it holds {', '.join(map(repr, arrays)) or 'no arrays'}, but not the weight of each layer")
    layers: list[Layer] = []
    for place in sorted(weights, key=_natural):
        layers.append(_layer(place, weights[place], biases.get(place)))
        if len(layers) > 1 and layers[-1].weight_OI.shape[1] != len(layers[-2].bias_O):
            found = f"layer {place!r} takes {layers[-1].weight_OI.shape[1]} numbers"
            raise ValueError(f"{found}; the one before it gives {len(layers[-2].bias_O)}")
    return layers


def _layer(place: str, weight: np.ndarray, bias: np.ndarray | None) -> Layer:
    weight_OI = weight[None] if weight.ndim == 1 else weight
    if weight_OI.ndim != 2 or not weight_OI.size:
        raise ValueError(f"weight {place!r} has the shape {weight.shape}; expected [outputs, inputs]")
    bias_O = np.zeros(len(weight_OI)) if bias is None else bias.reshape(-1)
    if len(bias_O) != len(weight_OI):
        raise ValueError(f"layer {place!r} has {len(weight_OI)} outputs and {len(bias_O)} biases")
    if not (np.isfinite(weight_OI).all() and np.isfinite(bias_O).all()):
        raise ValueError(f"layer {place!r} holds NaN or infinity")
    return Layer(weight_OI, bias_O)


def _natural(name: str) -> list[tuple[int, str]]:
    """Layers in the order of their numbers: "layers.2" before "layers.10"."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"[._]", name)]
