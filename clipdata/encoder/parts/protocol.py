"""What a part is: a live trunk with its weights in it, and what the model around it has to know of it.

It must know no kind of tower. T = features of a trunk, D = shared space.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from clipdata.encoder.tower_kinds import Head


@dataclass(frozen=True)
class Part:
    """One tower before it is put together with the other.

    Args:
        trunk: gives [B, T]; its weights are in it.
        trunk_dim: T.
        section: its part of a config that stands alone: nothing in it names a file, or weights.
        head: its projection; never of the kind "own".
        head_state: weights of the head, where they come with the tower's.
        open_clip_cfg: its part of open_clip's `model_cfg`, with the head, or None where open_clip has no such tower.
        why_not: what open_clip lacks, in half a sentence.
        quick_gelu: the activation of open_clip's own towers; None for others, which do not care.
        preprocessing: what its weights were made with, in the keys of a `preprocess_cfg`.
        max_length: most ids of a text that it takes, or None.
        tokenizer: folder that may hold its tokenizer.
    """

    trunk: nn.Module
    trunk_dim: int
    section: Mapping[str, Any]
    head: Head
    head_state: Mapping[str, torch.Tensor] | None = None
    open_clip_cfg: Mapping[str, Any] | None = None
    why_not: str = ""
    quick_gelu: bool | None = None
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    max_length: int | None = None
    tokenizer: Path | None = None


def no_key(head: Head) -> str:
    """Why open_clip has no tower with a head."""
    return f"open_clip has no key for a head of the kind {head.kind!r}" + (" with a bias" if head.bias else "")
