"""How long and how far a model is trained, on tables of any size: steps, epochs, and the pull towards its start."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from clipdata.encoder import Encoder
from clipdata.errors import ConfigError
from clipdata.lance_io.table import Table
from clipdata.training.config import TrainConfig
from clipdata.training.fine_tuning import train
from clipdata.training.run import Run
from tests.contests import contest_table
from tests.telling import Told
from tests.tiny_models import tiny_dual_encoder, tiny_encoder


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return tiny_encoder()


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return contest_table(tmp_path)


def quick(**changes) -> TrainConfig:
    return TrainConfig(**{"epochs": 2, "batch_size": 8, "lr": 3e-3, **changes})


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load_file(run.export_path / "open_clip_model.safetensors")


def moved(run: Run, encoder: Encoder) -> float:
    """How far the two heads are from where they began."""
    begun, now = encoder.model.state_dict(), weights(run)
    return sum(float((now[name] - begun[name]).norm()) for name in ("visual.proj", "text_projection"))


class Stopper(Told):
    """Stops a run, as Ctrl-C would, after so many steps."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self._after, self._label = after, ""

    def task(self, label, total, unit="rows"):
        self._label = label
        return super().task(label, total, unit)

    def advance(self, num=1):
        super().advance(num if self._label == "train" else 0)
        if self.steps == self._after:
            raise KeyboardInterrupt


# How long


def test_a_table_too_small_for_the_least_number_of_steps_is_seen_more_often(tmp_path, table, encoder):
    told = Told()

    run = train(table, encoder, quick(min_steps=23), out=tmp_path / "run", progress=told)

    assert [line["step"] for line in run.metrics] == list(range(1, 24))  # five steps an epoch
    assert [line["epoch"] for line in run.metrics][-3:] == [5, 5, 5]
    assert any(said.startswith("23 steps are 5 epochs of this table, not ") for said in told.said)
    assert run.metrics[-1]["lr"] < 0.01 * 3e-3  # the rate falls over all of it


def test_a_table_that_is_large_enough_keeps_its_epochs(tmp_path, table, encoder):
    run = train(table, encoder, quick(min_steps=10), out=tmp_path / "run")

    assert len(run.metrics) == 10


def test_steps_are_taken_exactly_whatever_the_size_of_the_table(tmp_path, table, encoder):
    fewer = train(table, encoder, quick(steps=3, evaluate_where="split = 'test'"), out=tmp_path / "fewer")
    more = train(table, encoder, quick(steps=12), out=tmp_path / "more")

    assert (len(fewer.metrics), len(more.metrics)) == (3, 12)
    assert [line["epoch"] for line in fewer.epochs] == [0, 1]
    assert fewer.epochs[-1]["loss"] == pytest.approx(sum(line["loss"] for line in fewer.metrics) / 3)
    assert "accuracy" in fewer.epochs[-1]


def test_many_short_epochs_are_reported_and_saved_about_as_often_as_few_long_ones(tmp_path, table, encoder):
    run = train(table, encoder, quick(batch_size=40, epochs=4, min_steps=40, keep_checkpoints=99), out=tmp_path / "run")

    assert [line["step"] for line in run.epochs] == [10, 20, 30, 40]
    assert sorted(path.name for path in (run.path / "checkpoints").iterdir()) == [
        "step-10", "step-20", "step-30", "step-40",
    ]  # fmt: skip
    for line in run.epochs:
        of = [step["loss"] for step in run.metrics[line["step"] - 10 : line["step"]]]
        assert line["loss"] == pytest.approx(sum(of) / 10)


def test_steps_that_are_given_win_over_epochs_and_a_least_number_of_them():
    config = TrainConfig(epochs=5, min_steps=200, steps=7)

    assert (config.num_steps(1), config.num_steps(1000)) == (7, 7)


def test_numbers_of_steps_and_a_pull_must_make_sense():
    with pytest.raises(
        ConfigError,
        match=r"pull is -1.0; expected 0 or a number above it(.|\n)*steps is 0; expected at least 1, or none",
    ):
        TrainConfig(steps=0, pull=-1.0)


def test_a_warm_up_that_outlasts_the_run_is_told_with_the_rate_it_reaches(tmp_path, table, encoder):
    told = Told()

    train(table, encoder, quick(warmup_steps=40), out=tmp_path / "run", progress=told)

    assert any("takes 40 steps and the run 10: the rate rises to 25% of lr" in text for text in told.said)


# How far


def test_the_pull_holds_the_weights_near_where_they_began(tmp_path, table, encoder):
    free = train(table, encoder, quick(min_steps=40), out=tmp_path / "free")
    pulled = train(table, encoder, quick(min_steps=40, pull=40.0), out=tmp_path / "pulled")

    assert moved(pulled, encoder) < 0.5 * moved(free, encoder)
    assert pulled.metrics[0]["penalty"] == 0  # it begins where it is pulled to
    assert pulled.metrics[-1]["penalty"] > 0
    assert pulled.metrics[0]["loss"] == free.metrics[0]["loss"]


def test_the_pull_is_shared_among_the_rows(tmp_path, encoder):
    few, many = contest_table(tmp_path, 40, name="few.lance"), contest_table(tmp_path, 160, name="many.lance")
    penalties = []
    for table in (few, many):
        one = train(table, encoder, quick(steps=2, batch_size=40, pull=1.0), out=tmp_path / f"{table.num_rows}")
        penalties.append(one.metrics[1]["penalty"])

    # The first steps of Adam are equally long, so the weights of both have moved about as far.
    assert penalties[0] / penalties[1] == pytest.approx(4, rel=0.3)


# Going on


@pytest.mark.parametrize("stop_after", [5, 13, 19])
def test_a_pulled_run_that_was_stopped_ends_bit_for_bit_as_one_that_was_not(tmp_path, table, stop_after):
    """The pull is towards the weights of the first start, not towards those of the checkpoint."""
    made = tiny_dual_encoder(tmp_path / "dual")
    config = quick(
        steps=22, train="all", lr=1e-3, pull=5.0, freeze_batchnorm=False, checkpoint_every_steps=4,
        evaluate_where="split = 'test'",
    )  # fmt: skip
    whole = train(table, made, config, out=tmp_path / "whole")

    with pytest.raises(KeyboardInterrupt):
        train(table, made, config, out=tmp_path / "parts", progress=Stopper(after=stop_after))
    parts = train(table, made, config, out=tmp_path / "parts")

    def numbers(lines: list[dict]) -> list[dict]:
        return [{name: value for name, value in line.items() if name not in ("wait", "pace")} for line in lines]

    assert numbers(parts.metrics) == numbers(whole.metrics)
    assert numbers(parts.epochs) == numbers(whole.epochs)
    assert all(torch.equal(tensor, weights(parts)[name]) for name, tensor in weights(whole).items())


def test_a_run_that_took_its_last_step_and_was_stopped_only_exports(tmp_path, table, encoder):
    run = train(table, encoder, quick(steps=7), out=tmp_path / "run")
    before = weights(run)
    (run.path / "summary.json").unlink()

    again = train(table, encoder, quick(steps=7), out=tmp_path / "run")

    assert again.is_finished
    assert len(again.metrics) == 7
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(again).items())


# Which pixels


def test_the_fidelity_of_the_pixels_is_recorded_and_decides_the_result(tmp_path, table, encoder):
    fast, exact, again = (
        train(table, encoder, quick(train="all", fidelity=fidelity), out=tmp_path / name)
        for name, fidelity in (("fast", "fast"), ("exact", "exact"), ("again", "exact"))
    )

    assert (fast.record["config"]["fidelity"], exact.record["config"]["fidelity"]) == ("fast", "exact")
    assert [line["loss"] for line in exact.metrics] == [line["loss"] for line in again.metrics]
    assert [line["loss"] for line in exact.metrics] == pytest.approx([line["loss"] for line in fast.metrics], rel=0.05)
