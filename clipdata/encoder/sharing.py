"""A model beside another one, with tensors in common: what neither of them changes stands in memory once.

It must know nothing of what trains, or why.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import nn


def sharing_copy(model: nn.Module) -> nn.Module:
    """Copy a model's modules and none of their tensors, but for single numbers.

    What is done to a module or a parameter of the copy (held still, given a gradient) is not done to the model's. What
    is written into a tensor would be, until the copy is given its own (`own_tensors`).
    """
    memo: dict[int, object] = {}
    for parameter in model.parameters():
        # Through `data`, which counts its own changes: the model's identity is looked at by the count of its tensors.
        memo[id(parameter)] = type(parameter)(_shared(parameter), parameter.requires_grad)
    for buffer in model.buffers():
        memo[id(buffer)] = _shared(buffer)
    return copy.deepcopy(model, memo)


def own_tensors(model: nn.Module, names: Iterable[str]) -> None:
    """Give a copy tensors of its own, under some names, with the values that they have."""
    for name in names:
        path, _, last = name.rpartition(".")
        module = model.get_submodule(path)
        if last in module._buffers:
            buffer = module.get_buffer(last)
            module._buffers[last] = buffer.clone()
        else:
            parameter = module.get_parameter(last)
            parameter.data = parameter.data.clone()


def _shared(tensor: torch.Tensor) -> torch.Tensor:
    # Of a tensor that was made in inference mode no gradient can be taken, and a single number costs nothing.
    return tensor.detach().clone() if tensor.is_inference() or tensor.numel() == 1 else tensor.data
