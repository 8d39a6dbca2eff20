"""Why an image is refused: the codes and the limits. It does not look at a single byte of an image."""

from __future__ import annotations

from dataclasses import dataclass

from clipdata.errors import ConfigError, ImageRefused
from clipdata.plurals import counted

REASONS: dict[str, str] = {
    "empty": "the file has no bytes",
    "missing": "there is no file at this place",
    "unreadable": "the file is there but cannot be read",
    "not_a_file": "the place holds a folder, a pipe or a device, not a regular file",
    "not_an_image": "the bytes are of no image format",
    "unsupported_format": "an image, but of a format or a variant that is not read here",
    "too_large": "the file has more bytes than the limit",
    "too_many_pixels": "the header claims more pixels than the limit",
    "time_bomb": "the file would take far longer to decode than its pixels warrant",
    "truncated": "the end of the file is missing",
    "corrupt": "the file is damaged",
}


@dataclass(frozen=True)
class ImageLimits:
    """What an image may cost before it is refused.

    Args:
        max_pixels: width times height, as the header claims it; decoding takes about 13 bytes a pixel at its peak.
        max_bytes: length of the encoded file.
        max_scans: passes over a progressive JPEG; cameras and encoders write about 10.

    Raises:
        ConfigError: a limit is not positive.
    """

    max_pixels: int = 64_000_000
    max_bytes: int = 128 * 2**20
    max_scans: int = 100

    def __post_init__(self) -> None:
        problems = [f"{name} is {value}; expected at least 1" for name, value in vars(self).items() if value < 1]
        if problems:
            raise ConfigError(problems, what="image limits")

    def hold(self, width: int, height: int) -> None:
        """Refuse a picture whose header claims no pixels, or too many."""
        if width < 1 or height < 1:
            raise ImageRefused("corrupt", f"the header says {width} x {height} pixels")
        if width * height > self.max_pixels:
            found = f"{width} x {height} = {counted(width * height, 'pixel')}"
            raise ImageRefused("too_many_pixels", f"{found}; the limit is {self.max_pixels:,}")


DEFAULT_LIMITS = ImageLimits()
