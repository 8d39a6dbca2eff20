"""Figures of pictures: known answers, and pictures of every kind."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import cv2
import lance
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

import clipdata as cd
from clipdata.images.figures import SIDE, measure
from tests.pictures import drawing, encoded


def even(colour: Any, height: int = SIDE, width: int = SIDE) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32 - 1), st.integers(1, SIDE))
def test_figures_equal_those_of_scipy_and_numpy(seed: int, height: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, SIDE, 3), np.uint8)
    red, green, blue = (pixels[..., channel].astype(np.float64) for channel in range(3))
    grey = np.floor(0.299 * red + 0.587 * green + 0.114 * blue + 0.5)
    rg, yb = red - green, (red + green) / 2 - blue
    edges = ndimage.laplace(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float64), mode="mirror")

    found = measure(pixels)

    assert found.sharpness == pytest.approx(edges.var(), rel=1e-5)
    assert found.brightness == pytest.approx(grey.mean() / 255, abs=1e-4)
    assert found.contrast == pytest.approx(grey.std() / 255, abs=1e-4)
    colour = math.hypot(rg.std(), yb.std()) + 0.3 * math.hypot(rg.mean(), yb.mean())
    assert found.colourfulness == pytest.approx(colour, rel=1e-5)


def test_plain_pictures_have_plain_figures() -> None:
    white, black, red = (measure(even(colour, 7, 5)) for colour in (255, 0, (255, 0, 0)))

    assert (white.brightness, black.brightness) == (1, 0)
    assert white.contrast == white.sharpness == white.colourfulness == 0
    assert red.colourfulness == pytest.approx(0.3 * math.hypot(255, 127.5), rel=1e-6)
    assert [(one.width, one.height, one.blank, one.border) for one in (white, red)] == [(5, 7, True, 1.0)] * 2


def test_a_picture_looks_alike_at_every_resolution_and_less_sharp_when_it_is_blurred() -> None:
    large = drawing(3, 768, 1024)
    half = cv2.resize(large, (512, 384), interpolation=cv2.INTER_AREA)
    one, two = measure(large), measure(half)

    assert two.sharpness == pytest.approx(one.sharpness, rel=0.1)
    assert two.contrast == pytest.approx(one.contrast, rel=0.02)
    assert two.colourfulness == pytest.approx(one.colourfulness, rel=0.02)
    assert measure(cv2.GaussianBlur(large, (0, 0), 12)).sharpness < one.sharpness / 3


def test_a_frame_is_measured_on_all_sides_and_a_gradient_is_none() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    framed, bars, sides = noise.copy(), noise.copy(), noise.copy()
    framed[:32] = framed[-32:] = 255
    framed[:, :64] = framed[:, -64:] = 255
    bars[:64] = 0
    sides[:, -16:] = (200, 30, 30)
    sky = np.broadcast_to(np.arange(SIDE, dtype=np.uint8)[:, None, None], (SIDE, SIDE, 3)).copy()

    assert measure(framed).border == pytest.approx(1 - 0.75 * 0.5)
    assert measure(bars).border == 0.25
    assert measure(sides).border == 1 / 16
    assert measure(noise).border == 0
    assert measure(sky).border < 0.1


def test_a_picture_of_one_colour_is_blank_for_all_that_jpeg_does_and_a_dot_in_it() -> None:
    dotted = even((40, 90, 200))
    dotted[10:20, 10:20] = 255
    done, data = cv2.imencode(".jpg", dotted[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 60])
    assert done
    decoded = cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    written = even(255)
    written[100:120, 40:200] = 0
    same_grey = even((0, 130, 0))  # two colours that are equally bright
    same_grey[:128] = (255, 0, 0)

    assert measure(decoded).blank
    assert not measure(written).blank
    assert measure(same_grey).contrast < 0.01
    assert not measure(same_grey).blank


def stored(mode: str, suffix: str, size: tuple[int, int] = (40, 30), value: Any = None) -> bytes:
    """A picture of a mode of Pillow's, in a format."""
    given = {} if value is None else {"color": value}
    held = io.BytesIO()
    Image.new(mode, size, **given).save(held, suffix)
    return held.getvalue()


def test_every_kind_of_picture_is_measured_and_what_is_none_says_why(tmp_path: Path) -> None:
    sixteen = np.full((20, 30), 32768, np.uint16)
    pictures = {
        "jpeg": encoded(1),
        "same jpeg": encoded(1),
        "one pixel": stored("RGB", "png", (1, 1), (9, 9, 9)),
        "one row": stored("RGB", "png", (5000, 1), (250, 0, 0)),
        "grey": stored("L", "png", value=51),
        "cmyk": stored("CMYK", "jpeg", value=(0, 0, 0, 0)),
        "16 bit": cv2.imencode(".png", sixteen)[1].tobytes(),
        "transparent": stored("RGBA", "png", value=(0, 0, 0, 0)),
        "palette": stored("P", "png"),
        "cut": encoded(1)[:200],
        "text": b"no picture",
        "empty": b"",
        "null": None,
    }
    table = pa.table({"kind": list(pictures), "image": pa.array(list(pictures.values()), pa.large_binary())})
    lance.write_dataset(table, str(tmp_path / "t.lance"))
    opened = cd.open_table(tmp_path / "t.lance")

    done = cd.map_column(opened, cd.steps.ImageQuality(), "quality")

    read = opened.to_table(["kind", "quality", "quality__error"]).to_pylist()
    found = {row["kind"]: row["quality"] or row["quality__error"] for row in read}
    assert found["jpeg"] == found["same jpeg"]
    assert (found["jpeg"]["width"], found["jpeg"]["height"]) == (64, 48)
    assert found["one pixel"] | {"blank": True, "width": 1, "border": 1.0} == found["one pixel"]
    assert (found["one row"]["width"], found["one row"]["height"]) == (5000, 1)
    assert found["grey"]["brightness"] == pytest.approx(0.2)
    assert found["grey"]["colourfulness"] == 0
    assert found["cmyk"]["brightness"] == pytest.approx(1, abs=0.02)
    assert found["16 bit"]["brightness"] == pytest.approx(0.5, abs=0.01)
    assert found["transparent"]["brightness"] == 1  # as it is shown, on white
    assert found["palette"]["blank"]
    assert found["cut"].startswith(("truncated", "corrupt"))
    assert isinstance(found["text"], str)
    assert isinstance(found["empty"], str)
    assert found["null"] == "no image"
    assert done.num_failed == 4
    num_bytes = sum(len(data or b"") for data in pictures.values())
    assert num_bytes <= done.read_bytes["image"] < num_bytes + 1000  # and where each begins
    assert done.row_s is not None
    assert done.row_s > 0
    assert f"ms a row, and read {done.read_bytes['image']:,} bytes of image" in str(done)
    assert opened.count_rows("NOT quality.blank AND quality.sharpness > 10") == 2
    assert cd.map_column(opened, cd.steps.ImageQuality(), "quality").computed == 0
