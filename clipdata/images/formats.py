"""What a file is, told from its first bytes. It does not trust names, and parses nothing."""

from __future__ import annotations

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff"})
"""Suffixes (lower case) of the formats that are read here."""

_BMP_HEADER_SIZES = (12, 16, 40, 52, 56, 64, 108, 124)
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_OTHER_PICTURES = {
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"8BPS": "Photoshop",
    b"%!PS": "PostScript",
    b"%PDF": "PDF",
    b"\0\0\1\0": "icon",
    b"v/1\1": "OpenEXR",
    b"P5": "PGM",
    b"P6": "PPM",
}
_ISO_BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIF", b"msf1": "HEIF"}


def sniff_format(data: bytes | memoryview) -> str | None:
    """Name the format of an image file by its first bytes.

    Args:
        data: at least the first 32 bytes of the file.

    Returns:
        "jpeg", "png", "webp", "gif", "bmp" or "tiff"; None for everything else.
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
        return "tiff"
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BMP_HEADER_SIZES:
        return "bmp"
    return None


def name_of_other(data: bytes) -> tuple[str, str]:
    """Say what a file is that no reader here takes: the reason to refuse it, and the detail."""
    head = data[:512]
    for magic, name in _OTHER_PICTURES.items():
        if head.startswith(magic):
            return "unsupported_format", f"a {name} file"
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        if brand in _ISO_BRANDS:
            return "unsupported_format", f"a {_ISO_BRANDS[brand]} file"
        return "not_an_image", "a video"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"<svg") or (text.startswith(b"<?xml") and b"<svg" in text):
        return "unsupported_format", "an SVG drawing"
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "not_an_image", "an HTML page"
    shown = head[:8].hex(" ")
    return "not_an_image", f"{len(data):,} bytes that start with {shown}; expected JPEG, PNG, WebP, GIF, BMP or TIFF"
