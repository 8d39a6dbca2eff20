"""Retries: how often, how long between, which errors, for functions, coroutines and sequences."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from clipdata.retries import Policy, call, call_async, resumed

STORE = "the store is down"
QUICK = Policy(attempts=4, base_delay_s=0.001)


class Failing:
    """Fails with the errors it is given, one a call, and then works."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.calls = list(errors), 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"

    async def coroutine(self) -> str:
        return self()


def test_what_fails_is_called_until_it_works() -> None:
    work = Failing(OSError("a"), OSError("b"))

    assert call(QUICK, work) == "done"

    assert work.calls == 3


def test_the_last_error_is_raised_as_it_is_when_the_tries_are_used_up() -> None:
    work = Failing(*[OSError(str(number)) for number in range(9)])

    with pytest.raises(OSError, match="3"):
        call(QUICK, work)

    assert work.calls == 4


def test_an_error_that_is_not_worth_it_is_raised_at_once() -> None:
    work = Failing(KeyError("no"))

    with pytest.raises(KeyError):
        call(Policy(again=lambda error: isinstance(error, OSError)), work)

    assert work.calls == 1


def test_waits_double_up_to_the_cap_with_chance_in_them(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)

    with pytest.raises(OSError, match=STORE):
        call(Policy(attempts=6, base_delay_s=1, cap_s=4, jitter=0.5), Failing(*[OSError(STORE)] * 9))

    assert all(0.5 * base <= wait <= 1.5 * base for wait, base in zip(waits, [1, 2, 4, 4, 4], strict=True))
    assert len(set(waits)) == 5


def test_no_try_begins_after_the_end_of_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1000.0

    def sleep(wait_s: float) -> None:
        nonlocal now_s
        now_s += wait_s

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    work = Failing(*[OSError(STORE)] * 99)

    with pytest.raises(OSError, match=STORE):
        call(Policy(attempts=99, base_delay_s=10, cap_s=10, jitter=0, give_up_s=60), work)

    assert work.calls == 7  # at 0, 10, … 60 seconds


def test_an_error_that_asks_to_wait_is_heard_unless_it_asks_for_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    asking = Policy(retry_after=lambda error: error.args[0], longest_asked_s=60)

    assert call(asking, Failing(OSError(7.0), OSError(0.0))) == "done"
    with pytest.raises(OSError, match="61"):
        call(asking, Failing(OSError(61.0)))

    assert waits == [7.0, 0.0]


def test_a_coroutine_is_tried_by_the_same_policy_and_leaves_the_loop_to_others() -> None:
    said: list[str] = []

    async def failing_once(name: str, work: Failing) -> str:
        said.append(name)
        return work()

    async def both() -> list[str]:
        first, second = Failing(OSError(STORE)), Failing(OSError(STORE))
        return await asyncio.gather(
            call_async(QUICK, lambda: failing_once("first", first)),
            call_async(QUICK, lambda: failing_once("second", second)),
        )

    assert asyncio.run(both()) == ["done", "done"]
    assert said[:2] == ["first", "second"]
    assert len(said) == 4
    with pytest.raises(OSError, match=STORE):
        asyncio.run(call_async(QUICK, Failing(*[OSError(STORE)] * 9).coroutine))


def test_an_interrupt_is_never_tried_again() -> None:
    calls = 0

    def interrupted() -> None:
        nonlocal calls
        calls += 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        call(QUICK, interrupted)

    assert calls == 1


def test_a_sequence_that_breaks_goes_on_where_it_broke() -> None:
    breaks = [2, 3, 5]

    def begin(num_done: int) -> Iterator[int]:
        for number in range(num_done, 6):
            if breaks and number == breaks[0]:
                breaks.pop(0)
                raise OSError
            yield number

    assert list(resumed(QUICK, begin)) == [0, 1, 2, 3, 4, 5]


def test_a_sequence_that_stays_broken_gives_what_came_and_then_the_error() -> None:
    def begin(num_done: int) -> Iterator[int]:
        yield from range(num_done, 2)
        raise OSError("cut")

    came = []
    with pytest.raises(OSError, match="cut"):  # noqa: PT012 - what came before the error is what is looked at
        for number in resumed(QUICK, begin):
            came.append(number)

    assert came == [0, 1]
