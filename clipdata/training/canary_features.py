"""Features of the canary's pictures and classes, computed by a model or found in the user's cache of an earlier time.

A model that is fine-tuned often is measured before each time, and a trunk that does not train gives the same features
after as before: both are found by the digests of what computes them. It knows encoders and the set; no verdicts.

Shapes: P pictures, C classes, T features of the image trunk, D shared space.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from itertools import islice

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from clipdata.bounded_folder import BoundedFolder
from clipdata.cache_folder import cache_folder
from clipdata.encoder import Encoder
from clipdata.errors import StorageError
from clipdata.training.canary_set import TEMPLATES, CanarySet

MAX_BYTES = 32 * 2**20
"""Most to keep in the cache: what is used least recently goes. A model's features are about half a megabyte."""
_PICTURES_AT_ONCE = 32


class KeptFeatures:
    """Features of one encoder.

    Args:
        encoder: computes what is not kept.
        shown: the set.
    """

    def __init__(self, encoder: Encoder, shown: CanarySet) -> None:
        self._encoder, self._shown = encoder, shown

    def trunk(self, *, keep: bool = True) -> torch.Tensor:
        """Features of the pictures before the projection: float32 [P, T].

        Args:
            keep: look in the cache, and keep them there.
        """
        name = self._name("trunk", self._encoder.trunk_identity)
        return self._found(name, self._compute_trunk, keep)

    def classes(self, language: str, *, keep: bool = True) -> torch.Tensor:
        """Mean direction of the prompts of each class: float32 [C, D], L2-normalised.

        Args:
            language: of the prompts.
            keep: look in the cache, and keep them there.
        """
        name = self._name(f"classes {language}", self._encoder.identity)
        return self._found(name, lambda: self._compute_classes(language), keep)

    def _name(self, what: str, identity: str) -> str:
        return hashlib.sha256(f"{what} {identity} {self._shown.digest}".encode()).hexdigest()

    def _found(self, name: str, compute: Callable[[], torch.Tensor], keep: bool) -> torch.Tensor:
        folder = self._folder() if keep else None
        if folder is None:
            return compute()
        known = folder.get(name)
        if known is not None:
            return torch.from_numpy(np.load(io.BytesIO(known), allow_pickle=False))
        features = compute().cpu()
        written = io.BytesIO()
        np.save(written, features.numpy())
        folder.put(name, pa.py_buffer(written.getvalue()))
        return features

    def _folder(self) -> BoundedFolder | None:
        """The cache; None where it cannot be written, which costs only time."""
        try:
            # What one owner keeps gives way to other owners alone, so each model is one.
            return BoundedFolder(cache_folder() / "canary", MAX_BYTES, owner=self._encoder.trunk_identity[:16])
        except StorageError:
            return None

    def _compute_trunk(self) -> torch.Tensor:
        pixels, parts = self._shown.pixels(), []
        while prepared := [self._encoder.prepare(one) for one in islice(pixels, _PICTURES_AT_ONCE)]:
            parts.append(self._encoder.image_trunk(torch.stack(prepared)))
        return torch.cat(parts)

    def _compute_classes(self, language: str) -> torch.Tensor:
        prompt_ND = self._encoder.encode_texts(self._shown.prompts(language))
        class_CD = prompt_ND.view(-1, len(TEMPLATES[language]), prompt_ND.shape[1]).mean(1)
        return nn.functional.normalize(class_CD, dim=-1)
