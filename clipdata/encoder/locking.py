"""Which parts of a live open_clip model train, and how the others are held still.

It must know nothing of losses, optimisers or tables.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Literal, get_args

from torch import nn

from clipdata.encoder.adapters import additions
from clipdata.encoder.towers import image_tower, text_tower
from clipdata.errors import UsageError

TrainedPart = Literal["projections", "last_blocks", "lora", "text", "all"]


def lock(model: nn.Module, train: TrainedPart = "projections", *, num_blocks: int = 1) -> list[str]:
    """Choose what trains, and hold the rest still: no gradient, no dropout, no moving batch statistics.

    What is held still stays so when somebody calls `model.train()`. A later call replaces an earlier one.

    Args:
        model: open_clip's CLIP, CustomTextCLIP or CoCa, or an AssembledModel.
        train: "projections" trains both heads and the logit scale and bias, "last_blocks" also the last blocks of
            both trunks with the norms behind them, "lora" also the additions that `adapters.insert` made, "text" also
            the whole text tower and nothing of the image trunk (locked-image tuning), "all" everything.
        num_blocks: how many blocks of a tower "last_blocks" trains.

    Returns:
        names of the trained parameters, in the model's order.

    Raises:
        UsageError: `train` or `num_blocks` is not one of the choices.
    """
    if train not in get_args(TrainedPart):
        raise UsageError(f"train is {train!r}; expected one of {', '.join(get_args(TrainedPart))}")
    if num_blocks < 1:
        raise UsageError(f"num_blocks is {num_blocks}; expected 1 or more")
    trained = {id(parameter) for parameter in _trained_parameters(model, train, num_blocks)}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in trained)
    for module in model.modules():
        module.__dict__.pop("train", None)
    _hold_still(model)
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


def _trained_parameters(model: nn.Module, train: TrainedPart, num_blocks: int) -> Iterator[nn.Parameter]:
    if train == "all":
        yield from model.parameters()
        return
    if train == "text":
        yield from (parameter for name, parameter in model.named_parameters() if not name.startswith("visual."))
    towers = image_tower(model), text_tower(model)
    for tower in towers:
        yield from tower.head_parameters
    for name in ("logit_scale", "logit_bias"):
        if isinstance(getattr(model, name, None), nn.Parameter):
            yield model.get_parameter(name)
    if train == "last_blocks":
        for tower in towers:
            yield from tower.layers().last(num_blocks)
    if train == "lora":
        for added in additions(model):
            yield from added.parameters()


def _stay_in_eval(module: nn.Module, mode: bool = True) -> nn.Module:
    """Take the place of `train` on a module that is held still; low-rank additions in it are no part of it."""
    nn.Module.train(module, False)
    for added in additions(module):
        added.train(mode and any(parameter.requires_grad for parameter in added.parameters()))
    return module


def _hold_still(module: nn.Module, before_locked: bool = False) -> None:
    """Hold a module still if nothing in it trains but additions, else what in it is locked.

    A module without parameters, such as dropout, belongs to the locked part if something locked comes after it.
    """
    added = {id(parameter) for one in additions(module) for parameter in one.parameters()}
    trains = [parameter.requires_grad for parameter in module.parameters() if id(parameter) not in added]
    if not any(trains) and (trains or before_locked):
        # A bound method, unlike a closure, follows its module through copy.deepcopy.
        module.__dict__["train"] = types.MethodType(_stay_in_eval, module)
        module.eval()
        return
    locked_behind = False
    for child in reversed(list(module.children())):
        _hold_still(child, locked_behind)
        locked_behind = locked_behind or any(not parameter.requires_grad for parameter in child.parameters())
