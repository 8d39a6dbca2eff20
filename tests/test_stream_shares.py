"""What a stream tells of the time that its batches took."""

import time
from dataclasses import replace

import lance
import numpy as np
import pyarrow as pa
import pytest
import torch

from clipdata.lance_io.table import Table, open_table
from clipdata.stream import Stream, load
from clipdata.stream.shares import MeteredThreads, Shares, Stopwatch, Took, Work
from tests.pictures import encoded

NUM_ROWS = 24


def slow_half(pixels: np.ndarray) -> torch.Tensor:
    time.sleep(0.004)
    return torch.from_numpy(pixels[::2, ::2].copy()).permute(2, 0, 1)


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Table:
    pictures = [encoded(number // 2) for number in range(NUM_ROWS)]  # two rows a picture
    folder = tmp_path_factory.mktemp("shares")
    rows = pa.table({"image": pa.array(pictures, pa.large_binary()), "label": pa.array(range(NUM_ROWS))})
    lance.write_dataset(rows, folder / "rows.lance")
    return open_table(folder / "rows.lance")


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_stream_tells_what_came_and_where_the_time_went_whoever_made_the_batches(table, num_workers):
    stream = Stream(table, ["image", "label"], batch_size=4, shuffle=False, prepare=slow_half, num_threads=1)
    assert stream.shares == Shares()
    in_the_middle = None

    for batch in load(stream, num_workers):
        in_the_middle = in_the_middle or stream.shares
        assert len(batch["label"]) == 4

    found = stream.shares
    assert (in_the_middle.work.rows, found.work.rows, found.work.pictures) == (4, NUM_ROWS, NUM_ROWS // 2)
    stored = sum(len(value.as_buffer()) for value in table.to_table(["image"]).column("image"))
    assert stored <= found.work.read_bytes <= stored + 64 * NUM_ROWS
    assert found.work.decode.wall_s >= 0.004 * (NUM_ROWS // 2)
    assert 0 < found.work.decode.cpu_s < found.work.decode.wall_s
    assert sum(found.work.share(stage) for stage in ("read", "decode", "rest")) == pytest.approx(1)
    assert found.start_s > 0
    assert found.start_s + found.wait_s > found.busy_s


def test_whoever_is_slower_than_the_stream_waits_for_nothing(table):
    stream = Stream(table, ["label"], batch_size=4)

    for _ in stream:
        time.sleep(0.03)

    assert stream.shares.wait < 0.2
    assert stream.shares.busy_s >= 6 * 0.03
    assert stream.shares.work.pictures == 0
    assert stream.shares.work.share("decode") == 0


def test_single_rows_that_are_read_together_are_counted_once(table):
    stream = Stream(table, ["image"], batch_size=None, prepare=slow_half)

    assert len(list(stream)) == NUM_ROWS
    assert (stream.shares.work.rows, stream.shares.work.pictures) == (NUM_ROWS, NUM_ROWS // 2)


def test_an_iteration_is_measured_from_its_own_beginning(table):
    stream = Stream(table, ["label"], batch_size=4)
    batches = iter(stream)
    next(batches)
    batches.close()
    assert stream.shares.work.rows == 4

    list(stream)

    assert stream.shares.work.rows == NUM_ROWS


def test_shares_are_told_in_a_line_and_their_difference_is_what_lies_between():
    work = Work(4120, 248_000_000, 4000, Took(0.8, 0.1), Took(9.1, 18.0), Took(0.1, 0.1))
    before, now = Shares(), Shares(work, 0.5, 0.19, 9.31)

    assert str(now) == "412 rows/s · 24.8 MB/s · waited 2 % (read 8 %, decode 91 %, rest 1 %)"
    assert now - before == now
    assert (now - now).work == Work()
    assert str(replace(now, work=Work(rows=2))) == "0.2 rows/s · 0 MB/s · waited 2 %"
    assert now.to_dict()["work"]["decode"] == {"wall_s": 9.1, "cpu_s": 18.0}


def test_threads_and_stopwatches_add_up_what_they_are_given():
    stopwatch = Stopwatch()
    with MeteredThreads(2, "test") as threads:
        for _ in range(2):
            with stopwatch:
                list(threads.map(lambda _: sum(range(200_000)), range(4)))
        spun = threads.taken()

    assert spun.cpu_s > 0
    assert stopwatch.taken().wall_s > 0
    assert (threads.taken(), stopwatch.taken()) == (Took(), Took())
