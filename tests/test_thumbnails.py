"""Thumbnails: small, upright, without metadata, and a refusal for what is no picture."""

import io

import pytest
from PIL import Image

from clipdata.errors import ImageRefused
from clipdata.images.thumbnails import thumbnail


def jpeg(width: int, height: int, **more) -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(written, "JPEG", **more)
    return written.getvalue()


@pytest.mark.parametrize(
    ("size", "expected"), [((3000, 1500), (256, 128)), ((40, 30), (40, 30)), ((20, 5000), (1, 256))]
)
def test_the_longest_side_is_bounded_and_small_pictures_stay(size, expected):
    found = thumbnail(jpeg(*size))

    assert (found.width, found.height) == expected
    shown = Image.open(io.BytesIO(found.data))
    assert (shown.format, shown.size) == ("WEBP", expected)
    assert found.uri.startswith("data:image/webp;base64,")


def test_a_turned_picture_stands_upright_and_what_its_file_said_of_the_camera_is_gone():
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "taken at home"
    found = thumbnail(jpeg(800, 400, exif=exif))

    assert (found.width, found.height) == (128, 256)
    assert not Image.open(io.BytesIO(found.data)).getexif()
    assert b"home" not in found.data


def test_what_is_no_picture_is_refused_with_the_reason():
    with pytest.raises(ImageRefused) as refused:
        thumbnail(b"hello")

    assert refused.value.reason == "not_an_image"
