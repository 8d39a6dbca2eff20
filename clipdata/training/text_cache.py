"""The text trunk's features of all texts that will occur, computed once: possible while that trunk is not trained.

It knows towers and texts, and nothing of batches or objectives. Shapes: T texts, W features of the trunk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from clipdata.encoder import Encoder
from clipdata.encoder.towers import TowerSplit
from clipdata.progress import Progress

TEXTS_AT_ONCE = 256


@dataclass(frozen=True)
class TextFeatures:
    """The text trunk's features of texts.

    Args:
        place_of: text to its row.
        trunk_TW: float32.
    """

    place_of: Mapping[str, int]
    trunk_TW: torch.Tensor

    def of(self, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Features [T, W] of texts, and their places among all, int64 [T] on the CPU."""
        places_T = self.places(texts)
        return self.trunk_TW.index_select(0, places_T.to(self.trunk_TW.device)), places_T

    def places(self, texts: Sequence[str]) -> torch.Tensor:
        """Places of texts among all: int64 [T], on the CPU."""
        return torch.tensor([self.place_of[text] for text in texts], dtype=torch.int64)


def encode_once(texts: Sequence[str], encoder: Encoder, towers: TowerSplit, progress: Progress) -> TextFeatures:
    """Compute the text trunk's features of texts.

    The same texts give bit-equal features on the same machine: they come in sorted order and in fixed batches.
    """
    ordered = sorted(set(texts))
    done = []
    with progress.task("encode captions", len(ordered), "captions") as counter, torch.no_grad():
        for start in range(0, len(ordered), TEXTS_AT_ONCE):
            tokens_BL = encoder.tokenize(ordered[start : start + TEXTS_AT_ONCE])
            done.append(towers.text_trunk(towers.trim_tokens(tokens_BL).to(encoder.device)).float())
            counter.advance(len(tokens_BL))
    return TextFeatures({text: place for place, text in enumerate(ordered)}, torch.cat(done))
