"""Strange image files, made from nothing, each with the reason for which it has to be refused.

Shapes: H height, W width, C channels.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

from clipdata.images import pillow


def smooth_picture(width: int = 64, height: int = 48, seed: int = 0) -> Image.Image:
    """A colourful picture without hard edges, so that lossy formats stay near it."""
    noise = np.random.default_rng(seed).integers(20, 236, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def encode(picture: Image.Image, image_format: str, **options: Any) -> bytes:
    """Encode with Pillow."""
    buffer = io.BytesIO()
    picture.save(buffer, image_format, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_file(
    size: tuple[int, int], bit_depth: int, colour_type: int, rows: list[bytes], between: bytes = b"", cut: bool = False
) -> bytes:
    """Write a PNG by hand.

    Args:
        rows: packed samples, without filter bytes.
        between: whole chunks to put before the pixels.
        cut: leave out the end chunk.
    """
    header = struct.pack(">IIBBBBB", *size, bit_depth, colour_type, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = png_chunk(b"IHDR", header) + between + png_chunk(b"IDAT", pixels)
    return b"\x89PNG\r\n\x1a\n" + chunks + (b"" if cut else png_chunk(b"IEND", b""))


def flip_byte(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


def drop_jpeg_segment(data: bytes, marker: bytes) -> bytes:
    start = data.index(marker)
    return data[:start] + data[start + 2 + int.from_bytes(data[start + 2 : start + 4], "big") :]


def first_scan(data: bytes) -> int:
    """Offset of the first entropy-coded byte of a JPEG."""
    start = data.index(b"\xff\xda")
    return start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")


def cut_and_closed_jpeg(keep: float, **options: Any) -> bytes:
    """A JPEG that lost the rest of its rows but was given an end marker: libjpeg fills with grey and only warns."""
    whole = encode(smooth_picture(320, 240), "JPEG", **options)
    scan = first_scan(whole)
    return whole[: scan + int((len(whole) - scan) * keep)] + b"\xff\xd9"


def progressive_bomb(num_scans: int, side: int = 256) -> bytes:
    """A small progressive JPEG with as many empty refinement scans as one likes."""
    whole = encode(smooth_picture(side, side).convert("L"), "JPEG", progressive=True)
    empty = b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 1, 0, 1, 63, 0x10)
    return whole[:-2] + empty * num_scans + whole[-2:]


def jpeg_that_claims(width: int, height: int) -> bytes:
    """A JPEG of a few hundred bytes whose header claims another size."""
    small = encode(smooth_picture(8, 8), "JPEG")
    at = small.index(b"\xff\xc0") + 5
    return small[:at] + struct.pack(">HH", height, width) + small[at + 4 :]


def gif_with_frame(screen: tuple[int, int], frame: tuple[int, int]) -> bytes:
    """A GIF whose only frame claims another size than its screen."""
    data = encode(smooth_picture(8, 8).convert("P"), "GIF")
    at = data.rindex(b"\x2c\0\0\0\0\x08\0\x08\0")
    size = struct.pack("<HH", *screen)
    return data[:6] + size + data[10 : at + 5] + struct.pack("<HH", *frame) + data[at + 9 :]


def tiff_with_tiles(side: int) -> bytes:
    """A 16 x 16 TIFF that claims tiles of `side` x `side` pixels."""
    entries = [
        (256, 3, 16),
        (257, 3, 16),
        (258, 3, 8),
        (259, 3, 5),
        (262, 3, 1),
        (277, 3, 1),
        (322, 4, side),
        (323, 4, side),
    ]
    entries += [(324, 4, 8), (325, 4, 100)]
    body = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + struct.pack("<I", 0) + b"\0" * 100


def refused_files() -> dict[str, tuple[bytes, str]]:
    """Files that must be refused, by a name that says what is wrong: the bytes and the reason."""
    picture = smooth_picture()
    jpeg, png = encode(picture, "JPEG"), encode(picture, "PNG")
    idat = png.index(b"IDAT")
    grey_rows = [bytes(range(16))] * 4
    half = {name: encode(picture, name)[: len(encode(picture, name)) // 2] for name in ("WEBP", "GIF", "BMP", "TIFF")}
    return {
        "zero bytes": (b"", "empty"),
        "text named jpg": (b"this is a caption, not a picture\n" * 9, "not_an_image"),
        "text that starts like a BMP": (b"BMW drives past a long row of houses" * 3, "not_an_image"),
        "an HTML error page": (b"<!DOCTYPE html><html><body>404</body></html>", "not_an_image"),
        "SVG": (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "unsupported_format"),
        "HEIC": (
            b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 40,
            "corrupt" if pillow.reader_of("heic") else "unsupported_format",
        ),
        "PDF": (b"%PDF-1.7\n" + b"x" * 40, "unsupported_format"),
        "JPEG start only": (b"\xff\xd8\xff", "truncated"),
        "JPEG cut at 60 %": (jpeg[: len(jpeg) * 6 // 10], "truncated"),
        "JPEG without its end marker": (jpeg[:-2], "truncated"),
        "JPEG cut at 30 % and closed": (cut_and_closed_jpeg(0.3), "truncated"),
        "JPEG cut at 90 % and closed": (cut_and_closed_jpeg(0.9), "truncated"),
        "grey JPEG cut and closed": (cut_and_closed_jpeg(0.5, quality=30, subsampling=0), "truncated"),
        "JPEG of 30000 x 30000 in 600 bytes": (jpeg_that_claims(30000, 30000), "too_many_pixels"),
        "JPEG with fewer bytes than blocks": (jpeg_that_claims(7000, 7000), "truncated"),
        "JPEG of no height": (jpeg_that_claims(64, 0), "corrupt"),
        "JPEG of 12 bits": (jpeg.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"), "unsupported_format"),
        "progressive JPEG of 6000 scans": (progressive_bomb(6000), "time_bomb"),
        "JPEG of 5000 comments": (jpeg[:2] + b"\xff\xfe\0\2" * 5000 + jpeg[2:], "time_bomb"),
        "PNG of 50000 x 50000": (png_file((50_000, 50_000), 8, 2, [b""]), "too_many_pixels"),
        "PNG without its end chunk": (png_file((16, 4), 8, 0, grey_rows, cut=True), "truncated"),
        "PNG cut at half": (png[: len(png) // 2], "truncated"),
        "PNG with a wrong checksum": (flip_byte(png, idat + 60), "corrupt"),
        "PNG with fewer rows than it says": (png_file((16, 40), 8, 0, grey_rows), "corrupt"),
        "PNG without its palette": (png_file((16, 4), 8, 3, grey_rows), "corrupt"),
        "PNG of 200000 chunks": (png[:33] + png_chunk(b"tEXt", b"") * 200_000 + png[33:], "time_bomb"),
        "WebP cut at half": (half["WEBP"], "truncated"),
        "WebP header only": (encode(picture, "WEBP")[:20], "truncated"),
        "WebP canvas of 16000 x 16000": (
            b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + (15_999).to_bytes(3, "little") * 2,
            "too_many_pixels",
        ),
        "GIF cut at half": (half["GIF"], "truncated"),
        "GIF screen of 60000 x 60000": (gif_with_frame((60_000, 60_000), (8, 8)), "too_many_pixels"),
        "GIF frame of 60000 x 60000": (gif_with_frame((8, 8), (60_000, 60_000)), "too_many_pixels"),
        "BMP cut at half": (half["BMP"], "truncated"),
        "TIFF cut at half": (half["TIFF"], "truncated"),
        "TIFF with tiles of 30000 x 30000": (tiff_with_tiles(30_000), "too_many_pixels"),
        "TIFF of floats": (encode(picture.convert("F"), "TIFF"), "unsupported_format"),
    }
