"""Gradient checkpointing: blocks of a trunk are computed again in the backward pass; what they made is not kept.

The libraries' own switches differ: transformers' works in training mode alone, open_clip's ResNets have none, and all
of them move the statistics of BatchNorm twice. So the blocks themselves are changed here, the same way for every kind.
Gradients stay the same, dropout included. It knows modules, and nothing of training.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from clipdata.encoder.towers import image_tower, text_tower


def checkpoint_blocks(model: nn.Module) -> None:
    """Have both towers of a model compute their blocks again, wherever gradients are asked for."""
    for tower in (image_tower(model), text_tower(model)):
        for block in tower.layers().modules:
            # A bound method, unlike a closure, follows its module through copy.deepcopy.
            block.__dict__["forward"] = types.MethodType(_forward, block)


def _forward(block: nn.Module, *args: Any, **kwargs: Any) -> Any:
    forward = type(block).forward
    if not torch.is_grad_enabled():
        return forward(block, *args, **kwargs)
    moving: list[nn.Module] = [
        one for one in block.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm) and one.training
    ]
    if not moving:
        return checkpoint(forward, block, *args, use_reentrant=False, **kwargs)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _statistics_held(moving)

    return checkpoint(forward, block, *args, use_reentrant=False, context_fn=contexts, **kwargs)


@contextmanager
def _statistics_held(moving: list[nn.Module]) -> Iterator[None]:
    """Move copies of the running statistics, which the forward itself has moved already."""
    held = [dict(one._buffers) for one in moving]
    for one in moving:
        one._buffers.update({name: None if tensor is None else tensor.clone() for name, tensor in one._buffers.items()})
    try:
        yield
    finally:
        for one, buffers in zip(moving, held, strict=True):
            one._buffers.update(buffers)
