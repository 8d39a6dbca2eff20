"""The order of rows, as arithmetic."""

import hashlib

import numpy as np
import pytest

from clipdata.errors import ConfigError
from clipdata.stream.plan import Plan, check_ranks, worker_batches


def whole(plan: Plan, epoch: int = 0) -> np.ndarray:
    return plan.order(epoch).positions(0, plan.num_rows)


@pytest.mark.parametrize("num_rows", [1, 5, 31, 32, 33, 64, 1000, 4096, 4097, 10_007])
def test_an_epoch_visits_every_row_once(num_rows):
    order = whole(Plan(num_rows, 8))

    assert np.array_equal(np.sort(order), np.arange(num_rows))


@pytest.mark.parametrize("num_rows", [5, 64, 70, 100, 129, 1000])
def test_an_epoch_visits_every_row_once_with_small_clumps_and_windows(num_rows):
    for epoch in range(20):  # the short last clump lands at another place in each
        order = whole(Plan(num_rows, 8, clump_rows=7, window_rows=50), epoch)
        assert np.array_equal(np.sort(order), np.arange(num_rows))


def test_the_order_depends_on_seed_and_epoch_and_nothing_else():
    first = whole(Plan(500, 8, seed=3), epoch=2)

    assert np.array_equal(first, whole(Plan(500, 50, seed=3, drop_last=False), epoch=2))
    assert not np.array_equal(first, whole(Plan(500, 8, seed=4), epoch=2))
    assert not np.array_equal(first, whole(Plan(500, 8, seed=3), epoch=3))


def test_the_order_is_the_one_that_earlier_releases_gave():
    digest = hashlib.sha256(whole(Plan(10_007, 8, seed=7), epoch=5).astype("<i8").tobytes()).hexdigest()

    assert whole(Plan(10, 1, seed=1)).tolist() == [9, 6, 1, 5, 3, 7, 4, 0, 2, 8]
    assert digest == "1707e8ca845f6b95141b314a96f3eca0d5569bb4c097eaa6f9b00a30023a6eb7"


def test_any_part_of_the_order_can_be_had_without_the_parts_before_it():
    plan = Plan(1000, 8, clump_rows=4, window_rows=64)
    order = whole(plan)

    for start, stop in [(0, 10), (60, 70), (999, 1000), (63, 64), (64, 64), (100, 420), (5, 3 * 64 + 5)]:
        assert np.array_equal(plan.order(0).positions(start, stop), order[start:stop])


def test_reading_backwards_gives_the_same_order():
    plan = Plan(1000, 8, clump_rows=4, window_rows=64)
    order, epoch = whole(plan), plan.order(0)

    backwards = [epoch.positions(place, place + 1)[0] for place in reversed(range(1000))]

    assert backwards == order[::-1].tolist()


def test_without_shuffle_rows_come_in_the_tables_order():
    assert np.array_equal(whole(Plan(100, 8, shuffle=False)), np.arange(100))


def test_a_window_reads_whole_clumps():
    plan = Plan(100_000, 64)

    window = np.sort(plan.order(0).positions(0, plan.window_rows))

    runs = 1 + np.count_nonzero(np.diff(window) != 1)
    assert runs <= plan.window_rows / plan.clump_rows + 1


@pytest.mark.parametrize("num_rows", [1000, 1001, 1006, 2000])
def test_every_window_is_whole_clumps_wherever_the_short_one_lands(num_rows):
    plan = Plan(num_rows, 8, clump_rows=7, window_rows=70)
    for epoch in range(12):
        order = plan.order(epoch)
        windows, clumps = order.windows(0, num_rows), whole(plan, epoch) // 7
        pairs = np.unique(np.stack([windows, clumps]), axis=1)
        assert np.array_equal(np.sort(pairs[1]), np.arange(-(-num_rows // 7)))  # each clump lies in one window
        assert np.all(np.diff(windows) >= 0)
        assert windows[0] > plan.order(epoch - 1).windows(0, num_rows)[-1] if epoch else windows[0] == 0
        assert np.unique(windows, return_counts=True)[1].max() == 70


def test_a_batch_mixes_rows_from_all_over_the_table():
    plan = Plan(100_000, 64)

    batch = plan.order(0).positions(0, 64)

    assert len(np.unique(batch // plan.clump_rows)) > 40
    assert batch.max() - batch.min() > 90_000


def test_a_small_table_is_shuffled_evenly():
    """Each row lands at each place equally often: a chi-square test over 16 rows and 4,000 epochs."""
    plan, epochs = Plan(16, 4), 4000
    counts = np.zeros((16, 16))
    for epoch in range(epochs):
        counts[np.arange(16), whole(plan, epoch)] += 1

    expected = epochs / 16
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square < 225 + 5 * np.sqrt(2 * 225)  # mean + 5 deviations of chi-square with 15 * 15 degrees


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 6, 12])
def test_ranks_share_every_batch_evenly_and_together_read_the_same_order(world_size):
    plan = Plan(100, 12)
    order = plan.order(0)

    shares = [[order.positions(*plan.share(b, r, world_size)) for r in range(world_size)] for b in range(8)]

    assert plan.num_batches == 8
    assert {len(part) for batch in shares for part in batch} == {12 // world_size}
    assert np.array_equal(np.concatenate([part for batch in shares for part in batch]), order.positions(0, 96))


def test_a_short_last_batch_is_shared_too():
    plan = Plan(10, 4, drop_last=False)

    shares = [plan.share(2, rank, 4) for rank in range(4)]

    assert plan.num_batches == 3
    assert shares == [(8, 8), (8, 9), (9, 9), (9, 10)]


@pytest.mark.parametrize("num_workers", [1, 2, 3, 5])
@pytest.mark.parametrize("first", [0, 4, 7])
def test_round_robin_over_workers_gives_back_the_order(num_workers, first):
    queues = [list(worker_batches(first, 10, worker, num_workers)) for worker in range(num_workers)]

    turns = [queue[turn] for turn in range(10) for queue in queues if turn < len(queue)]

    assert turns == list(range(first, 10))


def test_a_world_size_that_does_not_divide_the_batch_is_refused_with_one_that_does():
    with pytest.raises(ConfigError, match="use 63 or 66"):
        check_ranks(64, 0, 3)


def test_a_rank_outside_the_world_is_refused():
    with pytest.raises(ConfigError, match="rank is 2 of world size 2"):
        check_ranks(64, 2, 2)


def test_a_wrong_plan_names_all_its_faults():
    with pytest.raises(ConfigError) as caught:
        Plan(-1, 0, clump_rows=9, window_rows=3)

    assert len(caught.value.problems) == 3
