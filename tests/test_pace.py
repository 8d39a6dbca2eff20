"""What a training tells of its own pace: rates, waits, and what limits them."""

import time
from dataclasses import replace

import pytest

from clipdata.bars import ProgressBar
from clipdata.progress import Silent, note
from clipdata.stream.shares import Shares, Took, Work
from clipdata.training.pace import Measured, Pace, told_at_the_end


def batches(num: int, wait_s: float = 0.0):
    for number in range(num):
        time.sleep(wait_s)
        yield {"cursor": (0, (number + 1) % num), "number": number}


def test_batches_of_a_step_come_together_and_end_with_the_epoch():
    pace = Pace(Shares)

    groups = [[batch["number"] for batch in together] for together, _ in pace.groups(batches(5), 2)]

    assert groups == [[0, 1], [2, 3], [4]]


def test_waits_behind_the_first_batch_are_the_share_and_evaluations_are_no_part_of_it():
    pace = Pace(lambda: Shares(Work(rows=9, read_bytes=900)))
    for together, waited_s in pace.groups(batches(3, wait_s=0.02), 1):
        assert waited_s >= 0.02
        time.sleep(0.05)  # an evaluation, or a checkpoint
        pace.add(3 * len(together), step_s=0.04)

    found = pace.report()

    assert (found.rows, found.work.rows) == (9, 9)
    assert found.start_s >= 0.02
    assert found.wait_s >= 0.04
    assert found.wait == pytest.approx(found.wait_s / (found.wait_s + 0.12))
    assert found.rows_s == pytest.approx(9 / (found.wait_s + 0.12))
    assert pace.since_report() == Measured()
    assert pace.whole() == found
    assert set(found.to_json()) == {"rows_s", "bytes_s", "wait", "read", "decode", "rest", "start_s"}


def test_a_run_that_waits_more_than_promised_is_told_what_finds_the_cause():
    work = Work(1000, 10_000_000, 1000, Took(1.0), Took(9.0), Took(0.0))
    waits = Measured(rows=1000, start_s=2.5, wait_s=4.0, step_s=16.0, work=work)

    said = told_at_the_end(waits, "clipdata bench t.lance")

    assert said == (
        "pace: 50.0 rows/s · 0.5 MB/s · waited 20 % (read 10 %, decode 90 %); the first batch came after 2.5 s; "
        "more than 5% of waiting has a cause: clipdata bench t.lance"
    )
    assert "cause" not in told_at_the_end(replace(waits, wait_s=0.8), "x")
    assert "cause" not in told_at_the_end(replace(waits, wait_s=0.4, step_s=1.6), "x")  # too short to tell


def test_a_counter_shows_a_note_if_it_can_and_hears_none_if_it_cannot(capsys, monkeypatch):
    monkeypatch.setattr("clipdata.bars.LINE_EVERY_S", -1.0)
    with ProgressBar().task("train", 3, "steps") as counter:
        note(counter, "412 rows/s")
        counter.advance()
    with Silent().task("train", 3) as silent:
        note(silent, "unheard")

    assert "412 rows/s" in capsys.readouterr().err
