"""The images of a batch: each distinct one decoded once, refusals by row, and no copy of the bytes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest

from clipdata.images import ImageLimits, decode
from clipdata.images.batches import NO_IMAGE, FillsSlots, decode_batch, decode_images, distinct_images, fill_slots
from clipdata.images.threads import DecodingThreads
from tests.pictures import encoded


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


@pytest.fixture
def threads() -> Iterator[DecodingThreads]:
    shared = DecodingThreads(3)
    yield shared
    shared.close()


class TopLeft:
    """Keeps the corner of a picture, from which `draw` subtracts a number; and remembers what it was given."""

    size = (5, 7)
    padded = True

    def __init__(self) -> None:
        self.given: list[tuple[tuple[int, ...], tuple[int, int] | None]] = []

    def fraction(self, height: int, width: int) -> int:
        return 2 if height >= 100 else 1

    def into(self, pixels: np.ndarray, out: np.ndarray, draw: np.random.Generator | None = None, *, whole=None) -> None:
        self.given.append((pixels.shape[:2], whole))
        out[:] = pixels[:5, :7, :3] - (0 if draw is None else draw.integers(256, dtype=np.uint8))


def column(*values: bytes | None) -> pa.Array:
    return pa.array(values, pa.large_binary())


def test_each_distinct_image_is_decoded_once_whatever_the_number_of_rows(pool: ThreadPoolExecutor) -> None:
    cat, dog = encoded(1), encoded(2)
    prepared: list[tuple[int, ...]] = []

    def counted(pixels: np.ndarray) -> np.ndarray:
        prepared.append(pixels.shape)
        return pixels

    batch = decode_batch(column(cat, cat, dog, cat, dog), counted, pool)

    assert len(prepared) == 2
    assert batch.image_of_row.tolist() == [0, 0, 1, 0, 1]
    assert batch.refused == {}
    assert np.array_equal(batch.pixels[0], decode(cat))
    assert np.array_equal(batch.pixels[1], decode(dog))


def test_refused_and_missing_images_are_said_by_row_and_leave_the_others_in_place(pool: ThreadPoolExecutor) -> None:
    good, broken = encoded(1), encoded(2)[:300]

    batch = decode_batch(column(broken, good, None, broken, b"no picture", b""), lambda pixels: pixels, pool)

    assert batch.image_of_row.tolist() == [NO_IMAGE, 0, NO_IMAGE, NO_IMAGE, NO_IMAGE, NO_IMAGE]
    reasons = {row: refused.reason for row, refused in batch.refused.items()}
    assert reasons == {0: "truncated", 2: "missing", 3: "truncated", 4: "not_an_image", 5: "empty"}
    assert np.array_equal(batch.pixels[0], decode(good))


def test_images_of_equal_length_are_told_apart_by_their_bytes() -> None:
    found = distinct_images(column(b"aaaa", b"aaab", b"aaaa", b"aa", b"aaab"))

    assert [data.to_pybytes() for data in found.encoded] == [b"aaaa", b"aaab", b"aa"]
    assert found.image_of_row.tolist() == [0, 1, 0, 2, 1]


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_bytes_are_views_of_the_batch_also_of_a_slice_and_of_chunks(kind: pa.DataType) -> None:
    whole = pa.array([b"before", b"one", None, b"two"], kind)
    first, last = whole.buffers()[-1].address, whole.buffers()[-1].address + whole.buffers()[-1].size

    sliced = distinct_images(whole.slice(1))
    chunked = distinct_images(pa.chunked_array([whole.slice(1, 1), whole.slice(3)]))

    for found in (sliced, chunked):
        assert [data.to_pybytes() for data in found.encoded] == [b"one", b"two"]
        assert all(first <= data.address < last for data in found.encoded)
    assert sliced.image_of_row.tolist() == [0, NO_IMAGE, 1]
    assert chunked.image_of_row.tolist() == [0, 1]


def test_rows_without_any_bytes_and_other_types_of_bytes_are_read() -> None:
    assert distinct_images(pa.nulls(3, pa.large_binary())).image_of_row.tolist() == [NO_IMAGE] * 3
    assert [data.to_pybytes() for data in distinct_images(pa.array([b"ab", b"cd"], pa.binary(2))).encoded] == [
        b"ab",
        b"cd",
    ]
    assert distinct_images(pa.array([b"", b""], pa.binary_view())).image_of_row.tolist() == [0, 0]


def test_limits_are_held_before_decoding(pool: ThreadPoolExecutor) -> None:
    batch = decode_batch(column(encoded(1)), lambda pixels: pixels, pool, ImageLimits(max_pixels=100))

    assert batch.refused[0].reason == "too_many_pixels"
    assert list(batch.pixels) == []


def test_several_images_are_decoded_at_the_same_time(pool: ThreadPoolExecutor) -> None:
    both = threading.Barrier(2, timeout=120)

    def meet(pixels: np.ndarray) -> int:
        return both.wait() * 0 + pixels.shape[0]

    assert decode_batch(column(encoded(1), encoded(2)), meet, pool).pixels == [48, 48]


def test_what_goes_wrong_in_preparing_is_raised_and_not_taken_for_a_bad_image(pool: ThreadPoolExecutor) -> None:
    def fails(pixels: np.ndarray) -> None:
        raise MemoryError("no room")

    with pytest.raises(MemoryError):
        decode_images(distinct_images(column(encoded(1), encoded(2))).encoded, fails, pool)


def test_a_batch_without_rows_is_empty(pool: ThreadPoolExecutor) -> None:
    batch = decode_batch(column(), lambda pixels: pixels, pool)

    assert (list(batch.pixels), batch.image_of_row.tolist(), batch.refused) == ([], [], {})


SUFFIXES = (".jpg", ".png", ".webp", ".bmp", ".jpg")


def test_every_row_finds_its_picture_in_its_slot_and_each_picture_is_decoded_once(threads: DecodingThreads) -> None:
    pictures = [encoded(seed, SUFFIXES[seed % 5]) for seed in range(12)]
    rows = np.random.default_rng(0).integers(0, 12, 40)
    prepare = TopLeft()
    out_BHWC = np.zeros((40, 5, 7, 3), np.uint8)

    filled = fill_slots(column(*(pictures[row] for row in rows)), prepare, out_BHWC, threads)

    assert isinstance(prepare, FillsSlots)
    assert filled.refused == {}
    assert filled.num_images == len(set(rows.tolist()))
    assert len(prepare.given) == len(set(rows.tolist()))
    assert np.array_equal(out_BHWC, np.stack([decode(pictures[row])[:5, :7] for row in rows]))


def test_pixels_are_rgb_for_whoever_says_nothing_of_a_fourth_channel(threads: DecodingThreads) -> None:
    class Plain:
        size = (5, 7)

        def into(self, pixels: np.ndarray, out: np.ndarray, draw: object) -> None:
            assert pixels.shape == (48, 64, 3)
            out[:] = pixels[:5, :7]

    out_BHWC = np.zeros((2, 5, 7, 3), np.uint8)
    fill_slots(column(encoded(1), encoded(2, ".png")), Plain(), out_BHWC, threads)

    assert np.array_equal(out_BHWC[0], decode(encoded(1))[:5, :7])


def test_a_preparation_that_draws_is_asked_once_a_row_with_the_rows_own_chance(threads: DecodingThreads) -> None:
    cat, dog = encoded(1), encoded(2, ".png")
    prepare, out_BHWC = TopLeft(), np.zeros((5, 5, 7, 3), np.uint8)

    fill_slots(column(cat, dog, cat, None, cat), prepare, out_BHWC, threads, draws=np.random.default_rng)

    for row, picture in ((0, cat), (1, dog), (2, cat), (4, cat)):
        drawn = np.random.default_rng(row).integers(256, dtype=np.uint8)
        assert np.array_equal(out_BHWC[row], decode(picture)[:5, :7] - drawn)


def test_slots_of_other_rows_are_untouched_by_refused_ones(threads: DecodingThreads) -> None:
    good, broken = encoded(1), encoded(2)[:300]
    buffers = [pa.py_buffer(value) if value is not None else None for value in (broken, good, None, broken, b"x")]
    out_BHWC = np.zeros((5, 5, 7, 3), np.uint8)

    filled = fill_slots(buffers, TopLeft(), out_BHWC, threads)

    assert filled.num_images == 1
    assert {row: why.reason for row, why in filled.refused.items()} == {
        0: "truncated",
        2: "missing",
        3: "truncated",
        4: "not_an_image",
    }
    assert np.array_equal(out_BHWC[1], decode(good)[:5, :7])


def test_only_jpegs_are_decoded_to_the_fraction_that_is_allowed(threads: DecodingThreads) -> None:
    pictures = [encoded(seed, suffix, 101, 150) for seed, suffix in enumerate((".jpg", ".png"))]
    prepare, out_BHWC = TopLeft(), np.zeros((3, 5, 7, 3), np.uint8)

    fill_slots(column(*pictures, encoded(9)), prepare, out_BHWC, threads)

    assert sorted(prepare.given) == [((48, 64), None), ((51, 75), (101, 150)), ((101, 150), None)]


def test_the_first_fault_in_a_thread_is_raised_when_all_are_through(threads: DecodingThreads) -> None:
    class Fails(TopLeft):
        def into(self, pixels: np.ndarray, out: np.ndarray, draw: object = None, *, whole=None) -> None:
            raise MemoryError("no room")

    with pytest.raises(MemoryError, match="no room"):
        fill_slots(column(encoded(1), encoded(2)), Fails(), np.zeros((2, 5, 7, 3), np.uint8), threads)
    assert threads.map(lambda number: number + 1, range(50)) == list(range(1, 51))
