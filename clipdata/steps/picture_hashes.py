"""What tells pictures apart: PictureDigest by their bytes, PixelDigest by what they show, PerceptualHash by their look.

It knows pictures, and no table and no model.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from clipdata.cores import num_cores
from clipdata.errors import UsageError
from clipdata.images.batches import DecodedBatch, Prepare, decode_batch
from clipdata.step_protocol import BYTES, BaseStep, require_names
from clipdata.steps.hash_texts import hash_texts


class PictureDigest(BaseStep):
    """The sha256 of a picture's bytes as hex digits, by which equal pictures are known everywhere.

    Args:
        image: column of image bytes.

    Raises:
        UsageError: the name of the column is no text.
    """

    name = "PictureDigest"
    version = "1"
    returns = pa.string()

    def __init__(self, image: str = "image") -> None:
        require_names(self.name, image=image)
        self.reads: tuple[str, ...] = (image,)
        self.takes = {image: BYTES}

    def compute(self, batch: pa.RecordBatch, prepared: Any) -> tuple[pa.Array, list[str | None]]:
        """Digest one batch: string [B]."""
        found = [
            hashlib.sha256(memoryview(value.as_buffer())).hexdigest() if value.is_valid else None
            for value in batch.column(0)
        ]
        return pa.array(found, pa.string()), [None if digest else "no image" for digest in found]


class _OfPixels(BaseStep):
    """A step that makes one value a picture, from its decoded pixels."""

    name: str

    def __init__(self, image: str) -> None:
        require_names(self.name, image=image)
        self.reads: tuple[str, ...] = (image,)
        self.takes = {image: BYTES}

    def _decoded(self, batch: pa.RecordBatch, prepare: Prepare[Any]) -> DecodedBatch[Any]:
        with ThreadPoolExecutor(num_cores(), thread_name_prefix="clipdata-decode") as pool:
            return decode_batch(batch.column(0), prepare, pool)


class PixelDigest(_OfPixels):
    """The sha256 of a picture's decoded pixels as hex digits: equal for a picture in another lossless file.

    The digest is of its height and width (4 bytes each, little-endian) and of its RGB values, the right way up.

    Args:
        image: column of image bytes.

    Raises:
        UsageError: the name of the column is no text.
    """

    name = "PixelDigest"
    version = "1"
    returns = pa.string()

    def __init__(self, image: str = "image") -> None:
        super().__init__(image)

    def prepare(self, batch: pa.RecordBatch) -> DecodedBatch[str]:
        """Decode the pictures of a batch and digest them."""
        return self._decoded(batch, _digest_of_pixels)

    def compute(self, batch: pa.RecordBatch, prepared: DecodedBatch[str]) -> tuple[pa.Array, list[str | None]]:
        """Digest one batch: string [B]."""
        found = [prepared.pixels[place] if place >= 0 else None for place in prepared.image_of_row.tolist()]
        refused = prepared.refused
        return pa.array(found, pa.string()), [
            str(refused[row]) if row in refused else None for row in range(batch.num_rows)
        ]


class PerceptualHash(_OfPixels):
    """The 64-bit perceptual hash of a picture (pHash), and that of its mirror image behind it, as hex digits.

    Pictures that look alike have hashes that differ in few bits; `NearDuplicates` finds them. The picture is made grey
    and 32 × 32 pixels large; of its cosine transform the 8 × 8 lowest frequencies are kept, and each bit says whether
    one is above their median. The first 16 digits are what `imagehash.phash` gives. A picture of one tone has no
    structure that a bit could tell of: it stays without a hash.

    Args:
        image: column of image bytes.
        mirrored: 32 digits, of which the last 16 are the hash of the mirror image, so that flipped copies are found.

    Raises:
        UsageError: the name of the column is no text, or `mirrored` is neither true nor false.

    Source: Zauner: Implementation and benchmarking of perceptual image hash functions (2010), section 3.2.1; with the
        grey, the resampling and the median of the Python library ImageHash 4.3 (`phash`).
    """

    name = "PerceptualHash"
    version = "1"
    returns = pa.string()

    def __init__(self, image: str = "image", *, mirrored: bool = True) -> None:
        super().__init__(image)
        if not isinstance(mirrored, bool):
            raise UsageError(f"{self.name}: mirrored is {mirrored!r:.80}; expected true or false")
        self._mirrored = mirrored
        self.parameters = {"mirrored": mirrored}

    def prepare(self, batch: pa.RecordBatch) -> DecodedBatch[np.ndarray]:
        """Decode the pictures of a batch and make them small and grey."""
        return self._decoded(batch, small_and_grey)

    def compute(self, batch: pa.RecordBatch, prepared: DecodedBatch[np.ndarray]) -> tuple[pa.Array, list[str | None]]:
        """Hash one batch: string [B]."""
        reasons: list[str | None] = [None] * batch.num_rows
        for row, refused in prepared.refused.items():
            reasons[row] = str(refused)
        if not len(prepared.pixels):
            return pa.nulls(batch.num_rows, pa.string()), reasons
        hash_NV, has_structure_N = perceptual_hashes(np.stack(prepared.pixels))
        texts = hash_texts(hash_NV if self._mirrored else hash_NV[:, :1])
        place_B = prepared.image_of_row
        for row in np.flatnonzero((place_B >= 0) & ~has_structure_N[place_B]).tolist():
            reasons[row] = "one tone: the picture has no structure to tell it by"
        unusable_B = np.array([reason is not None for reason in reasons], bool)
        return texts.take(pa.array(np.maximum(place_B, 0), mask=unusable_B)), reasons


_SIDE, _KEPT = 32, 8
_LEAST_CONTRAST = 1.5  # standard deviation of the grey levels, of 255, below which bits are noise
_DECIMALS = 6  # of frequencies, so that those a symmetrical picture lacks are 0 and no rounding error


def small_and_grey(rgb_HWC: np.ndarray) -> np.ndarray:
    """A picture as the hash sees it: uint8 [32, 32].

    Args:
        rgb_HWC: uint8 [H, W, 3].
    """
    grey = Image.fromarray(rgb_HWC).convert("L").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    return np.asarray(grey)


def perceptual_hashes(grey_NHW: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of small grey pictures and of their mirror images.

    Args:
        grey_NHW: uint8 [N, 32, 32].

    Returns:
        uint64 [N, 2], hash and hash of the mirror image; and bool [N], whether there is structure enough to tell by.
    """
    basis_KH = _cosines()
    low_NKK = np.einsum("kh,nhw,lw->nkl", basis_KH, grey_NHW.astype(np.float64), basis_KH)
    odd_K = np.where(np.arange(_KEPT) % 2, -1.0, 1.0)  # a mirror image has its odd horizontal frequencies the other way
    low_NVF = np.stack([low_NKK, low_NKK * odd_K], axis=1).reshape(len(grey_NHW), 2, _KEPT * _KEPT).round(_DECIMALS)
    bits_NVF = low_NVF > np.median(low_NVF, axis=2, keepdims=True)
    hash_NV = np.packbits(bits_NVF, axis=2).view(">u8")[..., 0].astype(np.uint64)
    return hash_NV, grey_NHW.reshape(len(grey_NHW), -1).std(axis=1) >= _LEAST_CONTRAST


def _cosines() -> np.ndarray:
    """The lowest rows of the cosine transform of type II, float64 [8, 32], as scipy's `fftpack.dct` scales it."""
    frequency_K1, place_H = np.arange(_KEPT)[:, None], np.arange(_SIDE)
    return 2 * np.cos(np.pi * frequency_K1 * (2 * place_H + 1) / (2 * _SIDE))


def _digest_of_pixels(rgb_HWC: np.ndarray) -> str:
    height, width = rgb_HWC.shape[:2]
    found = hashlib.sha256(height.to_bytes(4, "little") + width.to_bytes(4, "little"))
    found.update(np.ascontiguousarray(rgb_HWC).reshape(-1).data)
    return found.hexdigest()
