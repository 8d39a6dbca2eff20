"""Pictures of a batch to its tensor: each in its place, in memory laid out as convolutions want it and used again."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
import torch

from clipdata.encoder import Preparation
from clipdata.errors import ImageRefused
from clipdata.images import decode
from clipdata.stream.decode import ImageDecoder
from tests.pictures import encoded

PREPARE = Preparation((32, 32), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), fidelity="fast")
PICTURES = [
    encoded(seed, suffix, 40 + seed, 90 - seed) for seed, suffix in enumerate((".jpg", ".png", ".jpg", ".webp"))
]


@pytest.fixture(params=[1, 3])
def decoder(request: pytest.FixtureRequest) -> Iterator[ImageDecoder]:
    made = ImageDecoder(PREPARE, num_threads=request.param)
    yield made
    made.close()


def column(*values: bytes | None) -> pa.Array:
    return pa.array(values, pa.large_binary())


def expected(data: bytes) -> torch.Tensor:
    return PREPARE(decode(data))


def test_every_row_has_its_picture_in_memory_of_rows_of_pixels(decoder: ImageDecoder) -> None:
    order = [0, 1, 1, 3, 2, 0]

    image_BCHW = decoder.batch(column(*(PICTURES[place] for place in order)), {}).image_BCHW

    assert torch.equal(image_BCHW, torch.stack([expected(PICTURES[place]) for place in order]))
    assert image_BCHW.dtype == torch.uint8
    assert image_BCHW.is_contiguous(memory_format=torch.channels_last)


def test_views_of_the_memory_that_rows_were_read_into_are_decoded_like_an_array(decoder: ImageDecoder) -> None:
    whole = pa.py_buffer(b"before" + PICTURES[0] + PICTURES[1])
    views = [whole.slice(6, len(PICTURES[0])), None, whole.slice(6 + len(PICTURES[0]))]
    unread = {1: ImageRefused("unreadable", "no such file")}

    decoded = decoder.batch(views, unread)

    assert torch.equal(decoded.image_BCHW[0], expected(PICTURES[0]))
    assert torch.equal(decoded.image_BCHW[2], expected(PICTURES[1]))
    assert dict(decoded.refused) == unread


def test_a_batch_that_is_kept_keeps_its_values_while_others_are_decoded(decoder: ImageDecoder) -> None:
    kept = [decoder.batch(column(PICTURES[0], None), {}).image_BCHW[0]]
    kept.append(decoder.batch(column(PICTURES[1], PICTURES[1]), {}).image_BCHW[1:].numpy()[0, :2])
    for _ in range(6):
        decoder.batch(column(PICTURES[2], PICTURES[3]), {})

    assert torch.equal(kept[0], expected(PICTURES[0]))
    assert np.array_equal(kept[1], expected(PICTURES[1])[:2].numpy())


def test_batches_that_nobody_keeps_touch_no_fresh_memory() -> None:
    decoder = ImageDecoder(Preparation((512, 512), (0.5,) * 3, (0.5,) * 3, fidelity="fast"), num_threads=1)
    rows = column(*PICTURES * 4)
    for _ in range(3):
        decoder.batch(rows, {})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        decoder.batch(rows, {})

    pages_of_a_batch = 16 * 512 * 512 * 3 // resource.getpagesize()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < pages_of_a_batch
    decoder.close()


def test_any_function_prepares_and_a_batch_of_none_has_its_shape() -> None:
    def grey(pixels: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(pixels[:8, :6].mean(axis=2, keepdims=True).astype(np.uint8)).permute(2, 0, 1)

    decoder = ImageDecoder(grey, num_threads=2)
    assert decoder.batch(column(None), {}).image_BCHW.shape == (1, 1, 8, 6)
    image_BCHW = decoder.batch(column(PICTURES[1], b"x", PICTURES[0]), {}).image_BCHW
    assert torch.equal(image_BCHW[2], grey(decode(PICTURES[0])))
    assert decoder.batch(column(), {}).image_BCHW.shape == (0, 1, 8, 6)
    decoder.close()


@pytest.mark.gpu
def test_pinned_batches_are_copied_to_the_device_while_the_next_are_decoded() -> None:
    decoder = ImageDecoder(PREPARE, num_threads=2, pin_memory=True)
    copies = []
    for place in range(40):
        image_BCHW = decoder.batch(column(*[PICTURES[place % 4]] * 64), {}).image_BCHW
        assert image_BCHW.is_pinned()
        copies.append(image_BCHW.to("cuda", non_blocking=True))
    decoder.close()

    for place, copy_BCHW in enumerate(copies):
        assert torch.equal(copy_BCHW.cpu(), expected(PICTURES[place % 4]).expand(64, 3, 32, 32))
