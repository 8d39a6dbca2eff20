"""Eating: how many pictures a model's image tower takes in a second, forward, and forward with backward.

Shapes: B rows, H and W of the model's input, D shared space.
"""

from __future__ import annotations

import copy
import time

import torch

from clipdata.encoder import Encoder, split
from clipdata.rates.records import Rate

_FIRST = 4  # pictures that warm up, and say whether a batch fits into a turn


class Eating:
    """Measures a model.

    Args:
        encoder: it stays as it is.
        batch_size: pictures at once; fewer where a batch takes longer than a turn.
        train: backward as well, through all of the image tower.
    """

    def __init__(self, encoder: Encoder, batch_size: int, *, train: bool = False) -> None:
        self._encoder, self._train, self._batch_size = encoder, train, batch_size
        self._model = copy.deepcopy(encoder.model).train() if train else encoder.model
        self._towers = split(self._model)
        self._rows, self._seconds, self._at_once = 0, 0.0, 0

    def turn(self, seconds: float) -> None:
        """Feed it for so long, or a few pictures."""
        until_s = time.perf_counter() + seconds
        if not self._at_once:
            few = min(_FIRST, self._batch_size)
            self._step(few)
            self._rows, self._seconds = few, self._step(few)
            each_s = self._seconds / few
            self._at_once = max(few, min(self._batch_size, int(seconds / max(each_s, 1e-9))))
        # A step that is longer than a turn was measured by its first.
        while time.perf_counter() < until_s and self._at_once * self._seconds / self._rows < 2 * seconds:
            self._seconds += self._step(self._at_once)
            self._rows += self._at_once

    def _step(self, num: int) -> float:
        image_BCHW = torch.randint(0, 256, (num, 3, *self._encoder.prepare.size), dtype=torch.uint8)
        begun_s = time.perf_counter()
        if self._train:
            with self._encoder.autocast():
                features_BD = self._towers.image_head(self._towers.image_trunk(self._encoder.normalise(image_BCHW)))
            torch.autograd.backward(features_BD.float().square().mean())
            self._model.zero_grad(set_to_none=True)
        else:
            self._encoder.encode_images(image_BCHW)
        if self._encoder.device.type == "cuda":
            torch.cuda.synchronize(self._encoder.device)
        return time.perf_counter() - begun_s

    def close(self) -> None:
        """Let the copy go."""
        self._model, self._towers = self._encoder.model, self._encoder.towers

    def rate(self) -> Rate:
        """What was found."""
        name = "model, with backward" if self._train else "model, forward"
        fewer = f", {self._at_once} at once" if self._at_once != self._batch_size else ""
        note = f"image tower on {self._encoder.device}{fewer}"
        return Rate("model", name, self._rows / max(self._seconds, 1e-9), self._rows, self._seconds, None, note)
