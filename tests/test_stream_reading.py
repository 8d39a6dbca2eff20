"""How rows are read for a stream: in windows, ahead, within a bound of bytes, and handed out where they were read."""

import weakref
from itertools import pairwise

import lance
import numpy as np
import pyarrow as pa
import pytest

from clipdata.lance_io.sizes import column_bytes, row_bytes
from clipdata.lance_io.table import Table, open_table
from clipdata.stream import Stream
from clipdata.stream.fetch import Fetcher
from clipdata.stream.groups import Group, Slot
from clipdata.stream.pieces import Cut, Source
from clipdata.stream.plan import Plan

NUM_ROWS, WIDTH = 1200, 2048


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    rng = np.random.default_rng(0)
    image = [rng.bytes(int(size)) for size in rng.integers(2000, 6000, NUM_ROWS)]
    image[5] = image[700] = None
    values = pa.array(rng.integers(0, 255, NUM_ROWS * WIDTH, np.uint8))
    return pa.table(
        {
            "image": pa.array(image, pa.large_binary()),
            "label": pa.array(range(NUM_ROWS)),
            "caption": [f"caption {number}" for number in range(NUM_ROWS)],
            "wide": pa.FixedSizeListArray.from_arrays(values, WIDTH),
        }
    )


@pytest.fixture(scope="module")
def table(rows, tmp_path_factory) -> Table:
    uri = tmp_path_factory.mktemp("reading") / "rows.lance"
    lance.write_dataset(rows, uri, max_rows_per_file=500)
    return open_table(uri)


def slots_of(plan: Plan, rank: int = 0, world_size: int = 1, epochs: int = 1) -> list[Slot]:
    found = []
    for epoch in range(epochs):
        order = plan.order(epoch)
        for batch in range(plan.num_batches):
            share = plan.share(batch, rank, world_size)
            number = epoch * plan.num_batches + batch
            found.append(Slot((number,), (share[1] - share[0],), order.positions(*share), order.windows(*share)))
    return found


@pytest.mark.parametrize("group_bytes", [1, 200_000, 10**9])
@pytest.mark.parametrize("columns", [["image"], ["label", "caption"], ["wide", "caption", "image"], ["wide"]])
def test_slots_hold_their_rows_whatever_the_bound_and_wherever_windows_end(table, rows, columns, group_bytes):
    plan = Plan(NUM_ROWS, 50, clump_rows=16, window_rows=160, drop_last=False)
    slots = slots_of(plan, rank=1, world_size=2, epochs=2)[18 : 30 if group_bytes == 1 else 48]

    for slot, found in zip(slots, Fetcher(table, columns, group_bytes=group_bytes).read(slots), strict=True):
        expected = rows.take(pa.array(slot.offsets))
        assert found.slot is slot
        for name in columns:
            if name == "image":
                given = [None if view is None else view.to_pybytes() for view in found.encoded[name]]
                assert given == expected.column(name).to_pylist()
            else:
                assert found.rows.column(name).combine_chunks().equals(expected.column(name).combine_chunks())


def test_bytes_are_views_of_the_memory_that_neighbouring_rows_were_read_into(table):
    (found,) = Fetcher(table, ["image"]).read([Slot((0,), (64,), np.arange(100, 164), np.zeros(64, np.int64))])

    views = found.encoded["image"]

    assert all(after.address == view.address + view.size for view, after in pairwise(views))
    assert found.num_bytes == sum(view.size for view in views)


def test_wide_vectors_are_copied_once_and_may_be_written_to(table, rows):
    stream = Stream(table, {"wide": "wide", "again": "wide"}, batch_size=64, shuffle=False)

    batch = next(iter(stream))

    assert np.array_equal(batch["wide"].numpy().ravel(), rows["wide"].chunk(0).values.to_numpy()[: 64 * WIDTH])
    batch["wide"].zero_()
    assert batch["again"].sum() > 0
    assert next(iter(stream))["wide"].sum() > 0


def test_no_more_is_held_than_two_groups(table, monkeypatch):
    alive, held, bound = weakref.WeakSet(), [], 600_000
    take_in = Group._take_in

    def watched(group):
        take_in(group)
        alive.add(group)
        held.append(sum(one.num_bytes for one in alive))

    monkeypatch.setattr(Group, "_take_in", watched)
    plan = Plan(NUM_ROWS, 16, clump_rows=16, window_rows=NUM_ROWS)

    num_rows = sum(
        len(found.encoded["image"]) for found in Fetcher(table, ["image"], group_bytes=bound).read(slots_of(plan))
    )

    assert num_rows == NUM_ROWS
    assert bound / 2 < max(held) <= 2 * bound
    assert len(alive) <= 2


def test_the_next_group_is_read_as_far_as_this_one_is_handed_out(table):
    plan = Plan(NUM_ROWS, 20, clump_rows=20, window_rows=400)
    reading = Fetcher(table, ["image"], group_bytes=2_400_000)
    reading._most_rows = np.inf
    table.dataset.io_stats_incremental()
    read = []

    for _ in reading.read(slots_of(plan)):
        read.append(table.dataset.io_stats_incremental().read_bytes)

    window_bytes = 400 * 4000
    assert 0.8 * window_bytes < sum(read[:3]) < 1.7 * window_bytes  # a window whole, and a piece of the next
    assert sum(read[:21]) > 1.8 * window_bytes
    assert not sum(read[45:])


def test_a_source_is_read_in_whole_runs_with_the_holes_between_them():
    def read(keys: np.ndarray) -> pa.Table:
        return pa.table({"bytes": pa.array([bytes([key]) * 10 for key in keys.tolist()], pa.large_binary())})

    keys = np.array([1, 2, 5, 6, 50, 51, 52, 90, 91])
    source = Source(keys, read, Cut(num_bytes=60, max_rows=6, hole_bytes=30), row_bytes=10.0)
    pieces = []
    while source.num_begun < len(keys):
        pieces.append(source.begin())
        source.add(pieces[-1], read(pieces[-1]))

    assert [piece.tolist() for piece in pieces] == [[1, 2, 3, 4, 5, 6], [50, 51, 52], [90, 91]]
    assert [view.to_pybytes()[0] for view in source.find(keys[::-1]).views("bytes")] == keys[::-1].tolist()
    source.keep(np.array([2, 52]))
    assert [view.to_pybytes()[0] for view in source.find(np.array([52, 2])).views("bytes")] == [52, 2]
    assert source.num_bytes < 60


def test_what_a_row_weighs_is_told_without_reading_rows_and_of_many_files_by_a_few(rows, tmp_path):
    many = open_table(lance.write_dataset(rows, tmp_path / "many.lance", max_rows_per_file=50).uri)
    few = open_table(lance.write_dataset(rows, tmp_path / "few.lance").uri)
    mean = rows["image"].nbytes / NUM_ROWS

    assert row_bytes(few, ["image"]) == column_bytes(few)["image"] / NUM_ROWS == pytest.approx(mean, rel=0.01)
    assert row_bytes(many, ["image"]) == row_bytes(many, ["image"]) == pytest.approx(mean, rel=0.1)
    assert row_bytes(few, ["image", "wide"]) == pytest.approx(mean + WIDTH, rel=0.01)
    assert row_bytes(few, ["label"]) < 16
