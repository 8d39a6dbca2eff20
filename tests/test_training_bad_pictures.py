"""Pictures that cannot be decoded, in the middle of a training: left out, counted, and too many of them refused."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from clipdata.encoder import Encoder
from clipdata.errors import TooManyRejectsError
from clipdata.lance_io import rows
from clipdata.lance_io.table import Table, open_table
from clipdata.training.config import TrainConfig
from clipdata.training.fine_tuning import train
from clipdata.training.left_out import LeftOut
from clipdata.training.run import Run
from tests.contests import contest_rows, contest_table
from tests.telling import Told
from tests.test_training_length import Stopper, weights
from tests.tiny_models import tiny_encoder


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return tiny_encoder()


def quick(**changes) -> TrainConfig:
    return TrainConfig(**{"epochs": 2, "batch_size": 8, "lr": 3e-3, "train": "all", **changes})


def broken_table(folder: Path, *broken: int, num_rows: int = 40) -> Table:
    contest = contest_rows(num_rows).to_pydict()
    for row in broken:
        contest["image"][row] = b"no picture"
        contest["sha256"][row] = f"broken {row}"
    table = contest_table(folder, 0, name="broken.lance")
    rows.upsert(table, pa.table(contest, schema=table.schema))
    return open_table(table.uri)


def summary(run: Run) -> dict:
    return json.loads((run.path / "summary.json").read_text())


def numbers(run: Run) -> list[dict]:
    return [{name: value for name, value in line.items() if name != "wait"} for line in run.metrics]


def test_a_picture_that_cannot_be_decoded_is_left_out_and_counted_once(tmp_path, encoder):
    told = Told()

    run = train(broken_table(tmp_path, 3, 12), encoder, quick(), out=tmp_path / "run", progress=told)

    assert sum(summary(run)["left_out"].values()) == 2
    assert sum(line["rows"] for line in run.metrics) == 2 * 38
    assert sum(run.epochs[-1]["left_out"].values()) == 2
    assert any("not trained on, for their pictures cannot be used: 2 " in text for text in told.said)
    assert run.is_finished


@pytest.mark.parametrize("num_workers", [0, 2])
def test_workers_leave_out_the_same(tmp_path, encoder, num_workers):
    table = broken_table(tmp_path, 3, 12)
    alone = train(table, encoder, quick(), out=tmp_path / "alone")

    helped = train(table, encoder, quick(num_workers=num_workers), out=tmp_path / "helped")

    assert numbers(helped) == numbers(alone)
    assert summary(helped)["left_out"] == summary(alone)["left_out"]


def test_a_batch_of_which_nothing_is_left_moves_nothing(tmp_path, encoder):
    config = quick(batch_size=1, epochs=1, schedule="constant")

    run = train(broken_table(tmp_path, 7), encoder, config, out=tmp_path / "run")

    empty = [line for line in run.metrics if line["rows"] == 0]
    assert len(run.metrics) == 40
    assert [line["loss"] for line in empty] == [None]
    assert run.epochs[-1]["loss"] == pytest.approx(sum(line["loss"] or 0 for line in run.metrics) / 39)


@pytest.mark.parametrize("stop_after", [3, 8])
def test_a_run_that_goes_on_counts_what_it_left_out_before(tmp_path, encoder, stop_after):
    table, config = broken_table(tmp_path, 3, 12), quick(checkpoint_every_steps=1)
    whole = train(table, encoder, config, out=tmp_path / "whole")

    with pytest.raises(KeyboardInterrupt):
        train(table, encoder, config, out=tmp_path / "parts", progress=Stopper(after=stop_after))
    parts = train(table, encoder, config, out=tmp_path / "parts")

    assert numbers(parts) == numbers(whole)
    assert summary(parts)["left_out"] == summary(whole)["left_out"]
    assert all(torch.equal(tensor, weights(parts)[name]) for name, tensor in weights(whole).items())


def test_more_than_the_stated_share_ends_the_run_with_the_count_and_the_field(tmp_path, encoder):
    table = broken_table(tmp_path, *range(5))

    with pytest.raises(
        TooManyRejectsError, match=r"5 of the 40 rows to train on [^$]*allows 10%[^$]*max_bad_share"
    ) as e:
        train(table, encoder, quick(), out=tmp_path / "run")

    assert e.value.exit_code == 6
    assert train(table, encoder, quick(max_bad_share=0.2), out=tmp_path / "run").is_finished


def test_rows_to_measure_whose_pictures_cannot_be_decoded_are_counted_and_no_evidence(tmp_path, encoder):
    table = broken_table(tmp_path, 4, num_rows=100)  # every fifth row is of the test split

    run = train(table, encoder, quick(evaluate_where="split = 'test'"), out=tmp_path / "run", where="split = 'train'")

    assert {line["num_rows"] for line in run.epochs} == {19}
    assert sum(summary(run)["not_measured"].values()) == 1
    assert summary(run)["left_out"] == {}


def test_where_no_row_to_measure_can_be_decoded_no_accuracy_is_told(tmp_path, encoder):
    told, config = Told(), quick(evaluate_where="path = '00004.png'", max_bad_share=1.0)

    run = train(
        broken_table(tmp_path, 4), encoder, config, out=tmp_path / "run", where="split = 'train'", progress=told
    )

    assert not any("accuracy" in line for line in run.epochs)
    assert any("no row to measure can be decoded" in text for text in told.said)
    assert "accuracy" not in str(run)


def test_a_row_that_every_epoch_leaves_out_counts_once():
    left_out = LeftOut("rows to train on", 100, 0.02)

    for _ in range(5):
        left_out.add({7: "not_an_image", 9: "truncated"})

    assert left_out.counts == {"not_an_image": 1, "truncated": 1}
    with pytest.raises(TooManyRejectsError, match=r"3 of the 100 [^$]*2 not_an_image, 1 truncated[^$]*such as row 7"):
        left_out.add({8: "not_an_image"})
