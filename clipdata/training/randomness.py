"""What training draws at random: from numbers of its own, which leave those of the caller as they were.

The numbers of a step (dropout) are a pure function of seed, step and rank. So a run that goes on draws what it would
have drawn, nothing of it stands in a checkpoint, and processes draw apart. It knows devices and numbers alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch


@contextmanager
def own_numbers(device: torch.device, seed: int) -> Iterator[None]:
    """Draw from a seed while the block runs, on the CPU and on one device; others are not touched."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        draw_from(device, seed)
        yield


def draw_from(device: torch.device, seed: int) -> None:
    """Begin anew to draw, on the CPU and on one device. `torch.manual_seed` would seed every GPU of the machine."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


def seed_of_step(seed: int, step: int, rank: int) -> int:
    """A seed for what one process draws in one step."""
    digest = hashlib.sha256(f"clipdata step: seed {seed}, step {step}, rank {rank}".encode()).digest()
    return int.from_bytes(digest[:7], "big")


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
