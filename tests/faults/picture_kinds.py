"""Kinds of strange picture files beyond `tests.hostile_images`, each with what has to become of it."""

from __future__ import annotations

import io
import struct
import zipfile
from typing import Any

import numpy as np
from PIL import Image, ImageCms, features

from tests.faults.outcomes import KEPT, MB, Kinds
from tests.faults.png_kinds import png_kinds
from tests.hostile_images import drop_jpeg_segment, encode, png_chunk, smooth_picture


def picture_kinds() -> Kinds:
    """All kinds."""
    return {**_of_jpeg(), **png_kinds(), **_of_tiff(), **_of_others(), **_of_two_formats(), **_animated()}


def _segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def exif_segment(entries: list[tuple[int, int, int, int]], next_ifd: int = 0) -> bytes:
    """An APP1 segment with one directory, whose entries are (tag, type, count, value)."""
    listed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return _segment(
        0xE1, b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + listed + struct.pack("<I", next_ifd)
    )


def _of_jpeg() -> Kinds:
    whole = encode(smooth_picture(), "JPEG")
    cmyk = encode(smooth_picture().convert("CMYK"), "JPEG")
    restarts = encode(smooth_picture(320, 240), "JPEG", restart_marker_blocks=4)
    frame = whole.index(b"\xff\xc0")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

    def with_segments(*segments: bytes) -> bytes:
        return whole[:2] + b"".join(segments) + whole[2:]

    return {
        "CMYK JPEG": ("cmyk.jpg", cmyk, KEPT),
        "CMYK JPEG without Adobe's marker": ("plain_cmyk.jpg", drop_jpeg_segment(cmyk, b"\xff\xee"), KEPT),
        "grey JPEG": ("grey.jpg", encode(smooth_picture().convert("L"), "JPEG"), KEPT),
        "progressive JPEG": ("progressive.jpg", encode(smooth_picture(), "JPEG", progressive=True), KEPT),
        "progressive JPEG cut after half its scans": (
            "progressive_cut.jpg",
            encode(smooth_picture(320, 240), "JPEG", progressive=True)[:2500],
            "truncated",
        ),
        "JPEG with restart markers": ("restarts.jpg", restarts, KEPT),
        "JPEG of one pixel": ("one.jpg", encode(smooth_picture().resize((1, 1)), "JPEG"), KEPT),
        "JPEG of one row of 20000": ("strip.jpg", encode(smooth_picture().resize((20_000, 1)), "JPEG"), KEPT),
        "JPEG with a profile of junk": (
            "icc_junk.jpg",
            with_segments(_segment(0xE2, b"ICC_PROFILE\0\1\1" + b"\xff" * 999)),
            KEPT,
        ),
        "JPEG with a profile whose parts are missing": (
            "icc_parts.jpg",
            with_segments(_segment(0xE2, b"ICC_PROFILE\0\3\xff" + profile[:200])),
            KEPT,
        ),
        "JPEG with EXIF that points to itself": (
            "exif_loop.jpg",
            with_segments(exif_segment([(0x0112, 3, 1, 1)], 8)),
            KEPT,
        ),
        "JPEG with EXIF whose parts point to each other": (
            "exif_parts_loop.jpg",
            with_segments(exif_segment([(0x8769, 4, 1, 8), (0x8825, 4, 1, 8), (0xA005, 4, 1, 8)], 8)),
            KEPT,
        ),
        "JPEG turned by an orientation that does not exist": (
            "exif_99.jpg",
            with_segments(exif_segment([(0x0112, 3, 1, 99)])),
            KEPT,
        ),
        "JPEG with an orientation of four billion values": (
            "exif_count.jpg",
            with_segments(exif_segment([(0x0112, 3, 0xFFFFFFFF, 0xFFFFFFFF)])),
            KEPT,
        ),
        "JPEG with 65535 EXIF entries, none of which is there": (
            "exif_many.jpg",
            with_segments(_segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\xff\xff")),
            KEPT,
        ),
        "JPEG whose segment is longer than the file": (
            "segment_long.jpg",
            whole[:2] + b"\xff\xe5\xff\xff" + whole[2:],
            "truncated",
        ),
        "JPEG whose segment has no length": ("segment_0.jpg", whole[:2] + b"\xff\xe5\0\0" + whole[2:], KEPT),
        "JPEG without quantisation tables": (
            "no_tables.jpg",
            drop_jpeg_segment(drop_jpeg_segment(whole, b"\xff\xdb"), b"\xff\xdb"),
            "corrupt",
        ),
        "picture of a camera's film, with the usual Huffman tables left out": (
            "no_huffman.jpg",
            _without(whole, b"\xff\xc4"),
            KEPT,
        ),
        "JPEG of no width": ("no_width.jpg", whole[: frame + 7] + b"\0\0" + whole[frame + 9 :], "corrupt"),
        "JPEG of 255 components": ("components.jpg", whole[: frame + 9] + b"\xff" + whole[frame + 10 :], "corrupt"),
        "JPEG with two frames": (
            "two_frames.jpg",
            whole[:frame] + whole[frame : frame + 19] + whole[frame:],
            "corrupt",
        ),
        "JPEG whose pixels are said to be coded by arithmetic": (
            "arithmetic.jpg",
            whole[:frame] + b"\xff\xc9" + whole[frame + 2 :],
            KEPT,
        ),
        "lossless JPEG": ("lossless.jpg", whole[:frame] + b"\xff\xc3" + whole[frame + 2 :], "corrupt"),
        "JPEG that claims 65535 x 65535": (
            "claims.jpg",
            whole[: frame + 5] + b"\xff\xff\xff\xff" + whole[frame + 9 :],
            "too_many_pixels",
        ),
        "JPEG with a megabyte behind its end": ("behind.jpg", whole + bytes(MB), KEPT),
        "two JPEGs in one file": ("two.jpg", whole * 2, KEPT),
        "JPEG with zeros before its start": ("zeros_first.jpg", bytes(16) + whole, "not_an_image"),
        "JPEG whose first half is zeros": (
            "half_zero.jpg",
            bytes(len(whole) // 2) + whole[len(whole) // 2 :],
            "not_an_image",
        ),
        "JPEG whose header ends in zeros": ("zero_header.jpg", whole[:-900] + bytes(898) + b"\xff\xd9", "truncated"),
    }


def _without(data: bytes, marker: bytes) -> bytes:
    while marker in data:
        data = drop_jpeg_segment(data, marker)
    return data


def _of_tiff() -> Kinds:
    picture = smooth_picture()
    plain = encode(picture, "TIFF")
    directory = struct.unpack_from("<I", plain, 4)[0]
    num_entries = struct.unpack_from("<H", plain, directory)[0]
    next_at = directory + 2 + 12 * num_entries
    kinds: Kinds = {
        f"TIFF packed by {how}": (f"{how}.tiff", encode(picture, "TIFF", compression=how), KEPT)
        for how in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
    }
    return kinds | {
        "TIFF of a fax": ("fax.tif", encode(picture.convert("1"), "TIFF", compression="group4"), KEPT),
        "TIFF of 16 bits": ("grey_16.tif", encode(Image.fromarray(np.full((8, 8), 40_000, np.uint16)), "TIFF"), KEPT),
        "CMYK TIFF": ("cmyk.tif", encode(picture.convert("CMYK"), "TIFF"), KEPT),
        "TIFF of many pages": ("pages.tif", encode(picture, "TIFF", save_all=True, append_images=[picture] * 20), KEPT),
        "TIFF whose pages go round in a circle": (
            "circle.tif",
            plain[:next_at] + struct.pack("<I", directory) + plain[next_at + 4 :],
            KEPT,
        ),
        "TIFF whose directory lies beyond its end": (
            "beyond.tif",
            plain[:4] + struct.pack("<I", 2**31) + plain[8:],
            "corrupt",
        ),
        "TIFF whose directory claims 65535 entries": (
            "entries.tif",
            plain[:directory] + b"\xff\xff" + plain[directory + 2 :],
            KEPT,
        ),
        "TIFF that claims four billion columns": ("claims.tif", _tiff_with(plain, 256, 2**32 - 1), "too_many_pixels"),
        "TIFF of no rows": ("no_rows.tif", _tiff_with(plain, 257, 0), "corrupt"),
        "TIFF whose pixels lie beyond its end": ("pixels_beyond.tif", _tiff_with(plain, 273, 2**31), "truncated"),
        "TIFF packed in a way that does not exist": ("packing.tif", _tiff_with(plain, 259, 60_000), "corrupt"),
    }


def _tiff_with(data: bytes, tag: int, value: int) -> bytes:
    """The same file with another value of one tag, as a long."""
    start = struct.unpack_from("<I", data, 4)[0]
    for number in range(struct.unpack_from("<H", data, start)[0]):
        at = start + 2 + 12 * number
        if struct.unpack_from("<H", data, at)[0] == tag:
            return data[: at + 2] + struct.pack("<HII", 4, 1, value) + data[at + 12 :]
    raise AssertionError(f"no tag {tag}")


def _of_others() -> Kinds:
    picture = smooth_picture()
    bmp, gif, webp = encode(picture, "BMP"), encode(picture, "GIF"), encode(picture, "WEBP")
    kinds = {
        "BMP that claims two billion columns": (
            "claims.bmp",
            bmp[:18] + struct.pack("<i", 2**31 - 1) + bmp[22:],
            "too_many_pixels",
        ),
        "BMP of a negative width": ("negative.bmp", bmp[:18] + struct.pack("<i", -64) + bmp[22:], "too_many_pixels"),
        "BMP from the top down": ("top_down.bmp", bmp[:22] + struct.pack("<i", -48) + bmp[26:], KEPT),
        "BMP whose pixels lie beyond its end": (
            "beyond.bmp",
            bmp[:10] + struct.pack("<I", 2**31) + bmp[14:],
            "truncated",
        ),
        "BMP of 17 bits a pixel": ("depth_17.bmp", bmp[:28] + b"\x11\0" + bmp[30:], "corrupt"),
        "BMP with a palette": ("palette.bmp", encode(picture.quantize(16), "BMP"), KEPT),
        "BMP packed by run lengths that never end": ("runs.bmp", _runs(), "corrupt"),
        "GIF whose screen has no pixels and whose picture has": ("none.gif", gif[:6] + bytes(4) + gif[10:], KEPT),
        "GIF without a palette": ("no_palette.gif", gif[:10] + b"\0" + gif[11:], "corrupt"),
        "GIF header alone": ("header.gif", gif[:13], "corrupt"),
        "lossless WebP": ("lossless.webp", encode(picture, "WEBP", lossless=True), KEPT),
        "WebP with alpha": ("alpha.webp", encode(picture.convert("RGBA"), "WEBP"), KEPT),
        "WebP whose length is a lie": ("length.webp", webp[:4] + struct.pack("<I", 2**31) + webp[8:], "truncated"),
        "WebP whose pixels are zeros, which stand for some": ("zeros.webp", webp[:40] + bytes(len(webp) - 40), KEPT),
        "Netpbm under a JPEG's name": ("netpbm.jpg", b"P6\n8 8\n255\n" + bytes(192), "unsupported_format"),
        "camera's raw file": ("raw.dng", encode(picture, "TIFF"), "unsupported_format"),
        "video": ("video.jpg", b"\0\0\0\x18ftypisom\0\0\0\0isomavc1" + bytes(99), "not_an_image"),
        "pointer of Git LFS": (
            "pointer.jpg",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
            "not_an_image",
        ),
        "one byte": ("byte.jpg", b"\xff", "not_an_image"),
        "zeros": ("zeros.jpg", bytes(4096), "not_an_image"),
    }
    if features.check("avif"):
        avif = encode(picture, "AVIF")
        kinds |= {
            "AVIF": ("whole.avif", avif, KEPT),
            "AVIF cut": ("cut.avif", avif[: len(avif) * 2 // 3], "truncated"),
            "AVIF under a JPEG's name": ("avif.jpg", avif, KEPT),
        }
    return kinds


def _runs() -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, 64, 48, 1, 8, 1, 4, 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + 40 + 1024) + header + bytes(1024) + b"\xff\x01\xff\x02"


def _of_two_formats() -> Kinds:
    jpeg, png, gif = (encode(smooth_picture(), name) for name in ("JPEG", "PNG", "GIF"))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("../../evil.py", "raise SystemExit")
    script = b"<?php system($_GET['c']); ?><script>alert(1)</script>"
    return {
        "PNG under a JPEG's name": ("png.jpg", png, KEPT),
        "JPEG under a GIF's name": ("jpeg.gif", jpeg, KEPT),
        "JPEG under an SVG's name": ("jpeg.svg", jpeg, KEPT),
        "JPEG under a Photoshop file's name": ("jpeg.psd", jpeg, KEPT),
        "archive under a JPEG's name": ("zip.jpg", archive.getvalue(), "not_an_image"),
        "JPEG with an archive behind it": ("jpeg_zip.jpg", jpeg + archive.getvalue(), KEPT),
        "GIF with an archive behind it": ("gif_zip.gif", gif + archive.getvalue(), KEPT),
        "JPEG with a script in a comment": ("script.jpg", jpeg[:2] + _segment(0xFE, script) + jpeg[2:], KEPT),
        "PNG with a page in a comment": ("page.png", png[:33] + png_chunk(b"tEXt", b"c\0" + script) + png[33:], KEPT),
        "page description before a JPEG": ("pdf.jpg", b"%PDF-1.7\n" + jpeg, "unsupported_format"),
        "program before a JPEG": ("exe.jpg", b"MZ" + bytes(62) + jpeg, "not_an_image"),
        "script that starts as a GIF": ("gif.js.gif", b"GIF89a/*" + bytes(40) + b"*/=1;alert(1)", "corrupt"),
    }


def _animated() -> Kinds:
    frames: list[Any] = [smooth_picture(seed=seed) for seed in range(3)]
    gif = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    png = encode(frames[0], "PNG", save_all=True, append_images=frames[1:])
    webp = encode(frames[0], "WEBP", save_all=True, append_images=frames[1:])
    return {
        "animated GIF": ("animated.gif", gif, KEPT),
        "animated PNG": ("animated.png", png, KEPT),
        "animated WebP": ("animated.webp", webp, KEPT),
        "animated GIF cut in its last picture": ("animated_cut.gif", gif[: len(gif) * 9 // 10], KEPT),
        "animated PNG cut in its last picture": ("animated_cut.png", png[: len(png) * 9 // 10], "truncated"),
        "animated WebP cut in its last picture": ("animated_cut.webp", webp[: len(webp) * 9 // 10], "truncated"),
        "JPEG with a second one for 3D": (
            "stereo.jpg",
            encode(frames[0], "MPO", save_all=True, append_images=frames[1:]),
            KEPT,
        ),
    }
