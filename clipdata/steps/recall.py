"""Recall: features of the images and texts met lately, so that each is encoded once per neighbourhood of rows.

Rows of one image are neighbours in a merged table, and the same caption comes back as a wrong choice elsewhere. Images
are decoded in threads while the model works on the batch before. Shapes: B images, T texts, D feature size.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from clipdata import images
from clipdata.cores import num_cores
from clipdata.errors import ImageRefused

if TYPE_CHECKING:
    import torch

    from clipdata.encoder.model import Encoder

IMAGES_REMEMBERED = 4096
TEXTS_REMEMBERED = 65_536
MODEL_BATCH = 64


@dataclass(frozen=True)
class PreparedImages:
    """What a batch needs of its images before the model runs.

    Args:
        digests: of each row's image; None where there is none.
        pixels: digest → uint8 CHW tensor, for those not met lately.
        refused: digest → reason.
    """

    digests: list[bytes | None]
    pixels: dict[bytes, torch.Tensor]
    refused: dict[bytes, str]


class ImageRecall:
    """Features of images, each decoded and encoded once while it is remembered.

    Args:
        encoder: gives the preprocessing.
        encode: uint8 [B, 3, S, S] → float [B, D].
    """

    def __init__(self, encoder: Encoder, encode: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self._encoder, self._encode = encoder, encode
        self._announced: OrderedDict[bytes, str | None] = OrderedDict()  # seen by prepare, in its thread
        self._features: OrderedDict[bytes, np.ndarray] = OrderedDict()  # seen by features, in the model's thread
        self._pool = ThreadPoolExecutor(max_workers=num_cores(), thread_name_prefix="clipdata-decode")

    def prepare(self, column: pa.Array) -> PreparedImages:
        """Decode the images of a batch that were not met lately."""
        blobs = [value.as_buffer() if value.is_valid else None for value in column]
        digests = [_digest(blob) if blob is not None else None for blob in blobs]
        first = {digest: blob for digest, blob in zip(digests, blobs, strict=True) if digest is not None}
        unknown = [digest for digest in first if digest not in self._announced]
        outcomes = dict(zip(unknown, self._pool.map(self._decode, [first[digest] for digest in unknown]), strict=True))
        refused = {d: str(self._announced[d]) for d in first if d in self._announced and self._announced[d] is not None}
        refused |= {digest: outcome for digest, outcome in outcomes.items() if isinstance(outcome, str)}
        pixels = {digest: outcome for digest, outcome in outcomes.items() if not isinstance(outcome, str)}
        for digest in first:
            self._announced[digest] = refused.get(digest)
            self._announced.move_to_end(digest)
        while len(self._announced) > IMAGES_REMEMBERED:
            self._announced.popitem(last=False)
        return PreparedImages(digests, pixels, refused)

    def features(self, prepared: PreparedImages) -> tuple[np.ndarray, list[str | None]]:
        """Encode what is new.

        Returns:
            float32 [B, D] with zeros where there is none, and the reason for each of those.
        """
        import torch

        new = list(prepared.pixels)
        for start in range(0, len(new), MODEL_BATCH):
            digests = new[start : start + MODEL_BATCH]
            encoded = self._encode(torch.stack([prepared.pixels[digest] for digest in digests])).float().cpu().numpy()
            self._features.update(zip(digests, encoded, strict=True))
        reasons = ["no image" if digest is None else prepared.refused.get(digest) for digest in prepared.digests]
        width = len(next(iter(self._features.values()))) if self._features else 0
        rows_BD = np.zeros((len(reasons), width), np.float32)
        for row, (digest, reason) in enumerate(zip(prepared.digests, reasons, strict=True)):
            if reason is None and digest is not None:
                rows_BD[row] = self._features[digest]
                self._features.move_to_end(digest)
        while len(self._features) > 2 * IMAGES_REMEMBERED:  # more than prepare remembers, which runs ahead
            self._features.popitem(last=False)
        return rows_BD, reasons

    def _decode(self, blob: pa.Buffer) -> Any:
        try:
            return self._encoder.prepare(images.decode(memoryview(blob)))
        except ImageRefused as error:
            return str(error)


class TextRecall:
    """Features of texts, each encoded once while it is remembered; counts those longer than the model reads."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._features: OrderedDict[str, np.ndarray] = OrderedDict()
        self.num_texts = 0
        self.num_truncated = 0

    def features(self, texts: Sequence[str]) -> np.ndarray:
        """Encode what is new; float32 [T, D], in the order of `texts`."""
        new = [text for text in dict.fromkeys(texts) if text not in self._features]
        if new:
            encoded = self._encoder.encode_texts(new).float().cpu().numpy()
            self._features.update(zip(new, encoded, strict=True))
            self.num_texts += len(new)
            self.num_truncated += self._encoder.count_truncated(new)
        rows_TD = np.stack([self._features[text] for text in texts]) if texts else np.zeros((0, 0), np.float32)
        while len(self._features) > TEXTS_REMEMBERED:
            self._features.popitem(last=False)
        return rows_TD

    def notes(self) -> dict[str, Any]:
        """How many texts were cut, for the log."""
        if not self.num_truncated:
            return {}
        share = self.num_truncated / self.num_texts
        length = self._encoder.context_length
        return {
            "texts cut": f"{self.num_truncated:,} of {self.num_texts:,} ({share:.1%}) are longer than {length} tokens"
        }


def _digest(blob: pa.Buffer) -> bytes:
    return hashlib.blake2b(memoryview(blob), digest_size=16).digest()
