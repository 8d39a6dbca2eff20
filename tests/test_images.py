"""Shapes: H height, W width, C channels."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from clipdata.errors import ConfigError
from clipdata.images import IMAGE_SUFFIXES, REASONS, ImageLimits, ImageRefused, check, decode, probe, sniff_format
from clipdata.images.canvas import Canvas
from clipdata.images.pixels import decode_onto
from tests.hostile_images import (
    cut_and_closed_jpeg,
    drop_jpeg_segment,
    encode,
    first_scan,
    flip_byte,
    png_chunk,
    png_file,
    progressive_bomb,
    refused_files,
    smooth_picture,
)

PICTURE = smooth_picture()
RGB_HWC = np.asarray(PICTURE)
HOSTILE = refused_files()
ALPHA_HW = np.linspace(0, 255, RGB_HWC[..., 0].size).reshape(RGB_HWC.shape[:2]).round().astype(np.uint8)
CUT_OUT = Image.fromarray(np.dstack([RGB_HWC, ALPHA_HW]))


def pillow_rgb(data: bytes) -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


def on_white(rgb_HWC: np.ndarray, alpha_HW: np.ndarray) -> np.ndarray:
    alpha_HW1 = alpha_HW[..., None].astype(float) / 255
    return rgb_HWC * alpha_HW1 + 255 * (1 - alpha_HW1)


def outcome_of(data: bytes, limits: ImageLimits) -> str:
    try:
        check(data, limits)
    except ImageRefused as refusal:
        return refusal.reason
    return "decodes"


def largest_difference(a_HWC: np.ndarray, b_HWC: np.ndarray) -> float:
    assert a_HWC.shape == b_HWC.shape
    return float(np.abs(a_HWC.astype(float) - b_HWC.astype(float)).max())


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 20}, {"restart_marker_rows": 1}]
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpeg_is_equal_to_pillow_pixel_for_pixel(mode, options):
    data = encode(smooth_picture(333, 217).convert(mode), "JPEG", **options)
    assert np.array_equal(decode(data), pillow_rgb(data))


@pytest.mark.parametrize(
    ("image_format", "options"),
    [
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_deflate"}),
    ],
)
def test_lossless_formats_give_back_the_pixels(image_format, options):
    assert np.array_equal(decode(encode(PICTURE, image_format, **options)), RGB_HWC)


@pytest.mark.parametrize("image_format", ["PNG", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("mode", ["L", "P", "1"])
def test_grey_palette_and_one_bit_pictures_become_rgb(image_format, mode):
    data = encode(PICTURE.convert(mode), image_format)
    assert np.array_equal(decode(data), np.asarray(PICTURE.convert(mode).convert("RGB")))


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_and_not_clipped(image_format):
    grey_HW = RGB_HWC[..., 0]
    pixels_HWC = decode(encode(Image.fromarray(grey_HW.astype(np.uint16) * 257), image_format))
    assert largest_difference(pixels_HWC, np.repeat(grey_HW[..., None], 3, 2)) <= 1


def test_sixteen_bit_colour_and_alpha_are_scaled():
    rgb = png_file((2, 1), 16, 2, [struct.pack(">6H", 257, 514, 771, 65535, 32768, 0)])
    rgba = png_file((2, 1), 16, 6, [struct.pack(">8H", 1000, 2000, 3000, 0, 65535, 32768, 0, 65535)])
    assert decode(rgb).tolist() == [[[1, 2, 3], [255, 128, 0]]]
    assert decode(rgba).tolist() == [[[255, 255, 255], [255, 128, 0]]]


@pytest.mark.parametrize(
    ("image_format", "options"),
    [("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})],
)
def test_alpha_is_laid_on_white(image_format, options):
    assert largest_difference(decode(encode(CUT_OUT, image_format, **options)), on_white(RGB_HWC, ALPHA_HW)) <= 1.01


def test_alpha_of_a_bmp_counts_only_where_its_header_declares_it():
    undeclared = encode(CUT_OUT, "BMP")
    pixels_HWC = decode(undeclared)
    assert np.array_equal(pixels_HWC, pillow_rgb(undeclared))
    assert largest_difference(pixels_HWC, RGB_HWC) == 0


def test_colours_hidden_under_full_transparency_are_not_shown():
    hidden = np.zeros((8, 8, 4), np.uint8)
    hidden[..., 0] = 255
    for image_format in ("PNG", "WEBP", "TIFF"):
        assert (decode(encode(Image.fromarray(hidden), image_format)) == 255).all()


def test_a_palette_with_transparency_is_laid_on_white():
    palette = png_chunk(b"PLTE", bytes([255, 0, 0, 0, 255, 0, 0, 0, 255]))
    clear = png_chunk(b"tRNS", bytes([0, 255, 127]))
    data = png_file((3, 1), 8, 3, [bytes([0, 1, 2])], between=palette + clear)
    assert largest_difference(decode(data), np.array([[[255, 255, 255], [0, 255, 0], [128, 128, 255]]])) <= 1


@pytest.mark.parametrize(
    ("bit_depth", "row", "clear", "expected"),
    [
        (8, bytes([0, 7, 9]), 7, [0, 255, 9]),
        (4, bytes([0x0F, 0x30]), 3, [0, 255, 255]),
        (16, struct.pack(">3H", 0, 40000, 50000), 40000, [0, 255, 195]),
    ],
)
def test_the_one_clear_value_of_a_grey_png_turns_white(bit_depth, row, clear, expected):
    data = png_file((3, 1), bit_depth, 0, [row], between=png_chunk(b"tRNS", struct.pack(">H", clear)))
    assert decode(data)[0, :, 0].tolist() == expected


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation_is_applied_to_pixels_and_to_the_header(image_format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(PICTURE, image_format, exif=exif)
    upright_HWC = pillow_rgb(data)
    header = check(data)
    assert np.array_equal(decode(data), upright_HWC)
    assert (header.height, header.width) == upright_HWC.shape[:2]
    assert decode(data).flags.c_contiguous


def test_a_damaged_exif_block_leaves_the_picture_as_it_is_stored():
    exif = b"Exif\0\0II*\0" + struct.pack("<I", 4_000_000_000)
    assert decode(encode(PICTURE, "JPEG", exif=exif)).shape == RGB_HWC.shape


def test_adobe_cmyk_jpeg_shows_the_right_colours():
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert largest_difference(decode(encode(red, "JPEG", quality=95)), np.full((16, 16, 3), (255, 0, 0))) <= 6


def test_ycck_jpeg_shows_the_right_colours():
    # In YCCK the stored luma and chroma are those of cyan, magenta and yellow ink taken for red, green and blue.
    ycc = Image.new("RGB", (16, 16), (0, 255, 255)).convert("YCbCr").split()
    stored = Image.merge("CMYK", (*ycc, Image.new("L", (16, 16), 255)))
    data = bytearray(encode(Image.eval(stored, lambda ink: 255 - ink), "JPEG", quality=95))
    data[data.index(b"Adobe") + 11] = 2
    assert largest_difference(decode(bytes(data)), np.full((16, 16, 3), (255, 0, 0))) <= 6


def test_a_cmyk_jpeg_without_adobe_marker_counts_ink_upwards():
    inks_HWC = np.full((16, 16, 4), (0, 255, 255, 0), np.uint8)
    # Pillow turns inks over on the way to a file; turned over beforehand, they lie in it as plain CMYK.
    plain = drop_jpeg_segment(encode(Image.fromarray(255 - inks_HWC, "CMYK"), "JPEG", quality=95), b"\xff\xee")
    assert largest_difference(decode(plain), np.full((16, 16, 3), (255, 0, 0))) <= 6
    assert check(plain).format == "jpeg"


def test_cmyk_tiff_shows_the_right_colours():
    data = encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "TIFF")
    assert largest_difference(decode(data), np.full((16, 16, 3), (255, 0, 0))) <= 1


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "TIFF", "PNG"])
def test_the_first_frame_or_page_is_taken(image_format):
    frames = [Image.new("RGB", (20, 10), colour) for colour in ((200, 30, 30), (30, 200, 30), (30, 30, 200))]
    options = {"lossless": True} if image_format == "WEBP" else {}
    data = encode(frames[0], image_format, save_all=True, append_images=frames[1:], **options)
    assert largest_difference(decode(data), np.asarray(frames[0])) <= 3
    assert probe(data).width == 20


def test_an_animated_png_with_a_still_of_its_own_shows_the_still():
    frames = [Image.new("RGB", (20, 10), colour) for colour in ((200, 30, 30), (30, 200, 30), (30, 30, 200))]
    data = encode(frames[0], "PNG", save_all=True, append_images=frames[1:], default_image=True)
    assert np.array_equal(decode(data), np.asarray(frames[0]))


def test_transparent_gif_is_laid_on_white():
    frame = Image.new("P", (4, 1))
    frame.putpalette([255, 0, 0, 0, 0, 255])
    frame.putdata([0, 1, 0, 1])
    data = encode(frame, "GIF", transparency=1)
    assert decode(data).tolist() == [[[255, 0, 0], [255, 255, 255], [255, 0, 0], [255, 255, 255]]]


def test_a_damaged_text_chunk_or_colour_profile_does_not_cost_a_good_png():
    good = encode(PICTURE, "PNG")
    text = png_chunk(b"tEXt", b"hello")
    text_bomb = png_chunk(b"zTXt", b"a\0\0" + b"\x78\x9c" + b"\0" * 60)
    data = good[:33] + flip_byte(text, 10) + png_chunk(b"iCCP", b"junk") + text_bomb + good[33:]
    assert check(data).format == "png"
    assert np.array_equal(decode(data), RGB_HWC)


def test_colour_profiles_are_carried_but_not_applied():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.array_equal(decode(encode(PICTURE, "PNG", icc_profile=profile)), RGB_HWC)


def test_what_follows_the_end_marker_does_not_matter():
    jpeg = encode(PICTURE, "JPEG")
    film = np.random.default_rng(0).integers(0, 256, 300_000, dtype=np.uint8).tobytes()
    assert np.array_equal(decode(jpeg + film), decode(jpeg))
    progressive = encode(PICTURE, "JPEG", progressive=True)
    assert check(progressive + film * 30).format == "jpeg"
    assert np.array_equal(decode(encode(PICTURE, "PNG") + film), RGB_HWC)


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("verb", [check, decode])
def test_a_hostile_file_is_refused_with_its_reason(name, verb):
    data, reason = HOSTILE[name]
    if verb is decode and name.endswith("closed"):
        assert decode(data).ndim == 3  # only `check` looks for missing rows
        return
    with pytest.raises(ImageRefused) as refusal:
        verb(data)
    assert refusal.value.reason == reason, refusal.value.detail
    assert refusal.value.reason in REASONS
    assert refusal.value.detail


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_prefix_of_every_format_is_refused_or_whole():
    for image_format in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"):
        data = encode(smooth_picture(24, 16), image_format)
        whole_HWC = decode(data)
        for length in range(0, len(data), 7):
            try:
                pixels_HWC = decode(data[:length])
            except ImageRefused:
                continue
            assert np.array_equal(pixels_HWC, whole_HWC), f"{image_format} cut at {length} of {len(data)}"


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow remarks on damaged TIFF tags
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_random_damage_is_refused_or_decoded_and_never_anything_else(image_format):
    data = encode(smooth_picture(40, 30), image_format)
    random = np.random.default_rng(7)
    for _ in range(150):
        damaged = bytearray(data)
        for at in random.integers(0, min(len(data), 400), 3):
            damaged[at] = random.integers(0, 256)
        outcome = outcome_of(bytes(damaged), ImageLimits(max_pixels=1_000_000))
        assert outcome in REASONS or outcome == "decodes"


def damaged_jpegs() -> list[bytes]:
    """JPEGs of many kinds, whole and with a few bytes overwritten, inserted or lost, in the header and in the scans."""
    rng, made = np.random.default_rng(7), []
    kinds = ({}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 1, "restart_marker_blocks": 3})
    for number, options in enumerate(kinds * 2):
        picture = smooth_picture(90 + number, 61).convert("L" if number == 4 else "RGB")
        whole = encode(picture, "JPEG", **options)
        made.append(whole)
        for _ in range(60):
            at, kind = int(rng.integers(2, len(whole) - 2)), int(rng.integers(3))
            new = [rng.bytes(2), b"\xff" + rng.bytes(1), b""][kind]
            made.append(whole[:at] + new + whole[at + len(new) * int(rng.integers(2)) + (kind == 2) :])
    return made


def test_a_jpeg_that_is_decoded_has_the_pixels_that_opencv_makes_of_it_however_damaged():
    outcomes = []
    for data in damaged_jpegs():
        expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
        try:
            found = decode(data)
        except ImageRefused:
            outcomes.append("refused")
            continue
        outcomes.append("decoded")
        assert np.array_equal(found, expected)
    assert min(outcomes.count("refused"), outcomes.count("decoded")) > 50


@pytest.mark.parametrize("orientation", [1, 3, 6, 7])
@pytest.mark.parametrize("size", [(160, 120), (163, 121)])
def test_a_canvas_and_a_fraction_change_the_memory_and_the_size_and_not_what_is_shown(size, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data, canvas = encode(smooth_picture(*size), "JPEG", exif=exif, quality=95), Canvas()
    whole_HWC = decode(data)

    same = decode_onto(canvas, data, padded=True)
    assert np.array_equal(same.pixels_HWC[..., :3], whole_HWC)

    halves = decode_onto(canvas, data, fraction=lambda height, width: 2)
    assert halves.whole == same.whole == whole_HWC.shape[:2]
    assert halves.fraction == (2 if orientation == 1 or size == (160, 120) else 1)
    even_HWC = cv2.copyMakeBorder(whole_HWC, 0, size[1] % 2, 0, size[0] % 2, cv2.BORDER_REPLICATE)
    if halves.fraction == 1:
        even_HWC = whole_HWC
    expected_HWC = cv2.resize(even_HWC, halves.pixels_HWC.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert largest_difference(halves.pixels_HWC[..., :3], expected_HWC) <= 12


def test_a_grey_picture_is_not_taken_for_a_cut_one():
    mid_grey = Image.new("RGB", (97, 61), (128, 128, 128))
    half_grey = smooth_picture(96, 64)
    half_grey.paste((128, 128, 128), (0, 32, 96, 64))
    for picture in (mid_grey, half_grey, mid_grey.convert("L")):
        for options in ({}, {"progressive": True}, {"restart_marker_rows": 1}):
            assert check(encode(picture, "JPEG", **options)).format == "jpeg"


def test_a_jpeg_that_lost_its_middle_is_refused():
    data = encode(smooth_picture(320, 240), "JPEG")
    scan = first_scan(data)
    third = (len(data) - scan) // 3
    with pytest.raises(ImageRefused, match="truncated"):
        check(data[: scan + third] + data[scan + 2 * third :])


def test_a_progressive_jpeg_with_a_few_scans_more_than_usual_is_read():
    assert check(progressive_bomb(40)).format == "jpeg"


def test_scans_hidden_behind_a_false_end_marker_are_counted():
    bomb = progressive_bomb(300)
    at = bomb.index(b"\xff\xda", first_scan(bomb))
    comment = b"\xff\xfe\0\x04\xff\xd9"
    with pytest.raises(ImageRefused, match="time_bomb"):
        check(bomb[:at] + comment + bomb[at:])


def test_a_refused_header_takes_no_memory_for_pixels():
    script = (
        "import resource, sys\n"
        "from clipdata.images import ImageRefused, check\n"
        "from tests.hostile_images import refused_files\n"
        "files = refused_files()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for data, reason in files.values():\n"
        "    try:\n"
        "        check(data)\n"
        "    except ImageRefused as refusal:\n"
        "        assert refusal.reason == reason\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 60_000  # KiB: the largest of them would be 2.7 GB
    assert "WARN" not in done.stderr
    assert "ERROR" not in done.stderr
    assert len(done.stderr.splitlines()) <= 10, done.stderr


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("size", [(1, 1), (7, 9), (8, 8), (65, 47), (640, 17)])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_a_whole_jpeg_of_any_shape_passes_the_check(mode, size, options):
    data = encode(smooth_picture(*size).convert(mode), "JPEG", **options)
    assert (check(data).width, check(data).height) == size


def test_a_jpeg_that_ends_in_grey_by_itself_passes_the_check():
    for picture in (Image.new("RGB", (40, 40), (128, 128, 128)), Image.new("L", (40, 40), 128)):
        assert check(encode(picture, "JPEG")).width == 40


def test_out_of_memory_is_not_a_bad_image():
    script = (
        "import resource, sys\n"
        "from clipdata.images import decode\n"
        "from tests.hostile_images import encode, smooth_picture\n"
        "data = encode(smooth_picture(5000, 5000), sys.argv[1])\n"
        "decode(encode(smooth_picture(), sys.argv[1]))\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 40_000_000, resource.RLIM_INFINITY))\n"
        "try:\n"
        "    decode(data)\n"
        "except MemoryError:\n"
        "    print('MemoryError')\n"
    )
    for image_format in ("JPEG", "PNG", "WEBP", "TIFF"):
        arguments = [sys.executable, "-c", script, image_format]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
        assert done.stdout.strip() == "MemoryError", f"{image_format}: {done.stdout} {done.stderr[-800:]}"


def test_limits_of_bytes_and_pixels_are_held():
    data = encode(PICTURE, "PNG")
    assert check(data, ImageLimits(max_pixels=64 * 48, max_bytes=len(data))).width == 64
    with pytest.raises(ImageRefused, match="too_many_pixels: 64 x 48 = 3,072 pixels; the limit is 3,071"):
        probe(data, ImageLimits(max_pixels=64 * 48 - 1))
    with pytest.raises(ImageRefused, match="too_large"):
        probe(data, ImageLimits(max_bytes=len(data) - 1))


def test_limits_that_make_no_sense_are_all_named():
    with pytest.raises(ConfigError) as error:
        ImageLimits(max_pixels=0, max_scans=-1)
    assert len(error.value.problems) == 2


def test_arrow_buffers_are_read_like_bytes():
    data = encode(PICTURE, "JPEG")
    assert np.array_equal(decode(memoryview(data)), decode(data))
    assert check(memoryview(data).cast("b")) == check(data)


def test_formats_are_told_by_content_and_not_by_name():
    for image_format in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"):
        data = encode(PICTURE, image_format)
        assert sniff_format(data) == image_format.lower()
        assert probe(data).format == image_format.lower()
    assert sniff_format(b"") is None
    assert sniff_format(b"%PDF-1.4") is None
    assert {".jpg", ".png", ".webp", ".gif", ".bmp", ".tif"} <= IMAGE_SUFFIXES


def test_threads_get_the_same_pixels_as_one_thread():
    files = [
        encode(smooth_picture(200, 150, seed), name) for seed in range(4) for name in ("JPEG", "PNG", "GIF", "TIFF")
    ]
    files.append(cut_and_closed_jpeg(0.5))
    alone = [decode(data) for data in files]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(decode, files * 8))
    assert all(np.array_equal(alone[index % len(files)], pixels) for index, pixels in enumerate(together))


def test_importing_it_loads_neither_torch_nor_lance():
    script = "import sys, clipdata.images; print([m for m in ('torch', 'lance', 'datachain') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
