"""Probe, decode, check: the three things that are done with the bytes of an image.

Headers are read and limits are held before a decoder sees the file. A JPEG without fault is libjpeg-turbo's to decode,
from wherever its bytes lie. OpenCV decodes the other JPEGs (equal to Pillow, pixel for pixel), PNG and WebP; Pillow the
rest. OpenCV's global log level is left alone: what it would complain about is refused before it is asked. What the
libraries below it say of damaged files is kept from the terminal (`hushed`).

Shapes: H height, W width, C channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from clipdata.errors import ImageRefused
from clipdata.images import jpeg, pillow, png, turbo, webp
from clipdata.images.canvas import Canvas
from clipdata.images.formats import name_of_other, sniff_format
from clipdata.images.hushed import hushed
from clipdata.images.orientation import UPRIGHT, shown_size, turn
from clipdata.images.refusals import DEFAULT_LIMITS, ImageLimits
from clipdata.plurals import counted

_AS_STORED = cv2.IMREAD_IGNORE_ORIENTATION
_RGB = cv2.IMREAD_COLOR_RGB | _AS_STORED
_JPEG_FILL = 128  # what libjpeg shows where coefficients are missing
# All of the file is read, and an eighth of the pixels made: what costs beside them cannot fail.
_SMALL_GREY = cv2.IMREAD_REDUCED_GRAYSCALE_8 | _AS_STORED


@dataclass(frozen=True)
class ImageHeader:
    """What a file says of itself.

    Args:
        format: "jpeg", "png", "webp", "gif", "bmp", "tiff", "avif" or "heic".
        width: pixels, as displayed (after the EXIF orientation).
        height: pixels, as displayed.
    """

    format: str
    width: int
    height: int


@dataclass(frozen=True)
class Picture:
    """Decoded pixels, and what they are of.

    Args:
        pixels_HWC: uint8 [H, W, 3], or [H, W, 4] whose last channel means nothing. On a canvas, until the next picture.
        whole: height and width of the picture, as displayed; larger than H and W when it was decoded to a fraction.
        fraction: by what height and width were divided, rounded up.
    """

    pixels_HWC: np.ndarray
    whole: tuple[int, int]
    fraction: int = 1


Fraction = Callable[[int, int], int]
"""Height and width of a picture to the number by which both may be divided: 1, 2, 4 or 8."""


Layout = jpeg.JpegLayout | png.PngLayout | webp.WebpLayout | pillow.PillowLayout


def probe(data: bytes | memoryview, limits: ImageLimits = DEFAULT_LIMITS) -> ImageHeader:
    """Read the header; no pixel is decoded and no memory taken for one.

    Args:
        data: the whole encoded file.
        limits: what the file may cost.

    Raises:
        ImageRefused: the header is not that of an image within the limits.
    """
    with hushed:
        return _probe(_held(data, limits), limits)[0]


def probe_plain(data: bytes | memoryview, limits: ImageLimits = DEFAULT_LIMITS) -> tuple[ImageHeader, bool]:
    """Read the header as `probe` does, and tell whether the file is a plain JPEG, which decoders in hardware take.

    A plain one has one scan of one or three components, an end, and is stored as it is displayed.

    Raises:
        ImageRefused: the header is not that of an image within the limits, or a JPEG has no end.
    """
    with hushed:
        held = _held(data, limits)
        header, layout = _probe(held, limits)
        if not isinstance(layout, jpeg.JpegLayout):
            return header, False
        jpeg.hold_end(held, layout)
        is_usual = layout.num_components in (1, 3) and layout.orientation == UPRIGHT
        return header, is_usual and layout.huffman and not layout.many_scans


def decode(data: bytes | memoryview, limits: ImageLimits = DEFAULT_LIMITS) -> np.ndarray:
    """Decode to what a viewer shows: the right way up, alpha on white, 16 bits scaled to 8, every colour model as RGB.

    Args:
        data: the whole encoded file.
        limits: what the file may cost; held before a decoder sees the file.

    Returns:
        uint8 [H, W, 3], contiguous.

    Raises:
        ImageRefused: the file cannot be used; `reason` is a key of `REASONS`.
        MemoryError: there was no room for the pixels; the file may be good.
    """
    return _picture(_held(data, limits), limits, None, False, None).pixels_HWC


def decode_onto(
    canvas: Canvas,
    data: bytes | memoryview,
    limits: ImageLimits = DEFAULT_LIMITS,
    *,
    padded: bool = False,
    fraction: Fraction | None = None,
) -> Picture:
    """Decode as `decode` does, in memory that is used again where the format allows it.

    Args:
        canvas: the calling thread's own.
        data: the whole encoded file.
        limits: what the file may cost.
        padded: give a fourth channel that means nothing where that costs nothing.
        fraction: of height and width as displayed, by what they may be divided. Only JPEGs are.

    Raises:
        ImageRefused: the file cannot be used; `reason` is a key of `REASONS`.
        MemoryError: there was no room for the pixels; the file may be good.
    """
    return _picture(_held(data, limits), limits, canvas, padded, fraction)


def check(data: bytes | memoryview, limits: ImageLimits = DEFAULT_LIMITS) -> ImageHeader:
    """Make sure that an image decodes, and that nothing of it is missing; decodes it once, a JPEG to an eighth.

    Raises:
        ImageRefused: the file cannot be used; `reason` is a key of `REASONS`.
        MemoryError: there was no room for the pixels; the file may be good.
    """
    whole = bytes(_held(data, limits))
    with hushed:
        header, layout = _probe(whole, limits)
        if isinstance(layout, jpeg.JpegLayout) and layout.num_components in (1, 3):
            _check_jpeg(whole, header, layout, limits)
        else:
            _decode(whole, header, layout, limits, upright=False)
    return header


def _check_jpeg(data: bytes, header: ImageHeader, layout: jpeg.JpegLayout, limits: ImageLimits) -> None:
    jpeg.hold_end(data, layout)
    jpeg.hold_scans(data, layout, limits.max_scans)
    small_HW = _imdecode(data, _SMALL_GREY)
    if small_HW.shape != (-(-layout.height // 8), -(-layout.width // 8)):
        raise ImageRefused("corrupt", f"it did not decode to what the header says: {header}")
    if small_HW.item(-1) == _JPEG_FILL:
        _hold_drawn(data, layout, small_HW)


def _held(data: bytes | memoryview, limits: ImageLimits) -> bytes | memoryview:
    """The file within its limit of bytes: a view of a JPEG, whose decoder takes one, and the bytes of anything else."""
    view = memoryview(data).cast("B")
    if view.nbytes == 0:
        raise ImageRefused("empty", "0 bytes")
    if view.nbytes > limits.max_bytes:
        raise ImageRefused("too_large", f"{counted(view.nbytes, 'byte')}; the limit is {limits.max_bytes:,}")
    return view if sniff_format(view) == "jpeg" else bytes(data)


def _picture(
    data: bytes | memoryview, limits: ImageLimits, canvas: Canvas | None, padded: bool, fraction: Fraction | None
) -> Picture:
    if isinstance(data, memoryview):
        clean = _clean_jpeg(data, limits, canvas, padded, fraction)
        if clean is not None:
            return clean
    whole = bytes(data)
    with hushed:
        header, layout = _probe(whole, limits)
        return Picture(_decode(whole, header, layout, limits), (header.height, header.width))


def _clean_jpeg(
    data: memoryview, limits: ImageLimits, canvas: Canvas | None, padded: bool, fraction: Fraction | None
) -> Picture | None:
    """What libjpeg-turbo makes of a JPEG without any fault; None for one that others have to look at."""
    layout = jpeg.read_layout(data)
    width, height = shown_size(layout.width, layout.height, layout.orientation)
    limits.hold(width, height)
    if layout.num_components not in (1, 3):
        return None
    jpeg.hold_end(data, layout)
    jpeg.hold_scans(data, layout, limits.max_scans)
    divisor = fraction(height, width) if fraction else 1
    if layout.orientation != UPRIGHT and (height % divisor or width % divisor):
        divisor = 1  # what is beyond the edge of a fraction would come to lie before its first pixel
    if divisor > 1 and not turbo.is_evenly_sampled(data):
        divisor = 1
    pixels_HWC = turbo.decode_clean(data, layout, fraction=divisor, canvas=canvas, padded=padded)
    if pixels_HWC is None:
        return None
    return Picture(turn(pixels_HWC, layout.orientation), (height, width), divisor)


def _probe(data: bytes | memoryview, limits: ImageLimits) -> tuple[ImageHeader, Layout]:
    image_format = sniff_format(data)
    if image_format is None:
        raise ImageRefused(*name_of_other(bytes(data)))
    layout: Layout
    layout = jpeg.read_layout(data) if image_format == "jpeg" else _other_layout(bytes(data), image_format, limits)
    width, height = shown_size(layout.width, layout.height, layout.orientation)
    limits.hold(width, height)
    return ImageHeader(image_format, width, height), layout


def _other_layout(data: bytes, image_format: str, limits: ImageLimits) -> Layout:
    if image_format == "png":
        return png.read_layout(data)
    if image_format == "webp":
        return webp.read_layout(data)
    return pillow.read_layout(data, image_format, limits.max_pixels)


def _decode(
    data: bytes, header: ImageHeader, layout: Layout, limits: ImageLimits, *, upright: bool = True
) -> np.ndarray:
    if isinstance(layout, jpeg.JpegLayout):
        stored_HWC = _decode_jpeg(data, layout, limits)
    elif isinstance(layout, png.PngLayout):
        stored_HWC = _decode_png(data, layout)
    elif isinstance(layout, webp.WebpLayout):
        webp.hold_end(data)
        stored_HWC = _on_white(_imdecode(data, cv2.IMREAD_UNCHANGED)) if layout.has_alpha else _imdecode(data, _RGB)
    elif header.format == "bmp" and pillow.is_run_length_bmp(data):
        stored_HWC = _imdecode(data, _RGB)
    else:
        pixels_HWC = pillow.read_pixels(data, header.format, limits.max_pixels)
        stored_HWC = _on_white(pixels_HWC, swap=False) if pixels_HWC.shape[2] == 4 else pixels_HWC
    height, width = stored_HWC.shape[:2]
    if shown_size(width, height, layout.orientation) != (header.width, header.height):
        raise ImageRefused("corrupt", f"decoded to {width} x {height}, the header says otherwise: {header}")
    return turn(stored_HWC, layout.orientation) if upright else stored_HWC


def _decode_jpeg(data: bytes, layout: jpeg.JpegLayout, limits: ImageLimits) -> np.ndarray:
    jpeg.hold_end(data, layout)
    jpeg.hold_scans(data, layout, limits.max_scans)
    if layout.num_components == 4 and not layout.adobe:
        return pillow.read_plain_cmyk(data)
    return _imdecode(data, _RGB)


def _decode_png(data: bytes, head: png.PngLayout) -> np.ndarray:
    layout = png.hold_whole(data, head)
    if not layout.has_alpha:
        return _imdecode(layout.pixels_only, _RGB)
    if layout.colour_type != png.GREY:
        return _on_white(_imdecode(layout.pixels_only, cv2.IMREAD_UNCHANGED))
    rgb_HWC = _imdecode(layout.pixels_only, _RGB)
    rgb_HWC[png.mask_of_clear_grey(_imdecode(layout.pixels_only, cv2.IMREAD_UNCHANGED), layout)] = 255
    return rgb_HWC


def _imdecode(data: bytes, flags: int) -> np.ndarray:
    encoded = np.frombuffer(data, np.uint8)
    try:
        pixels = cv2.imdecode(encoded, flags)
        if pixels is not None:
            return pixels
        # OpenCV says no more than "no", and says it as well when memory is short: ask Pillow why.
        fault = pillow.explain(data)
        pixels = None if fault else cv2.imdecode(encoded, flags)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError(f"no room to decode an image of {counted(len(data), 'byte')}") from error
        raise ImageRefused("corrupt", str(error.err)) from error
    if pixels is None:
        raise ImageRefused("corrupt", fault or "the decoder found it damaged")
    return pixels


def _on_white(pixels_HWC: np.ndarray, *, swap: bool = True) -> np.ndarray:
    """Lay a picture with alpha on white.

    Args:
        pixels_HWC: uint8 or uint16; BGRA, or RGBA with `swap=False`. An opaque one may come with three channels.
    """
    if pixels_HWC.dtype == np.uint16:
        pixels_HWC = cv2.convertScaleAbs(pixels_HWC, alpha=1 / 257)
    if pixels_HWC.shape[2] == 3:
        return cv2.cvtColor(pixels_HWC, cv2.COLOR_BGR2RGB) if swap else pixels_HWC
    rgb_HWC = cv2.cvtColor(pixels_HWC, cv2.COLOR_BGRA2RGB if swap else cv2.COLOR_RGBA2RGB)
    alpha_HW1 = pixels_HWC[..., 3:]
    if alpha_HW1.min() == 255:
        return rgb_HWC
    alpha_HWC = cv2.merge([alpha_HW1[..., 0]] * 3)
    ground_HWC = 255 - alpha_HWC
    return cv2.add(cv2.multiply(rgb_HWC, alpha_HWC, scale=1 / 255), ground_HWC)


def _hold_drawn(data: bytes, layout: jpeg.JpegLayout, small_HW: np.ndarray) -> None:
    """Refuse a JPEG that was cut off and closed with an end marker, which every decoder takes.

    libjpeg leaves what is missing at mid-grey, down to the last pixel. A picture may be grey there by itself; then
    filler at the end of its last scan changes nothing, whereas in an incomplete scan it draws.
    """
    padded_HW = cv2.imdecode(np.frombuffer(jpeg.pad_last_scan(data, layout), np.uint8), _SMALL_GREY)
    if padded_HW is None or not np.array_equal(padded_HW, small_HW):
        raise ImageRefused("truncated", "the last rows of a JPEG are missing")
