"""Recall: features of the images and texts met lately, so that each is encoded once per neighbourhood of rows.

Rows of one image are neighbours in a merged table, and the same caption comes back as a wrong choice elsewhere. Images
are decoded in threads while the model works on the batch before. Only what the model has encoded is remembered: what is
prepared and never computed (an interrupted job) leaves no trace. Shapes: B images, T texts, D feature size.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np
import pyarrow as pa

from clipdata.cores import num_cores
from clipdata.errors import ImageRefused
from clipdata.images.batches import NO_IMAGE, decode_images, distinct_images

if TYPE_CHECKING:
    import torch

    from clipdata.encoder.model import Encoder

IMAGES_REMEMBERED = 4096
TEXTS_REMEMBERED = 65_536
TEXTS_COUNTED = 262_144
MODEL_BATCH = 64
NO_PICTURE = "no image"
NOT_FINITE = "the model gave NaN or infinity"


def finite_or_reason(rows_BD: np.ndarray, reasons: Sequence[str | None]) -> list[str | None]:
    """Add a reason to every row that holds a value which is no number.

    Args:
        rows_BD: float [B, D] or [B].
        reasons: why a row has no value [B]; those stay.
    """
    if not len(rows_BD):
        return []
    finite_B = np.isfinite(rows_BD.reshape(len(rows_BD), -1)).all(axis=1)
    return [reason or (None if finite else NOT_FINITE) for reason, finite in zip(reasons, finite_B, strict=True)]


@dataclass(eq=False)
class _Image:
    """One distinct image on its way through the model: its pixels, then its features or why it has none."""

    digest: bytes
    pixels: torch.Tensor | None = None  # uint8 [3, H, W], until it is encoded
    features_D: np.ndarray | None = None
    refused: str | None = None


@dataclass(frozen=True)
class PreparedImages:
    """What a batch needs of its images before the model runs.

    Args:
        images: the distinct images of the batch.
        image_of_row: int64 [B], place in `images`; NO_IMAGE where a row holds none.
    """

    images: Sequence[_Image]
    image_of_row: np.ndarray


class ImageRecall:
    """Features of images, each decoded and encoded once while it is remembered.

    Args:
        encoder: gives the preprocessing.
        encode: uint8 [B, 3, S, S] → float [B, D].
    """

    def __init__(self, encoder: Encoder, encode: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self._prepare, self._encode = encoder.prepare, encode
        self._forget()

    def _forget(self) -> None:
        self._lock = threading.Lock()  # prepare runs in a thread of its own
        self._met: OrderedDict[bytes, _Image] = OrderedDict()  # encoded or refused
        self._underway: WeakValueDictionary[bytes, _Image] = WeakValueDictionary()  # held by batches not computed yet
        self._pool = ThreadPoolExecutor(max_workers=num_cores(), thread_name_prefix="clipdata-decode")

    def __getstate__(self) -> dict[str, Any]:
        return {"_prepare": self._prepare, "_encode": self._encode}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def prepare(self, column: pa.Array) -> PreparedImages:
        """Decode the images of a batch that were not met lately."""
        found = distinct_images(column)
        digests = [_digest(data) for data in found.encoded]
        with self._lock:
            known = {digest: self._met.get(digest) or self._underway.get(digest) for digest in digests}
        new = [place for place, digest in enumerate(digests) if known[digest] is None]
        outcomes = decode_images([found.encoded[place] for place in new], self._prepare, self._pool)
        for place, outcome in zip(new, outcomes, strict=True):
            if isinstance(outcome, ImageRefused):
                known[digests[place]] = _Image(digests[place], refused=str(outcome))
            else:
                known[digests[place]] = _Image(digests[place], pixels=outcome)
        images = [image for digest in digests if (image := known[digest]) is not None]
        with self._lock:
            self._underway.update({image.digest: image for image in images})
        return PreparedImages(images, found.image_of_row)

    def features(self, prepared: PreparedImages) -> tuple[np.ndarray, list[str | None]]:
        """Encode what is new.

        Returns:
            float32 [B, D] with zeros where there is none, and the reason for each of those.
        """
        self._encode_new([(image, image.pixels) for image in prepared.images if image.pixels is not None])
        width = next((len(image.features_D) for image in prepared.images if image.features_D is not None), 0)
        features_ND = np.zeros((len(prepared.images) + 1, width), np.float32)  # the last row is for NO_IMAGE
        for place, image in enumerate(prepared.images):
            if image.features_D is not None:
                features_ND[place] = image.features_D
        reasons = [*(image.refused for image in prepared.images), NO_PICTURE]
        with self._lock:
            for image in prepared.images:
                self._met[image.digest] = image
                self._met.move_to_end(image.digest)
            while len(self._met) > IMAGES_REMEMBERED:
                self._met.popitem(last=False)
        assert NO_IMAGE == -1
        return features_ND[prepared.image_of_row], [reasons[image] for image in prepared.image_of_row]

    def _encode_new(self, images: Sequence[tuple[_Image, torch.Tensor]]) -> None:
        import torch

        for start in range(0, len(images), MODEL_BATCH):
            batch = images[start : start + MODEL_BATCH]
            encoded_BD = self._encode(torch.stack([pixels for _, pixels in batch])).float().cpu().numpy()
            refused = finite_or_reason(encoded_BD, [None] * len(batch))
            for place, (image, _) in enumerate(batch):
                image.refused = refused[place]
                image.features_D = encoded_BD[place] if refused[place] is None else None
                image.pixels = None


class TextRecall:
    """Features of texts, each encoded once while it is remembered; counts those longer than the model reads.

    A text counts once while its digest is remembered, whichever process met it.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._features: OrderedDict[str, np.ndarray] = OrderedDict()
        self._counted: OrderedDict[str, int] = OrderedDict()  # digest of a text → 2 where it was cut, else 1
        self.num_texts = 0
        self.num_truncated = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return TextRecall, (self._encoder,)

    def tally(self) -> dict[str, int]:
        """What `notes` are made of: of each text that was counted lately, by its digest, 2 where it was cut, else 1."""
        return dict(self._counted)

    def add(self, tally: Mapping[str, int]) -> None:
        """Count what another process met; a text that both met counts once."""
        for digest, count in tally.items():
            if count and digest not in self._counted:
                self._counted[digest] = count
                self.num_texts += 1
                self.num_truncated += count - 1
        while len(self._counted) > TEXTS_COUNTED:
            self._counted.popitem(last=False)

    def features(self, texts: Sequence[str]) -> np.ndarray:
        """Encode what is new; float32 [T, D], in the order of `texts`.

        A text on which the model gives NaN has it here; `finite_or_reason` turns that into a reason.
        """
        new = [text for text in dict.fromkeys(texts) if text not in self._features]
        if new:
            encoded = self._encoder.encode_texts(new).float().cpu().numpy()
            self._features.update(zip(new, encoded, strict=True))
            digests = [_digest(text.encode("utf-8", "surrogatepass")).hex() for text in new]
            self.add({one: 1 + cut for one, cut in zip(digests, self._encoder.are_truncated(new), strict=True)})
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


def _digest(data: pa.Buffer | bytes) -> bytes:
    return hashlib.blake2b(memoryview(data), digest_size=16).digest()
