"""The formats that Pillow reads here: GIF, BMP, TIFF, AVIF, HEIC, and CMYK JPEGs that do not say how inks are counted.

OpenCV loses the alpha of BMP and the colours under alpha of TIFF, and writes its troubles to stderr; Pillow is right
about these and quiet, but reads a run-length BMP in Python, so that kind is left to OpenCV. AVIF is read where Pillow
was built with it, HEIC where `pillow-heif` is installed. Only the readers named here are ever tried.

Shapes: H height, W width.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import BmpImagePlugin, GifImagePlugin, Image, JpegImagePlugin, TiffImagePlugin, UnidentifiedImageError
from PIL import features as pillow_features

from clipdata.errors import ImageRefused
from clipdata.images.avif import coded_sizes
from clipdata.images.formats import RAW
from clipdata.images.orientation import UPRIGHT

_READERS: dict[str, Callable[[io.BytesIO], Image.Image]] = {
    "gif": GifImagePlugin.GifImageFile,
    "bmp": BmpImagePlugin.BmpImageFile,
    "tiff": TiffImagePlugin.TiffImageFile,
    "jpeg": JpegImagePlugin.JpegImageFile,
}
_OPTIONAL = {
    "avif": "an AVIF file, and the Pillow that is installed was built without AVIF: pip install -U 'pillow>=11.3'",
    "heic": "a HEIC file, which an extra reads: pip install 'clipdata[heic]'",
}
_OPTIONAL_SUFFIXES = {".avif": "avif", ".avifs": "avif", ".heic": "heic", ".heif": "heic", ".hif": "heic"}
_RUN_LENGTH = (1, 2)
_TILE_WIDTH, _TILE_LENGTH, _PHOTOMETRIC, _WHITE_IS_ZERO = 322, 323, 262, 0
_SUBFILE_TYPE, _SUB_FILES, _DNG_VERSION, _REDUCED = 254, 330, 50706, 1
_ORIENTATION = 0x0112
_DAMAGE = (
    *(OSError, ValueError, TypeError, SyntaxError, EOFError, IndexError, KeyError, struct.error, OverflowError),
    RuntimeError,  # of the readers of AVIF and HEIC
)


@dataclass(frozen=True)
class PillowLayout:
    """What the header says.

    Args:
        width: pixels, as Pillow gives them.
        height: pixels, as Pillow gives them.
        orientation: by which they are to be turned still; Pillow turns a TIFF by itself, and HEIC's reader a HEIC.
    """

    width: int
    height: int
    orientation: int = UPRIGHT


@cache
def reader_of(image_format: str) -> Callable[[io.BytesIO], Image.Image] | None:
    """The reader of a format; None where it is not installed."""
    if image_format == "avif":
        if not pillow_features.check("avif"):
            return None
        from PIL import AvifImagePlugin

        return AvifImagePlugin.AvifImageFile
    if image_format == "heic":
        try:
            from pillow_heif import HeifImageFile
        except ImportError:
            return None
        return HeifImageFile  # type: ignore[no-any-return]
    return _READERS[image_format]


def reader_missing_for(suffix: str) -> str:
    """Name the format of a suffix whose reader is not installed; empty where there is one, or none is needed."""
    image_format = _OPTIONAL_SUFFIXES.get(suffix.lower(), "")
    return image_format if image_format and reader_of(image_format) is None else ""


def read_layout(data: bytes, image_format: str, max_pixels: int) -> PillowLayout:
    """Parse the header alone; see `open_header`."""
    picture = open_header(data, image_format, max_pixels)
    try:
        # The reader lays what the container says of turning and mirroring over what EXIF says.
        turned = picture.getexif().get(_ORIENTATION, UPRIGHT) if image_format == "avif" else UPRIGHT
    except _DAMAGE:
        turned = UPRIGHT
    return PillowLayout(*picture.size, turned if isinstance(turned, int) and 1 <= turned <= 8 else UPRIGHT)


def open_header(data: bytes, image_format: str, max_pixels: int) -> Image.Image:
    """Parse the header alone.

    Raises:
        ImageRefused: truncated, corrupt, too_many_pixels, unsupported_format.
    """
    reader = reader_of(image_format)
    if reader is None:
        raise ImageRefused("unsupported_format", _OPTIONAL[image_format])
    if image_format == "avif":
        _hold_coded(data, max_pixels)
    try:
        picture: Image.Image = reader(io.BytesIO(data))
    except Image.DecompressionBombError as error:
        raise ImageRefused("too_many_pixels", str(error)) from None
    except (*_DAMAGE, UnidentifiedImageError) as error:
        raise _refusal(error) from error
    if image_format == "tiff":
        tags = picture.tag_v2  # type: ignore[attr-defined]
        _hold_tile(tags.get(_TILE_WIDTH, 1), tags.get(_TILE_LENGTH, 1), max_pixels)
        # What a raw file shows first is a thumbnail; the picture itself is in a file inside the file.
        if _DNG_VERSION in tags or (tags.get(_SUBFILE_TYPE) == _REDUCED and _SUB_FILES in tags):
            raise ImageRefused("unsupported_format", str(RAW))
    return picture


def _hold_coded(data: bytes, max_pixels: int) -> None:
    """A tiny AVIF may hold a picture far larger than it claims; the decoder makes room for that one."""
    for width, height in coded_sizes(data):
        if width * height > max_pixels:
            raise ImageRefused("too_many_pixels", f"coded as {width} x {height} pixels; the limit is {max_pixels:,}")


def _hold_tile(width: object, length: object, max_pixels: int) -> None:
    """A tiny TIFF may claim tiles far larger than itself; the decoder makes room for a whole one."""
    if not (isinstance(width, int) and isinstance(length, int)):
        raise ImageRefused("corrupt", "a TIFF whose tile size is not a number")
    if width * length > max_pixels:
        raise ImageRefused("too_many_pixels", f"tiles of {width} x {length} pixels; the limit is {max_pixels:,}")


def is_run_length_bmp(data: bytes) -> bool:
    """Whether a BMP is of the kind that Pillow decodes in Python."""
    return int.from_bytes(data[14:18], "little") >= 40 and int.from_bytes(data[30:34], "little") in _RUN_LENGTH


def read_pixels(data: bytes, image_format: str, max_pixels: int) -> np.ndarray:
    """Decode the first frame or page.

    Returns:
        uint8 [H, W, 3] RGB, or [H, W, 4] with alpha.

    Raises:
        ImageRefused: truncated, corrupt, unsupported_format, too_many_pixels.
        MemoryError: there was no room for the pixels; the file may be good.
    """
    picture = open_header(data, image_format, max_pixels)
    try:
        picture.load()
    except _DAMAGE as error:
        raise _refusal(error) from error
    if picture.mode.startswith("I;16"):
        grey_HW = np.asarray(picture).astype(np.uint16)
        if image_format == "tiff" and picture.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:  # type: ignore[attr-defined]
            grey_HW = 65535 - grey_HW
        return np.repeat((grey_HW >> 8).astype(np.uint8)[..., None], 3, axis=2)
    if picture.mode in ("F", "I"):
        # Such values have no agreed range: what is white is known to the writer only.
        raise ImageRefused("unsupported_format", "32-bit pixels without a stated range")
    has_alpha = picture.mode in ("LA", "PA", "RGBA", "RGBa", "La") or "transparency" in picture.info
    try:
        return np.array(picture.convert("RGBA" if has_alpha else "RGB"))
    except ValueError as error:
        raise ImageRefused("unsupported_format", f"pixels of mode {picture.mode}") from error


def read_plain_cmyk(data: bytes) -> np.ndarray:
    """Decode a CMYK JPEG without an Adobe marker: its inks count from 0 (none) up, where Adobe's count down.

    Returns:
        uint8 [H, W, 3] RGB.
    """
    picture = open_header(data, "jpeg", 0)
    try:
        as_adobe_HWC = np.asarray(picture)
    except _DAMAGE as error:
        raise _refusal(error) from error
    return np.array(Image.fromarray(255 - as_adobe_HWC, "CMYK").convert("RGB"))


def explain(data: bytes) -> str:
    """Say what is wrong with a file that OpenCV gave up on without a word; empty where Pillow finds no fault.

    Raises:
        MemoryError: there was no room for the pixels; the file may be good.
    """
    try:
        Image.open(io.BytesIO(data), formats=["JPEG", "PNG", "WEBP", "BMP"]).load()
    except (*_DAMAGE, UnidentifiedImageError, Image.DecompressionBombError) as error:
        return str(error)
    return ""


def _refusal(error: Exception) -> ImageRefused:
    said = str(error)
    is_cut = any(
        word in said.lower() for word in ("truncated", "unexpected end", "not enough", "eof", "unpack requires")
    )
    if not isinstance(error, (OSError, SyntaxError)):  # of these the words alone, such as a number, say nothing
        said = f"its reader stumbles: {type(error).__name__} {said}".rstrip()
    return ImageRefused("truncated" if is_cut else "corrupt", said or type(error).__name__)
