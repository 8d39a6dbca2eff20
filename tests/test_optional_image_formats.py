"""Formats whose readers are optional: AVIF where Pillow was built with it, HEIC through an extra.

Shapes: H height, W width.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

import ingest
from clipdata.images import ImageLimits, ImageRefused, check, decode, pillow, probe, sniff_format
from clipdata.images.avif import coded_sizes
from clipdata.images.orientation import turn
from tests.hostile_images import encode, smooth_picture

PICTURE = smooth_picture()
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 40
needs_avif = pytest.mark.skipif(not features.check("avif"), reason="this Pillow was built without AVIF")
has_heif = pillow.reader_of("heic") is not None


@pytest.fixture
def without_avif(monkeypatch: pytest.MonkeyPatch):
    """As where Pillow was built without AVIF."""
    monkeypatch.setattr("PIL.features.check", lambda name: False)
    pillow.reader_of.cache_clear()
    yield
    pillow.reader_of.cache_clear()


def avif(picture: Image.Image = PICTURE, **options: object) -> bytes:
    return encode(picture, "AVIF", **options)


def claiming(data: bytes, width: int, height: int) -> bytes:
    """The same file with another size in its header."""
    at = data.index(b"ispe") + 8
    return data[:at] + struct.pack(">II", width, height) + data[at + 8 :]


@needs_avif
def test_avif_decodes_to_what_it_shows() -> None:
    header = probe(avif())

    assert (header.format, header.width, header.height) == ("avif", 64, 48)
    assert np.abs(decode(avif(quality=100)).astype(int) - np.asarray(PICTURE).astype(int)).max() < 16
    assert check(avif()) == header


@needs_avif
@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif_is_turned_the_way_it_is_shown(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright, turned = avif(quality=100), avif(quality=100, exif=exif.tobytes())
    stored_HWC = decode(upright)

    header = probe(turned)
    shown_HWC = decode(turned)

    assert (header.height, header.width) == shown_HWC.shape[:2]
    assert ((64, 48) if orientation < 5 else (48, 64)) == (header.width, header.height)
    assert np.array_equal(shown_HWC, turn(stored_HWC, orientation))


@needs_avif
def test_avif_with_alpha_lies_on_white() -> None:
    clear = Image.new("RGBA", (16, 16), (200, 0, 0, 0))

    assert (decode(avif(clear)) == 255).all()


@needs_avif
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (avif()[: len(avif()) // 2] if features.check("avif") else b"", "truncated"),
        (claiming(avif(), 30_000, 30_000) if features.check("avif") else b"", "too_many_pixels"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1" + bytes(60), "corrupt"),
    ],
)
def test_damaged_and_bomb_like_avif_files_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ImageRefused) as refused:
        check(data)
    assert refused.value.reason in (reason, "corrupt")


@needs_avif
@pytest.mark.parametrize("options", [{}, {"speed": 10}, {"quality": 100, "subsampling": "4:4:4"}])
def test_the_size_coded_in_an_avif_is_found(options: dict[str, object]) -> None:
    assert next(coded_sizes(avif(smooth_picture(300, 200), **options))) == (300, 200)


@needs_avif
def test_an_avif_whose_pixels_are_far_more_than_its_header_claims_is_refused() -> None:
    bomb = claiming(avif(Image.new("RGB", (2000, 1500))), 64, 48)

    assert len(bomb) < 2000
    with pytest.raises(ImageRefused) as refused:
        check(bomb, ImageLimits(max_pixels=1_000_000))
    assert refused.value.reason == "too_many_pixels"


@needs_avif
def test_an_avif_cut_anywhere_ends_in_a_refusal() -> None:
    whole = avif()
    for keep in range(0, len(whole) - 1, 97):
        with pytest.raises(ImageRefused):
            check(whole[:keep])


@needs_avif
def test_avif_files_become_rows(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.avif").write_bytes(avif())
    (tmp_path / "in" / "b.jpg").write_bytes(avif())

    for reference in (False, True):
        done = ingest.from_images(tmp_path / "in", into=tmp_path / f"{reference}.lance", reference=reference)
        assert done.table.to_table(["format", "width"]).to_pylist() == [{"format": "avif", "width": 64}] * 2


def test_avif_without_its_reader_is_refused_by_what_installs_it(without_avif) -> None:
    with pytest.raises(ImageRefused, match=r"AVIF.*pip install") as refused:
        check(b"\0\0\0\x1cftypavif\0\0\0\0avifmif1" + bytes(60))
    assert refused.value.reason == "unsupported_format"


@pytest.mark.skipif(has_heif, reason="the extra is installed")
def test_heic_without_its_extra_is_refused_by_the_extras_name(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.heic").write_bytes(HEIC)
    (tmp_path / "in" / "b.jpg").write_bytes(encode(PICTURE, "JPEG"))

    done = ingest.from_images(tmp_path / "in", into=tmp_path / "t.lance")

    assert done.refused == {"unsupported_format": 1}
    with pytest.raises(ImageRefused, match=r"clipdata\[heic\]"):
        check(HEIC)


@pytest.mark.skipif(not has_heif, reason="needs the extra")
def test_heic_decodes_to_what_it_shows() -> None:
    import pillow_heif

    buffer = io.BytesIO()
    pillow_heif.from_pillow(PICTURE).save(buffer, quality=100)

    assert np.abs(decode(buffer.getvalue()).astype(int) - np.asarray(PICTURE).astype(int)).max() < 32


@needs_avif
def test_what_was_refused_for_want_of_a_reader_is_read_once_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "b.jpg").write_bytes(encode(PICTURE, "JPEG"))
    (tmp_path / "in" / "a.avif").write_bytes(avif())
    with monkeypatch.context() as patched:
        patched.setattr("PIL.features.check", lambda name: False)
        pillow.reader_of.cache_clear()
        first = ingest.from_images(tmp_path / "in", into=tmp_path / "t.lance")
    pillow.reader_of.cache_clear()

    again = ingest.from_images(tmp_path / "in", into=tmp_path / "t.lance")

    assert (first.num_refused, again.unchanged, again.written.inserted) == (1, 1, 1)


@pytest.mark.parametrize(
    ("brands", "name"),
    [
        (b"avif\0\0\0\0mif1", "avif"),
        (b"mif1\0\0\0\0mif1avif", "avif"),
        (b"avis\0\0\0\0msf1", "avif"),
        (b"mif1\0\0\0\0mif1heic", "heic"),
        (b"heix\0\0\0\0mif1", "heic"),
        (b"isom\0\0\0\0mp42", None),
        (b"crx \0\0\0\1crx isom", None),
    ],
)
def test_iso_media_files_are_told_apart_by_all_their_brands(brands: bytes, name: str | None) -> None:
    assert sniff_format(struct.pack(">I", 8 + len(brands)) + b"ftyp" + brands + bytes(20)) == name
