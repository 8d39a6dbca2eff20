"""Towers that take a batch of no row, which is what a process has of a batch smaller than the number of processes.

Few models take one. In its place a trunk sees one blank row, of which nothing is kept: its gradients are 0, and it
counts in no statistics. So the process goes through the same exchanges as the others. It knows towers alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import nn

from clipdata.encoder import Encoder
from clipdata.encoder.towers import TensorMap, TowerSplit
from clipdata.training.batch_statistics import BatchNorm


def taking_none(towers: TowerSplit, model: nn.Module, encoder: Encoder) -> TowerSplit:
    """The same towers, which take no row, too.

    Args:
        model: that they are of.
        encoder: gives the tokenizer.
    """

    def images(image_BCHW: torch.Tensor) -> torch.Tensor:
        return image_BCHW.new_zeros(1, *image_BCHW.shape[1:])

    def texts(tokens_TL: torch.Tensor) -> torch.Tensor:
        return encoder.tokenize([""]).to(tokens_TL.device)  # one of padding alone would have no mean

    return replace(
        towers,
        image_trunk=_with_blank(towers.image_trunk, images, model),
        text_trunk=_with_blank(towers.text_trunk, texts, model),
        trim_tokens=lambda tokens_TL: towers.trim_tokens(tokens_TL) if len(tokens_TL) else tokens_TL,
    )


def _with_blank(trunk: TensorMap, blank: TensorMap, model: nn.Module) -> TensorMap:
    def of_any(given: torch.Tensor) -> torch.Tensor:
        if len(given):
            return trunk(given)
        with _uncounted(model):
            return trunk(blank(given))[:0]

    return of_any


@contextmanager
def _uncounted(model: nn.Module) -> Iterator[None]:
    """Have a batch count in no statistics that processes share."""
    layers = [layer for layer in model.modules() if isinstance(layer, BatchNorm)]
    for layer in layers:
        layer.__dict__["counts"] = False
    try:
        yield
    finally:
        for layer in layers:
            del layer.__dict__["counts"]
