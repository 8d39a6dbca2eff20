"""Decoding where a device is: which files it sees, what comes of those it does not take, how far pixels are.

All but the decoder of the device itself runs on a processor as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import cv2
import lance
import pyarrow as pa
import pytest
import torch
from PIL import Image

from clipdata.encoder.preparation import Preparation
from clipdata.errors import ImageRefused, UsageError
from clipdata.images import decode, probe_plain
from clipdata.lance_io.table import Table, open_table
from clipdata.stream import Stream, decode_gpu
from clipdata.stream.decode_gpu import DeviceDecoder
from tests.pictures import drawing, encoded

SMALL = Preparation((32, 32), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), fidelity="fast")


def by_pillow(**options) -> bytes:
    held = BytesIO()
    image = Image.fromarray(drawing(5, 60, 90))
    mode = options.pop("mode", "RGB")
    image.convert(mode).save(held, **{"format": "JPEG", "quality": 92, **options})
    return held.getvalue()


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return by_pillow(exif=exif.tobytes())


PLAIN = [encoded(number, height=60, width=90) for number in range(3)] + [by_pillow(mode="L")]
OTHERS = [
    by_pillow(progressive=True),
    by_pillow(mode="CMYK"),
    turned(),
    by_pillow(format="PNG"),
    by_pillow(format="WEBP"),
]
BAD = [b"no picture", PLAIN[0][: len(PLAIN[0]) // 2], b"", by_pillow(format="PNG")[:200]]


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Table:
    pictures = [*PLAIN, *OTHERS, *PLAIN[:2], *BAD, None]
    folder = tmp_path_factory.mktemp("device")
    rows = pa.table({"image": pa.array(pictures, pa.large_binary()), "number": pa.array(range(len(pictures)))})
    lance.write_dataset(rows, folder / "rows.lance")
    return open_table(folder / "rows.lance")


@pytest.mark.parametrize(
    "prepare",
    [
        SMALL,
        Preparation((32, 48), SMALL.mean, SMALL.std, fidelity="fast", interpolation="bilinear"),
        Preparation((32, 32), SMALL.mean, SMALL.std, fidelity="fast", resize_mode="longest", fill_color=7),
        Preparation((32, 32), SMALL.mean, SMALL.std, fidelity="fast", resize_mode="squash"),
        Preparation((80, 100), SMALL.mean, SMALL.std, fidelity="fast"),
    ],
)
def test_a_batch_of_a_device_is_the_exact_one_but_for_a_level_in_places(table, prepare):
    options = {"batch_size": len(table.to_table(["number"])), "shuffle": False, "on_bad_image": "leave_out"}

    (ours,) = Stream(table, ["image", "number"], prepare=prepare, device="cpu", **options)
    (theirs,) = Stream(table, ["image", "number"], prepare=prepare.with_fidelity("exact"), **options)

    assert ours["number"].tolist() == theirs["number"].tolist()
    assert ours["left_out"] == theirs["left_out"]
    assert (ours["image"].dtype, ours["image"].shape) == (torch.uint8, theirs["image"].shape)
    off = (ours["image"].int() - theirs["image"].int()).abs()
    assert off.max() <= 2
    assert off.float().mean() < 0.03


def test_a_device_sees_plain_jpegs_alone_and_each_of_them_once():
    seen: list[bytes] = []

    def on_device(files: Sequence[pa.Buffer], device: torch.device) -> list[torch.Tensor]:
        seen.extend(map(bytes, files))
        return [torch.from_numpy(decode(memoryview(one))).permute(2, 0, 1) for one in files]

    decoder = DeviceDecoder(SMALL, torch.device("cpu"), num_threads=2, decode_jpegs=on_device)
    files = [*PLAIN, *OTHERS, *PLAIN, *BAD, None]

    found = decoder.batch([None if one is None else pa.py_buffer(one) for one in files], {})

    assert seen == PLAIN
    assert decoder.taken()[0] == len(PLAIN) + len(OTHERS)
    assert [found.refused[place].reason for place in sorted(found.refused)] == [
        "not_an_image", "truncated", "empty", "truncated", "missing",
    ]  # fmt: skip
    assert torch.equal(found.image_BCHW[: len(PLAIN)], found.image_BCHW[len(PLAIN) + len(OTHERS) :][: len(PLAIN)])
    decoder.close()


def test_what_a_device_finds_damaged_is_told_by_the_threads():
    # All marks of a whole file, and a component without samples.
    frame = PLAIN[1].index(b"\xff\xc0")
    damaged = PLAIN[1][: frame + 11] + b"\0" + PLAIN[1][frame + 12 :]
    assert probe_plain(damaged)[1]

    def on_device(files: Sequence[pa.Buffer], device: torch.device) -> list[torch.Tensor]:
        raise RuntimeError("nvjpegDecodeJpegHost failed")

    decoder = DeviceDecoder(SMALL, torch.device("cpu"), num_threads=1, decode_jpegs=on_device)
    found = decoder.batch([pa.py_buffer(PLAIN[0]), pa.py_buffer(damaged)], {})
    decoder.close()

    exact = SMALL(decode(PLAIN[0])).int()
    assert (found.image_BCHW[0].int() - exact).abs().max() <= 2
    with pytest.raises(ImageRefused) as caught:
        decode(damaged)
    assert found.refused[1].reason == caught.value.reason


def test_pictures_are_decoded_as_many_at_once_as_there_is_room_for(monkeypatch):
    monkeypatch.setattr(decode_gpu, "MOST_PIXELS", 2 * 60 * 90)
    groups: list[int] = []

    def on_device(files: Sequence[pa.Buffer], device: torch.device) -> list[torch.Tensor]:
        groups.append(len(files))
        return [torch.from_numpy(decode(memoryview(one))).permute(2, 0, 1) for one in files]

    decoder = DeviceDecoder(SMALL, torch.device("cpu"), num_threads=1, decode_jpegs=on_device)
    decoder.batch([pa.py_buffer(encoded(number, height=60, width=90)) for number in range(5)], {})
    decoder.close()

    assert groups == [2, 2, 1]


@pytest.mark.parametrize(
    ("device", "prepare", "said"),
    [
        ("nowhere", SMALL, "expected cpu, cuda"),
        ("meta", SMALL, "decodes no pictures"),
        ("cpu", SMALL.with_fidelity("exact"), "prepare is exact"),
        ("cpu", lambda pixels: torch.from_numpy(cv2.resize(pixels, (8, 8))), "expected a Preparation"),
        ("cuda:97", SMALL, "there is no such GPU"),
    ],
)
def test_a_device_that_cannot_decode_is_refused(table, device, prepare, said):
    with pytest.raises(UsageError, match=said):
        Stream(table, ["image"], batch_size=2, prepare=prepare, device=device)
