"""Working ahead of a consumer: order, bounds, errors at their place, and nothing left behind."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from clipdata.prefetch import map_ordered, prefetch, pushed


class Counted:
    """Numbers, with how many were asked for, and by which thread."""

    def __init__(self, stop: int, fault: Exception | None = None) -> None:
        self.stop, self.fault = stop, fault
        self.num_asked = 0
        self.thread: threading.Thread | None = None
        self.closed = False

    def items(self) -> Iterator[int]:
        self.thread = threading.current_thread()
        try:
            for number in range(self.stop):
                self.num_asked += 1
                yield number
            if self.fault is not None:
                raise self.fault
        finally:
            self.closed = True


def settled(count, *, at_least: int) -> int:
    """A count once it no longer moves."""
    deadline_s = time.monotonic() + 60
    while count() < at_least and time.monotonic() < deadline_s:
        time.sleep(0.005)
    time.sleep(0.1)
    return count()


def test_items_come_in_order_from_a_thread_of_their_own():
    source = Counted(100)

    assert list(prefetch(source.items())) == list(range(100))
    assert source.thread is not threading.current_thread()
    assert source.closed


@pytest.mark.parametrize("max_items", [1, 3])
def test_no_more_items_are_made_than_the_bound_and_the_one_at_hand(max_items):
    source = Counted(100)
    ahead = prefetch(source.items(), max_items=max_items)

    next(ahead)

    assert settled(lambda: source.num_asked, at_least=max_items + 2) == 1 + max_items + 1
    ahead.close()


def test_cost_bounds_what_waits_and_a_single_item_may_cost_more():
    source = Counted(100)
    ahead = prefetch(source.items(), max_items=None, cost=lambda number: 10, max_cost=45)

    assert next(ahead) == 0
    assert settled(lambda: source.num_asked, at_least=6) == 1 + 4 + 1
    ahead.close()
    assert list(prefetch(iter(range(3)), cost=lambda number: 99, max_cost=1)) == [0, 1, 2]


def test_an_error_is_raised_after_all_that_came_before():
    ahead = prefetch(Counted(2, ValueError("third")).items(), max_items=9)

    assert [next(ahead), next(ahead)] == [0, 1]
    with pytest.raises(ValueError, match="third"):
        next(ahead)


def test_a_consumer_that_stops_ends_the_thread_and_closes_the_source():
    source = Counted(10**9)
    before = threading.active_count()
    ahead = prefetch(source.items())
    next(ahead)

    ahead.close()

    assert threading.active_count() == before
    assert source.closed


def test_a_consumer_that_lets_go_of_it_ends_the_thread_too():
    before = threading.active_count()

    for number in prefetch(iter(range(10**9))):
        if number == 3:
            break

    assert threading.active_count() == before


def test_a_source_with_what_is_made_of_it_runs_in_one_thread():
    """What a map step's reading and preparing need: both keep state, and neither may run twice at once."""
    threads = set()

    def prepare(number: int) -> int:
        threads.add(threading.current_thread())
        return number * number

    source = Counted(20)
    pairs = list(prefetch((number, prepare(number)) for number in source.items()))

    assert pairs == [(number, number * number) for number in range(20)]
    assert threads == {source.thread}


def test_a_producer_may_hand_over_items_itself():
    def produce(put):
        for number in range(5):
            put(number)
        raise ValueError("done for")

    ahead = pushed(produce)

    assert [next(ahead) for _ in range(5)] == list(range(5))
    with pytest.raises(ValueError, match="done for"):
        next(ahead)


def test_a_producer_is_stopped_where_it_hands_over():
    undone = []

    def produce(put):
        try:
            while True:
                put(0)
        finally:
            undone.append(True)

    ahead = pushed(produce)
    next(ahead)
    ahead.close()

    assert undone == [True]


def test_a_thread_that_does_not_end_is_waited_for_no_longer_than_asked():
    release = threading.Event()

    def stuck():
        yield 1
        release.wait(120)

    ahead = prefetch(stuck(), last_wait_s=0.05)
    next(ahead)
    started_s = time.monotonic()
    ahead.close()
    release.set()

    assert time.monotonic() - started_s < 60


def test_a_process_that_ends_in_the_middle_ends_at_once():
    script = (
        "import itertools, sys; from clipdata.prefetch import prefetch\n"
        "ahead = prefetch(itertools.count()); next(ahead); sys.exit(7)"
    )

    assert subprocess.run([sys.executable, "-c", script], timeout=180, check=False).returncode == 7


def test_results_come_in_the_order_of_the_items_whatever_is_ready_first():
    def slow_for_even(number: int) -> int:
        time.sleep(0.01 * (number % 2 == 0))
        return -number

    assert list(map_ordered(slow_for_even, range(20), num_threads=4)) == [-number for number in range(20)]


def test_no_more_items_are_begun_than_the_bounds_allow():
    source = Counted(100)
    by_number = map_ordered(str, source.items(), num_threads=2, max_items=5)
    assert next(by_number) == "0"
    assert source.num_asked == 6
    by_number.close()

    source = Counted(100)
    by_cost = map_ordered(str, source.items(), num_threads=2, max_items=50, cost=lambda number: 10, max_cost=30)
    assert next(by_cost) == "0"
    assert source.num_asked == 4


def test_an_error_of_the_function_is_raised_at_its_place():
    def odd(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        return number

    results = map_ordered(odd, range(10), num_threads=2)

    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)


def test_an_error_of_the_source_comes_after_the_results_of_what_it_gave():
    results = map_ordered(str, Counted(3, ValueError("torn")).items(), num_threads=2, max_items=9)

    assert [next(results) for _ in range(3)] == ["0", "1", "2"]
    with pytest.raises(ValueError, match="torn"):
        next(results)


def test_closing_a_map_leaves_out_what_is_not_begun_and_closes_the_source():
    begun = []

    def work(number: int) -> int:
        begun.append(number)
        time.sleep(0.02)
        return number

    source = Counted(1000)
    before = threading.active_count()
    results = map_ordered(work, source.items(), num_threads=2, max_items=20)
    next(results)
    results.close()

    assert source.closed
    assert len(begun) < 20
    assert threading.active_count() == before
