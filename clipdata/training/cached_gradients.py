"""Cached gradients: a batch goes through the trunks some rows at a time, and its loss still compares all of them.

The trunks make the features of all rows and keep nothing for a backward pass; heads and loss see the whole batch, in
all processes, and leave the gradients of these features; then the trunks go over the same rows again, some at a time,
and take those gradients on to the weights. So memory is that of a few rows, and gradients are those of the batch at
once: of heads, logit scale and bias by the very same computation, of trunks up to the order of sums. A trunk that does
not train is not gone over again.

A trunk draws the same both times, for the random state of each portion is kept; afterwards it stands where one pass
would have left it. It knows forwards; it must not know losses.

Source: Gao et al. 2021, GradCache (arXiv 2101.06983). Shapes: N rows or texts, W features of a trunk.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from clipdata.encoder.towers import TensorMap
from clipdata.training.forward import Forward
from clipdata.training.gradients import Autocast, Passed, Passes
from clipdata.training.randomness import RandomState


class InChunks(Passes):
    """Some rows, and some texts, at a time.

    Args:
        forward: of the model. No layer of it may make statistics of a batch.
        autocast: what it computes in.
        chunk: number of rows.
    """

    def __init__(self, forward: Forward, autocast: Autocast, chunk: int) -> None:
        super().__init__(forward, autocast)
        self._chunk = chunk

    def __call__(self, batch: Mapping[str, Any]) -> Passed:
        """The loss's gradients reach the trunks' features, and the trunks take them on afterwards."""
        forward, inputs = self.forward, self.forward.inputs(batch)
        images = self._trunk(forward.image_trunk, inputs.images, trains=forward.image_trunk_trains)
        texts = self._trunk(forward.text_trunk, inputs.texts, trains=forward.text_trunk_trains)
        with self._autocast():
            features = forward.features(images.features_NW, texts.features_NW)
        return Passed(features, inputs.facts, (images.carry_on, texts.carry_on))

    def _trunk(self, trunk: TensorMap, given: torch.Tensor, *, trains: bool) -> _Trunk:
        return _Trunk(trunk, given.split(self._chunk), self._autocast, trains=trains, device=self.forward.device)


class _Trunk:
    """A trunk that went over a batch, and goes over it again for the gradients of its weights."""

    def __init__(
        self,
        trunk: TensorMap,
        chunks: tuple[torch.Tensor, ...],
        autocast: Autocast,
        *,
        trains: bool,
        device: torch.device,
    ) -> None:
        self._trunk, self._chunks, self._autocast, self._device = trunk, chunks, autocast, device
        self._drew_from: list[RandomState] = []
        done = []
        with torch.no_grad(), autocast():
            for chunk in chunks:
                self._drew_from.append(RandomState.now(device))
                done.append(trunk(chunk))
        self.features_NW = torch.cat(done).requires_grad_(trains)

    def carry_on(self) -> None:
        """Take the gradients of the features on to the weights."""
        gradient_NW = self.features_NW.grad
        if gradient_NW is None:
            return
        stands = RandomState.now(self._device)
        gradients = gradient_NW.split([len(chunk) for chunk in self._chunks])
        for chunk, drew_from, gradient in zip(self._chunks, self._drew_from, gradients, strict=True):
            drew_from.restore()
            # Each in an autocast of its own: one keeps the weights that it has cast, with the graph of the first chunk.
            with self._autocast():
                features_NW = self._trunk(chunk)
            features_NW.backward(gradient)
        stands.restore()
