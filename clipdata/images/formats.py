"""What a file is, told from its first bytes, and which suffixes pictures bear. It decodes nothing.

The bytes decide, not the name: a PNG called .jpg is a PNG. Suffixes only tell which files of a folder to look at.
"""

from __future__ import annotations

from dataclasses import dataclass

from clipdata.plurals import counted

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff"}
    | {".avif", ".avifs", ".heic", ".heif", ".hif"}
)
"""Suffixes (lower case) of the formats that are read here, some of them where an optional reader is installed."""


@dataclass(frozen=True)
class OtherFormat:
    """A kind of picture that no reader here takes.

    Args:
        name: with its article, as it is said of a file.
        mend: what makes it one that is read.
    """

    name: str
    mend: str = "convert it, for instance with ImageMagick: magick FILE FILE.png"

    def __str__(self) -> str:
        return f"{self.name}; {self.mend}"


_JXL = OtherFormat("a JPEG XL file", "convert it: djxl FILE FILE.png, or ImageMagick's magick FILE FILE.png")
_JP2 = OtherFormat("a JPEG 2000 file")
_PNM = OtherFormat("a Netpbm file (PBM, PGM, PPM or PAM)")
_ICON = OtherFormat("an icon")
_PSD = OtherFormat("a Photoshop file", "convert it: magick 'FILE[0]' FILE.png")
RAW = OtherFormat("a camera's raw file", "develop it to JPEG or TIFF, for instance: darktable-cli FILE FILE.jpg")
_SVG = OtherFormat("an SVG drawing", "draw it at a size: rsvg-convert -w 1024 FILE -o FILE.png")
_PAGES = OtherFormat("a page description (PDF or PostScript)", "draw its pages: pdftoppm -png FILE NAME")
_EXR = OtherFormat("an OpenEXR or Radiance file without a stated range of values")
_TGA = OtherFormat("a Targa file")

_RAW_SUFFIXES = (
    ".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .fff .iiq .k25 .kdc .mef .mos .mrw .nef .nrw .orf .pef .raf .raw .rw2 "
    ".rwl .sr2 .srf .srw .x3f"
)
OTHER_SUFFIXES: dict[str, OtherFormat] = {
    **dict.fromkeys((".jxl",), _JXL),
    **dict.fromkeys((".jp2", ".j2k", ".jpf", ".jpx", ".jpm", ".j2c", ".jpc"), _JP2),
    **dict.fromkeys((".ppm", ".pgm", ".pbm", ".pnm", ".pam", ".pfm"), _PNM),
    **dict.fromkeys((".ico", ".cur", ".icns"), _ICON),
    **dict.fromkeys((".psd", ".psb"), _PSD),
    **dict.fromkeys(_RAW_SUFFIXES.split(), RAW),
    **dict.fromkeys((".svg", ".svgz"), _SVG),
    **dict.fromkeys((".eps", ".ai"), _PAGES),
    **dict.fromkeys((".exr", ".hdr"), _EXR),
    **dict.fromkeys((".tga",), _TGA),
}
"""Suffixes (lower case) of pictures that no reader here takes."""

_BMP_HEADER_SIZES = (12, 16, 40, 52, 56, 64, 108, 124)
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MAGIC_OF_OTHERS = {
    b"\0\0\0\x0cJXL ": _JXL,
    b"\xff\x0a": _JXL,
    b"\0\0\0\x0cjP  ": _JP2,
    b"\xff\x4f\xff\x51": _JP2,
    b"8BPS": _PSD,
    b"%!PS": _PAGES,
    b"%PDF": _PAGES,
    b"\0\0\1\0": _ICON,
    b"\0\0\2\0": _ICON,
    b"icns": _ICON,
    b"v/1\1": _EXR,
    b"#?RADIANCE": _EXR,
    **dict.fromkeys((b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"P7"), _PNM),
    **dict.fromkeys((b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"IIU\0", b"FOVb", b"\0MRM"), RAW),
}
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_BRANDS_BYTES = 256


def sniff_format(data: bytes | memoryview) -> str | None:
    """Name the format of an image file by its first bytes.

    Args:
        data: at least the first 256 bytes of the file.

    Returns:
        "jpeg", "png", "webp", "gif", "bmp", "tiff", "avif" or "heic"; None for everything else.
    """
    head = bytes(data[:32])
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if head.startswith(_TIFF_MAGIC):
        return None if head[8:10] == b"CR" else "tiff"
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BMP_HEADER_SIZES:
        return "bmp"
    if head[4:8] == b"ftyp":
        brands = _brands(bytes(data[:_BRANDS_BYTES]))
        return "avif" if brands & _AVIF_BRANDS else "heic" if brands & _HEIF_BRANDS else None
    return None


def name_of_other(data: bytes) -> tuple[str, str]:
    """Say what a file is that no reader here takes: the reason to refuse it, and the detail."""
    head = data[:512]
    for magic, other in _MAGIC_OF_OTHERS.items():
        if head.startswith(magic) and (other is not _PNM or head[2:3].isspace()):
            return "unsupported_format", str(other)
    if head.startswith(_TIFF_MAGIC) or (head[4:8] == b"ftyp" and head[8:12] == b"crx "):
        return "unsupported_format", str(RAW)
    if head[4:8] == b"ftyp":
        return "not_an_image", "a video"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"<svg") or (text.startswith((b"<?xml", b"<!doctype svg", b"<!--")) and b"<svg" in text):
        return "unsupported_format", str(_SVG)
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "not_an_image", "an HTML page"
    if head.startswith(b"version https://git-lfs.github.com/spec/"):
        return "not_an_image", "a pointer of Git LFS, not the file itself; fetch it: git lfs pull"
    shown = head[:8].hex(" ")
    expected = "expected JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF"
    return "not_an_image", f"{counted(len(data), 'byte')} that start with {shown}; {expected}"


def _brands(head: bytes) -> set[bytes]:
    """The brands of an ISO media file: the major one, and those it is compatible with."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    return {head[8:12]} | {head[place : place + 4] for place in range(16, end - 3, 4)}
