"""RandomState: where the random numbers of the processor and of a model's device stand, to be taken up again.

It knows torch's generators, and nothing of what draws from them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class RandomState:
    """Where the generators stood.

    Args:
        processor: state of torch's own generator.
        device: the model's, where that is a GPU.
        on_device: state of its generator; None without one.
    """

    processor: torch.Tensor
    device: torch.device
    on_device: torch.Tensor | None = None

    @classmethod
    def now(cls, device: torch.device) -> RandomState:
        """As they stand."""
        on_gpu = device.type == "cuda"
        return cls(torch.get_rng_state(), device, torch.cuda.get_rng_state(device) if on_gpu else None)

    def restore(self) -> None:
        """Draw again what was drawn from here on."""
        torch.set_rng_state(self.processor)
        if self.on_device is not None:
            torch.cuda.set_rng_state(self.on_device, self.device)
