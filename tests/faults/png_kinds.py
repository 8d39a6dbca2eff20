"""Kinds of strange PNG files, each with what has to become of it; see `tests.faults.picture_kinds`."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from PIL import Image

from tests.faults.outcomes import KEPT, MB, Kinds
from tests.hostile_images import encode, flip_byte, png_chunk, png_file, smooth_picture

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png_kinds() -> Kinds:
    picture = smooth_picture()
    whole = encode(picture, "PNG")
    idat, end = whole.index(b"IDAT"), whole.index(b"IEND")
    rows = [bytes(range(16))] * 4
    header = struct.pack(">IIBBBBB", 16, 4, 8, 0, 0, 0, 0)
    profile_bomb = png_chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(16 * MB)))
    text_bomb = png_chunk(b"zTXt", b"t\0\0" + zlib.compress(bytes(16 * MB)))
    grey_16 = Image.fromarray(np.arange(64 * 48, dtype=np.uint16).reshape(48, 64) * 21)
    return {
        "PNG with a palette": ("palette.png", encode(picture.quantize(200), "PNG"), KEPT),
        "PNG with a palette of two colours": ("palette_1.png", encode(picture.quantize(2), "PNG", bits=1), KEPT),
        "PNG with a palette and transparency": (
            "palette_clear.png",
            encode(picture.quantize(9), "PNG", transparency=b"\0\x80\xff"),
            KEPT,
        ),
        "PNG with a palette index beyond the palette": (
            "palette_beyond.png",
            png_file((16, 4), 8, 3, rows, png_chunk(b"PLTE", b"abc")),
            KEPT,
        ),
        "PNG of one bit": ("one_bit.png", encode(picture.convert("1"), "PNG"), KEPT),
        "PNG of 16 bits, grey": ("grey_16.png", encode(grey_16, "PNG"), KEPT),
        "PNG of 16 bits, with alpha": ("rgba_16.png", png_file((2, 2), 16, 6, [bytes(range(16))] * 2), KEPT),
        "PNG with grey and alpha": ("grey_alpha.png", encode(picture.convert("LA"), "PNG"), KEPT),
        "interlaced PNG of one pixel": ("interlaced.png", _interlaced(), KEPT),
        "PNG with a wrong checksum in its header": ("crc_header.png", flip_byte(whole, 30), "corrupt"),
        "PNG with a wrong checksum of its pixels": ("crc_pixels.png", flip_byte(whole, end - 6), "corrupt"),
        "PNG with a wrong checksum of its end": ("crc_end.png", flip_byte(whole, len(whole) - 1), "corrupt"),
        "PNG with a wrong checksum of a comment": (
            "crc_text.png",
            whole[:33] + flip_byte(png_chunk(b"tEXt", b"a\0b"), 13) + whole[33:],
            KEPT,
        ),
        "PNG of no pixels": ("none.png", png_file((0, 0), 8, 2, [b""]), "corrupt"),
        "PNG of no height": ("no_height.png", png_file((16, 0), 8, 0, []), "corrupt"),
        "PNG of two billion columns": ("wide.png", png_file((2**31 - 1, 1), 8, 0, [b""]), "too_many_pixels"),
        "PNG of a negative width": ("negative.png", png_file((2**32 - 1, 4), 8, 0, rows), "too_many_pixels"),
        "PNG of a bit depth that does not exist": ("depth_7.png", png_file((16, 4), 7, 0, rows), "corrupt"),
        "PNG of a colour type that does not exist": ("colour_5.png", png_file((16, 4), 8, 5, rows), "corrupt"),
        "PNG whose pixels go on for 4 MB": ("goes_on.png", _goes_on(header, rows, 4 * MB), KEPT),
        "PNG whose pixels go on for 320 MB": ("swells.png", _goes_on(header, rows, 320 * MB), "time_bomb"),
        "PNG with a profile of 16 MB": ("profile_bomb.png", whole[:33] + profile_bomb + whole[33:], KEPT),
        "PNG with a comment of 16 MB": ("text_bomb.png", whole[:33] + text_bomb + whole[33:], KEPT),
        "PNG without pixels": ("no_pixels.png", whole[: idat - 4] + whole[end - 4 :], "corrupt"),
        "PNG whose header comes twice": ("headers.png", whole[:33] + whole[8:], "corrupt"),
        "PNG whose first chunk is no header": ("no_header.png", _SIGNATURE + whole[33:], "corrupt"),
        "PNG with a chunk of four gigabytes": (
            "chunk_4g.png",
            whole[:33] + b"\xff\xff\xff\xfftEXtx" + whole[33:],
            "truncated",
        ),
        "PNG signature alone": ("signature.png", _SIGNATURE, "truncated"),
        "PNG whose line ends were changed": ("ftp.png", whole.replace(b"\r\n", b"\n"), "not_an_image"),
        "PNG with a megabyte behind its end": ("behind.png", whole + bytes(MB), KEPT),
    }


def _goes_on(header: bytes, rows: list[bytes], num_bytes: int) -> bytes:
    """A PNG whose packed pixels do not end with its last row."""
    packing = zlib.compressobj()
    first = packing.compress(b"".join(b"\0" + row for row in rows))
    first += packing.compress(bytes(MB)) + packing.flush(zlib.Z_FULL_FLUSH)
    again = packing.compress(bytes(MB)) + packing.flush(zlib.Z_FULL_FLUSH)  # every such piece is alike
    packed = first + again * (num_bytes // MB) + packing.flush()
    return _SIGNATURE + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", packed) + png_chunk(b"IEND", b"")


def _interlaced() -> bytes:
    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 1)
    return _SIGNATURE + b"".join(
        [png_chunk(b"IHDR", header), png_chunk(b"IDAT", zlib.compress(b"\0\x80")), png_chunk(b"IEND", b"")]
    )
