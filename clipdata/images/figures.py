"""Figures of a picture that a person filters by: sharpness, brightness, contrast, colour, frame.

All are measured on the picture reduced to 256 pixels on its longer side, so that they say the same of a picture
whatever its resolution; a smaller one is measured as it is, for enlarged it would look blurred. Pure functions of
pixels; it knows no table.

Shapes: H height, W width, of the reduced picture; C channels, which lie apart so that minima along a line are fast; L
lines of P pixels.
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
    planes_CHW = np.stack(cv2.split(small_HWC))
    grey_HW = cv2.cvtColor(small_HWC, cv2.COLOR_RGB2GRAY)
    mean, deviation = cv2.meanStdDev(grey_HW)
    edges_HW = cv2.Laplacian(grey_HW, cv2.CV_32F, ksize=1)
    return PictureFigures(
        width=width,
        height=height,
        sharpness=float(cv2.meanStdDev(edges_HW)[1].item() ** 2),
        brightness=mean.item() / 255,
        contrast=deviation.item() / 255,
        colourfulness=_colourfulness(planes_CHW),
        border=_border(planes_CHW),
        blank=_is_blank(planes_CHW),
    )


def _reduced(pixels_HWC: np.ndarray) -> np.ndarray:
    """The picture with SIDE pixels on its longer side at most, and one at least on the other."""
    height, width = pixels_HWC.shape[:2]
    if max(height, width) <= SIDE:
        return pixels_HWC
    scale = SIDE / max(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return cv2.resize(pixels_HWC, size, interpolation=cv2.INTER_AREA)


def _colourfulness(planes_CHW: np.ndarray) -> float:
    red, green, blue = planes_CHW.astype(np.float32)
    (mean_rg, deviation_rg), (mean_yb, deviation_yb) = (
        (part.item() for part in cv2.meanStdDev(opponent_HW)) for opponent_HW in (red - green, (red + green) / 2 - blue)
    )
    return float(np.hypot(deviation_rg, deviation_yb) + 0.3 * np.hypot(mean_rg, mean_yb))


def _border(planes_CHW: np.ndarray) -> float:
    """Share of the area outside of what is framed; each edge is followed inwards while it keeps its first colour."""
    _, height, width = planes_CHW.shape
    top, bottom = (_even_lines(lines_CLP) for lines_CLP in (planes_CHW, planes_CHW[:, ::-1]))
    if top + bottom >= height:
        return 1.0
    # Without the bars above and below, which would hide those at the sides.
    across_CWH = np.ascontiguousarray(planes_CHW[:, top : height - bottom].transpose(0, 2, 1))
    left, right = (_even_lines(lines_CLP) for lines_CLP in (across_CWH, across_CWH[:, ::-1]))
    framed = (height - top - bottom) * max(width - left - right, 0)
    return 1 - framed / (height * width)


def _even_lines(lines_CLP: np.ndarray) -> int:
    """How many lines, from the first on, hold nothing but the colour of the first."""
    low_C, high_C = lines_CLP[:, 0].min(axis=1).astype(int), lines_CLP[:, 0].max(axis=1).astype(int)
    if (high_C - low_C).max() > EVEN_LEVELS:
        return 0
    middle_C1 = ((low_C + high_C) // 2)[:, None]
    beyond_CL = np.maximum(middle_C1 - lines_CLP.min(axis=2), lines_CLP.max(axis=2) - middle_C1)
    uneven_L = (beyond_CL > EVEN_LEVELS).any(axis=0)
    return int(uneven_L.argmax()) if uneven_L.any() else len(uneven_L)


def _is_blank(planes_CHW: np.ndarray) -> bool:
    num_pixels = planes_CHW[0].size
    fewest = int(_OUTLIERS * num_pixels)
    for plane_HW in planes_CHW:
        counts = cv2.calcHist([plane_HW], [0], None, [256], [0, 256]).reshape(-1).cumsum()
        low, high = np.searchsorted(counts, fewest, side="right"), np.searchsorted(counts, num_pixels - fewest)
        if high - low > EVEN_LEVELS:
            return False
    return True
