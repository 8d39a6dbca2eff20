"""Average: a moving average of the tensors that train, which is measured and exported in their place.

It knows tensors by name, and nothing of models or steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

_LEAST_STEPS = 10


class Average:
    """After update n, from 1, each average moves by 1 - min(decay, n / (9 + n)) of the way to what it averages.

    So the first updates count more than the decay says, and the weights that training began with are soon forgotten.
    Counts, such as BatchNorm's of its batches, are taken as they are.

    Args:
        tensors: what is averaged, by name; read anew at every update.
        decay: from 0 to below 1.

    Source: the warm-up of TensorFlow's ExponentialMovingAverage, min(decay, (1 + n) / (10 + n)) with n updates before.
    """

    def __init__(self, tensors: Mapping[str, torch.Tensor], decay: float) -> None:
        self._tensors, self._decay, self._num_updates = dict(tensors), decay, 0
        self._averages = {name: tensor.detach().clone() for name, tensor in tensors.items()}

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """The averages, by name."""
        return dict(self._averages)

    @torch.no_grad()
    def update(self) -> None:
        """Take the tensors as they are now into the averages."""
        decay = min(self._decay, (1 + self._num_updates) / (_LEAST_STEPS + self._num_updates))
        self._num_updates += 1
        for name, average in self._averages.items():
            now = self._tensors[name]
            if average.is_floating_point():
                average.lerp_(now.to(average.dtype), 1 - decay)
            else:
                average.copy_(now)

    def restart(self) -> None:
        """Begin anew with the tensors as they are now."""
        self.restore({"tensors": self._tensors, "num_updates": 0})

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Have the tensors hold their averages for a while, without a copy; they may not be trained then."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for name, average in self._averages.items():
            tensor = self._tensors[name]
            tensor.data, average.data = average.data, tensor.data

    def state(self) -> dict[str, Any]:
        """What a later process goes on with."""
        return {"tensors": {n: one.cpu() for n, one in self._averages.items()}, "num_updates": self._num_updates}

    @torch.no_grad()
    def restore(self, state: Mapping[str, Any]) -> None:
        """Stand where `state` was taken."""
        for name, average in self._averages.items():
            average.copy_(state["tensors"][name])
        self._num_updates = state["num_updates"]
