"""Faster code of the trunks, made by torch.compile on request.

Functions are compiled and not modules, so names in state dicts stay as they are. It knows towers, and no batches.
"""

from __future__ import annotations

import time
from dataclasses import replace

import torch

from clipdata.encoder.towers import TowerSplit
from clipdata.errors import UsageError


def compiled(towers: TowerSplit) -> TowerSplit:
    """The same towers, whose trunks are compiled at their first call; for batches of any size."""
    return replace(
        towers,
        image_trunk=torch.compile(towers.image_trunk, dynamic=True),
        text_trunk=torch.compile(towers.text_trunk, dynamic=True),
    )


def require_compiler(device: torch.device) -> None:
    """Check that torch.compile works here, by making a line of code.

    Raises:
        UsageError: it does not; there is no C++ compiler for a CPU, or no Triton for a GPU.
    """
    never_made_before = float(time.time_ns() % 10**9)  # or it comes from torch's cache, which needs no compiler
    try:
        torch.compile(lambda values: (values + never_made_before).sin())(torch.zeros(2, device=device))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        needed = "a C++ compiler (apt-get install g++)" if device.type == "cpu" else "Triton and a C compiler"
        raise UsageError(
            f"compile is True, and torch.compile makes no code for {device} here: {reason}",
            hint=f"--set compile=false, or install {needed}",
        ) from error
