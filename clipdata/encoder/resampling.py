"""Resizing as the installed Pillow does it, level for level, of only the part that a crop keeps.

Pillow itself resizes; where most of its work would be cropped away (a long strip), its arithmetic is done here for the
kept part alone. `Image.resize(box=…)` is no way to that: a box is held in single precision, which moves levels.
It must know nothing of models.

Shapes: H, W = height and width, K = kept outputs along one axis, T = inputs of one output, N = inputs, R = the other
axis, C = channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import PIL
from PIL import Image

_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
_SUPPORT = {"bicubic": 2.0, "bilinear": 1.0}
_PRECISION_BITS = 22
# From about this many times the kept part on, computing it here is faster than computing all with Pillow; and memory
# stays bounded for a picture of any length.
_MAX_WASTE = 6
_CHOOSES_ORDER = int(PIL.__version__.partition(".")[0]) >= 13


def resize_and_crop(
    pixels: np.ndarray, resized: tuple[int, int], size: tuple[int, int], interpolation: str
) -> np.ndarray:
    """Resize as Pillow does with antialiasing, and keep the middle.

    Args:
        pixels: uint8 RGB [H, W, 3].
        resized: height and width of the whole picture after resizing.
        size: height and width of the crop; what is smaller stays as it is.
        interpolation: "bicubic" or "bilinear".

    Returns:
        uint8 [min(resized, size), 3], to which the caller may write.
    """
    first = [max(0, round((whole - want) / 2.0)) for whole, want in zip(resized, size, strict=True)]
    kept = [min(whole, want) for whole, want in zip(resized, size, strict=True)]
    if max(resized[axis] / kept[axis] for axis in (0, 1)) > _MAX_WASTE:
        return _resample_part(pixels, resized, first, kept, interpolation)
    if resized == pixels.shape[:2]:
        whole_HWC = pixels
    else:
        picture = Image.fromarray(pixels).resize((resized[1], resized[0]), _FILTERS[interpolation])
        whole_HWC = np.asarray(picture)
    return whole_HWC[first[0] : first[0] + kept[0], first[1] : first[1] + kept[1]].copy()


def _resample_part(
    pixels: np.ndarray, resized: tuple[int, int], first: list[int], kept: list[int], interpolation: str
) -> np.ndarray:
    height, width = pixels.shape[:2]
    vertical = _Taps.of(height, resized[0], first[0], kept[0], interpolation)
    horizontal = _Taps.of(width, resized[1], first[1], kept[1], interpolation)
    part_HWC = pixels[vertical.begin : vertical.end, horizontal.begin : horizontal.end]
    # Source: ImagingResampleInner of Pillow 13; those before it always begin with the width.
    vertical_first = _CHOOSES_ORDER and height - resized[0] > max(0, 2 * (width - resized[1]))
    if vertical_first:
        part_HWC = vertical.resample(part_HWC)
    part_HWC = horizontal.resample(part_HWC.swapaxes(0, 1)).swapaxes(0, 1)
    return np.ascontiguousarray(part_HWC if vertical_first else vertical.resample(part_HWC))


@dataclass(frozen=True)
class _Taps:
    """Which inputs along one axis make each kept output, and by which weights.

    Args:
        begin: first input that any kept output is made of.
        end: one after the last.
        starts_K: int64, first input of each output, counted from `begin`.
        weights_KT: int32 in units of 2**-22; T is the largest number of inputs of one output.
    """

    begin: int
    end: int
    starts_K: np.ndarray
    weights_KT: np.ndarray

    @classmethod
    def of(cls, num_inputs: int, num_outputs: int, first: int, kept: int, interpolation: str) -> _Taps:
        """Weigh inputs as Pillow does. Source: precompute_coeffs and normalize_coeffs_8bpc of Pillow 13."""
        if num_inputs == num_outputs:  # Pillow leaves the pass out
            return cls(first, first + kept, np.arange(kept), np.full((kept, 1), 1 << _PRECISION_BITS, np.int32))
        scale = float(np.float32(num_inputs)) / num_outputs
        filter_scale = max(scale, 1.0)
        reach = _SUPPORT[interpolation] * filter_scale
        centre_K = (np.arange(first, first + kept) + 0.5) * scale
        start_K = np.maximum(0, np.trunc(centre_K - reach + 0.5)).astype(np.int64)
        end_K = np.minimum(num_inputs, np.trunc(centre_K + reach + 0.5)).astype(np.int64)
        place_T = np.arange(int((end_K - start_K).max()))
        place_KT = start_K[:, None] + place_T
        weight_KT = _weigh(interpolation, (place_KT - centre_K[:, None] + 0.5) * (1.0 / filter_scale))
        weight_KT[place_KT >= end_K[:, None]] = 0.0
        total_K = np.zeros(kept)
        for weight_K in weight_KT.T:  # in Pillow's order, on which the last bit depends
            total_K += weight_K
        weight_KT = weight_KT / total_K[:, None] * (1 << _PRECISION_BITS)
        rounded_KT = np.trunc(weight_KT + np.where(weight_KT < 0, -0.5, 0.5)).astype(np.int32)
        return cls(int(start_K.min()), int(end_K.max()), start_K - start_K.min(), rounded_KT)

    def resample(self, part_NRC: np.ndarray) -> np.ndarray:
        """Make the kept outputs of uint8 [end - begin, R, C]: uint8 [K, R, C]."""
        total_KRC = np.full((len(self.starts_K), *part_NRC.shape[1:]), 1 << (_PRECISION_BITS - 1), np.int32)
        for tap, weight_K in enumerate(self.weights_KT.T):
            taken_K = np.minimum(self.starts_K + tap, len(part_NRC) - 1)
            total_KRC += part_NRC[taken_K].astype(np.int32) * weight_K[:, None, None]
        return np.clip(total_KRC >> _PRECISION_BITS, 0, 255).astype(np.uint8)


def _weigh(interpolation: str, distance: np.ndarray) -> np.ndarray:
    """The filter at distances from an output's centre. Source: bilinear_filter and bicubic_filter of Pillow."""
    x = np.abs(distance)
    if interpolation == "bilinear":
        return np.where(x < 1.0, 1.0 - x, 0.0)
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))
