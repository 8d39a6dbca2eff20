"""Many small questions at once."""

from __future__ import annotations

import threading

import pytest

from clipdata.lance_io.asking import AT_ONCE, at_once


def test_answers_come_in_order_and_are_waited_for_together() -> None:
    together = threading.Barrier(AT_ONCE)

    def ask(number: int) -> int:
        if number < AT_ONCE:
            together.wait(timeout=120)  # nobody passes unless all are asked at the same time
        return 2 * number

    assert list(at_once(ask, range(100))) == [2 * number for number in range(100)]


def test_a_few_are_asked_here_and_an_error_comes_in_its_place() -> None:
    here = set(at_once(lambda _: threading.get_ident(), range(3)))
    assert here == {threading.get_ident()}

    def ask(number: int) -> int:
        if number == 7:
            raise OSError("seven")
        return number

    answers = at_once(ask, range(20))
    assert [next(answers) for _ in range(7)] == list(range(7))
    with pytest.raises(OSError, match="seven"):
        next(answers)
