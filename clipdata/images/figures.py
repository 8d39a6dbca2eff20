"""Figures of a picture that a person filters by: sharpness, brightness, contrast, colour, frame.

All are measured on the picture reduced to 256 pixels on its longer side, so that they say the same of a picture whatever
its resolution; a smaller one is measured as it is, for enlarged it would look blurred. Pure functions of pixels; it
knows no table.

Shapes: H height, W width, of the reduced picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

SIDE = 256
EVEN_LEVELS = 10  # of 255: colours that differ by no more are one, for JPEG moves them by as much
_OUTLIERS = 0.005  # of the pixels, at either end, that may stand out of a picture of one colour


@dataclass(frozen=True)
class PictureFigures:
    """What was measured of one picture.

    Args:
        width: pixels, as displayed.
        height: pixels, as displayed.
        sharpness: variance of the Laplacian of the grey levels 0 to 255; below about 100 a photo looks blurred.
        brightness: mean grey level, from 0 (black) to 1 (white).
        contrast: standard deviation of the grey levels as a share of 255, from 0 to 0.5.
        colourfulness: 0 is grey, 15 slightly, 45 quite, above 80 highly colourful.
        border: share of the area that an even frame or bars at the edges take; 1 where they meet.
        blank: the whole picture is of one colour, but for 1 % of its pixels and 10 levels of 255.

    Source: sharpness: Pech-Pacheco et al. 2000 (ICPR, "Diatom autofocusing in brightfield microscopy"); contrast: RMS
    contrast of Peli 1990 (JOSA A 7); colourfulness: M3 of Hasler and Süsstrunk 2003 ("Measuring colourfulness in
    natural images"), with its words for the figures; grey levels: ITU-R BT.601.
    """

    width: int
    height: int
    sharpness: float
    brightness: float
    contrast: float
    colourfulness: float
    border: float
    blank: bool


def measure(pixels_HWC: np.ndarray) -> PictureFigures:
    """Measure one picture.

    Args:
        pixels_HWC: uint8 RGB [any height, any width, 3].
    """
    height, width = pixels_HWC.shape[:2]
    small_HWC = _reduced(pixels_HWC)
    grey_HW = cv2.cvtColor(small_HWC, cv2.COLOR_RGB2GRAY)
    mean, deviation = cv2.meanStdDev(grey_HW)
    edges_HW = cv2.Laplacian(grey_HW, cv2.CV_64F, ksize=1)
    return PictureFigures(
        width=width,
        height=height,
        sharpness=float(cv2.meanStdDev(edges_HW)[1].item() ** 2),
        brightness=mean.item() / 255,
        contrast=deviation.item() / 255,
        colourfulness=_colourfulness(small_HWC),
        border=_border(small_HWC),
        blank=_is_blank(small_HWC),
    )


def _reduced(pixels_HWC: np.ndarray) -> np.ndarray:
    """The picture with SIDE pixels on its longer side at most, and one at least on the other."""
    height, width = pixels_HWC.shape[:2]
    if max(height, width) <= SIDE:
        return pixels_HWC
    scale = SIDE / max(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return cv2.resize(pixels_HWC, size, interpolation=cv2.INTER_AREA)


def _colourfulness(small_HWC: np.ndarray) -> float:
    red, green, blue = (small_HWC[..., channel].astype(np.float32) for channel in range(3))
    (mean_rg, deviation_rg), (mean_yb, deviation_yb) = (
        (part.item() for part in cv2.meanStdDev(opponent_HW)) for opponent_HW in (red - green, (red + green) / 2 - blue)
    )
    return float(np.hypot(deviation_rg, deviation_yb) + 0.3 * np.hypot(mean_rg, mean_yb))


def _border(small_HWC: np.ndarray) -> float:
    """Share of the area outside of what is framed; each edge is followed inwards while it keeps its first colour."""
    height, width = small_HWC.shape[:2]
    top, bottom = (_even_lines(lines_LPC) for lines_LPC in (small_HWC, small_HWC[::-1]))
    if top + bottom >= height:
        return 1.0
    across_WHC = small_HWC[top : height - bottom].transpose(1, 0, 2)  # bars at the top would hide those at the sides
    left, right = (_even_lines(lines_LPC) for lines_LPC in (across_WHC, across_WHC[::-1]))
    framed = max(height - top - bottom, 0) * max(width - left - right, 0)
    return 1 - framed / (height * width)


def _even_lines(lines_LPC: np.ndarray) -> int:
    """How many lines, from the first on, hold nothing but the colour of the first."""
    first_PC = lines_LPC[0]
    low_C, high_C = first_PC.min(axis=0), first_PC.max(axis=0)
    if int((high_C - low_C).max()) > EVEN_LEVELS:
        return 0
    middle_C = (low_C.astype(np.int16) + high_C) // 2
    beyond_LC = np.maximum(middle_C - lines_LPC.min(axis=1), lines_LPC.max(axis=1) - middle_C)
    uneven_L = (beyond_LC > EVEN_LEVELS).any(axis=1)
    return int(uneven_L.argmax()) if uneven_L.any() else len(lines_LPC)


def _is_blank(small_HWC: np.ndarray) -> bool:
    num_pixels = small_HWC.shape[0] * small_HWC.shape[1]
    fewest = int(_OUTLIERS * num_pixels)
    for channel in range(3):
        counts = np.bincount(small_HWC[..., channel].reshape(-1), minlength=256).cumsum()
        low, high = np.searchsorted(counts, fewest, side="right"), np.searchsorted(counts, num_pixels - fewest)
        if high - low > EVEN_LEVELS:
            return False
    return True
