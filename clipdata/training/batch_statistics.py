"""Statistics of a batch that several processes hold: BatchNorm layers that make theirs of the rows of all of them.

torch's own SyncBatchNorm runs on GPUs alone. These are exact on any device: mean and variance are those of one process
with all rows, and so are their gradients, as a process may have any number of rows. A layer whose `counts` is False
normalises rows and makes nothing of them. It knows layers and torch.distributed, and nothing of what a batch is.

Shapes: B rows of this process, C channels; C1 is a vector over channels that fits beside [B, C, …].
"""

from __future__ import annotations

import types
from typing import Any

import torch
from torch import distributed, nn

from clipdata.errors import UsageError

BatchNorm = nn.modules.batchnorm._BatchNorm


def share_statistics(model: nn.Module) -> None:
    """Have every BatchNorm layer that makes statistics make them of the rows of all processes.

    Raises:
        UsageError: a layer does something of its own with a batch.
    """
    for name, layer in model.named_modules():
        if not isinstance(layer, BatchNorm) or not layer.training:
            continue
        if type(layer).forward is not BatchNorm.forward and not _only_adds_activation(layer):
            raise UsageError(
                f"{name} is a {type(layer).__name__}, whose statistics several processes cannot share",
                hint="hold them as they are: --set freeze_batchnorm=true; or train in one process",
            )
        layer.__dict__["forward"] = types.MethodType(_forward, layer)


def _only_adds_activation(layer: nn.Module) -> bool:
    """timm's layer, which is a BatchNorm with dropout and an activation behind it."""
    return type(layer).__name__ == "BatchNormAct2d"


def _forward(layer: Any, rows: torch.Tensor) -> torch.Tensor:
    """Take the place of a layer's `forward`."""
    if not layer.training:
        return type(layer).forward(layer, rows)
    normalised = _normalised(layer, rows)
    return layer.act(layer.drop(normalised)) if _only_adds_activation(layer) else normalised


def _normalised(layer: Any, rows: torch.Tensor) -> torch.Tensor:
    layer._check_input_dim(rows)
    over = [axis for axis in range(rows.ndim) if axis != 1]
    shape = [1, -1, *[1] * (rows.ndim - 2)]
    # Half precision would lose the mean of many values; a layer of torch sums in single precision, too.
    wide = rows.to(torch.promote_types(rows.dtype, torch.float32))
    counts = layer.__dict__.get("counts", True)
    number = wide.new_tensor(counts * wide.numel() // wide.shape[1])
    distributed.all_reduce(number)
    mean_C1 = _Summed.apply(counts * wide.sum(over)).view(shape) / number
    centred = wide - mean_C1
    variance_C1 = _Summed.apply(counts * centred.square().sum(over)).view(shape) / number
    if layer.track_running_stats:
        _follow(layer, mean_C1.detach().flatten(), variance_C1.detach().flatten() * number / (number - 1))
    normalised = centred * (variance_C1 + layer.eps).rsqrt()
    if layer.affine:
        normalised = normalised * layer.weight.view(shape) + layer.bias.view(shape)
    return normalised.to(rows.dtype)


def _follow(layer: Any, mean_C: torch.Tensor, variance_C: torch.Tensor) -> None:
    """Move the running statistics, as torch's layers do: the variance is the unbiased one."""
    layer.num_batches_tracked += 1
    share = 1 / float(layer.num_batches_tracked) if layer.momentum is None else layer.momentum
    layer.running_mean.lerp_(mean_C, share)
    layer.running_var.lerp_(variance_C, share)


class _Summed(torch.autograd.Function):
    """The sum over all processes; each of them has a part of its gradient."""

    @staticmethod
    def forward(_: Any, own: torch.Tensor) -> torch.Tensor:
        """Add up."""
        summed = own.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(summed)
        return summed

    @staticmethod
    def backward(_: Any, *gradients: Any) -> torch.Tensor:
        """Every process depends on the sum."""
        summed = gradients[0].clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(summed)
        return summed
