"""What every objective holds to: columns and rows refused with reasons, batches of any shape, resuming, ranks."""

from __future__ import annotations

import math
from contextlib import contextmanager
from pathlib import Path

import lance
import pytest
import torch
from safetensors.torch import load_file
from torch import distributed

from clipdata.encoder import Encoder
from clipdata.errors import SchemaError
from clipdata.lance_io.table import Table, open_table
from clipdata.stream import Stream
from clipdata.training.config import TrainConfig
from clipdata.training.evaluation import evaluate
from clipdata.training.fine_tuning import train
from clipdata.training.forward import PictureIds
from clipdata.training.learner import Learner
from clipdata.training.objectives import objective_of
from clipdata.training.run import Run
from clipdata.training.usable_rows import choose_rows
from tests.contracts.objectives import CASES, Case, biased_encoder, objective_table
from tests.forked import run_ranks
from tests.telling import Told

each_case = pytest.mark.parametrize("case", CASES, ids=str)
WORLD = 2


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return biased_encoder()


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Table:
    return objective_table(tmp_path_factory.mktemp("objectives"))


def config(case: Case, **changes) -> TrainConfig:
    return TrainConfig(**{
        "objective": case.objective, "epochs": 2, "batch_size": 8, "lr": 1e-3, "train": "all", "evaluate_where": None,
        **changes,
    })  # fmt: skip


class Stopped(Exception):
    """Stands for a kill: nothing after it runs."""


class StopsAt(Told):
    """A progress that ends the process's part of a run at a step."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self._step = step

    @contextmanager
    def task(self, label, total, unit="rows"):
        yield self if unit == "steps" else Told()

    def advance(self, num=1):
        super().advance(num)
        if self.steps == self._step:
            raise Stopped


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load_file(run.export_path / "open_clip_model.safetensors")


@each_case
def test_a_missing_column_is_refused_by_name(tmp_path, table, encoder, case):
    for column in case.columns:
        lance.write_dataset(table.to_table().drop_columns([column]), tmp_path / f"{column}.lance")

        with pytest.raises(SchemaError, match=column):
            train(open_table(tmp_path / f"{column}.lance"), encoder, config(case), out=tmp_path / "run")


@each_case
def test_a_column_of_another_type_is_refused_by_name(tmp_path, table, encoder, case):
    for column in case.columns:
        others = table.to_table().drop_columns([column])
        pictures = others["image"]
        lance.write_dataset(others.append_column(column, pictures), tmp_path / f"{column}.lance")

        if column == getattr(case.objective, "group", None):
            continue  # whatever has equal values will do
        with pytest.raises(SchemaError, match=f"{column!r} holds"):
            train(open_table(tmp_path / f"{column}.lance"), encoder, config(case), out=tmp_path / "run")


@each_case
def test_rows_that_cannot_be_used_are_left_out_with_their_reasons(table, case):
    chosen = choose_rows(table, case.objective)

    assert dict(chosen.refused) == dict(case.refused)
    assert len(chosen.offsets) == table.num_rows - sum(case.refused.values())


@each_case
def test_what_json_gives_back_is_the_same_objective(case):
    assert objective_of(case.objective.to_json()) == case.objective


@each_case
def test_it_learns_the_rows_it_is_given(tmp_path, table, encoder, case):
    run = train(table, encoder, config(case, epochs=6, lr=3e-3, init_logit_scale=10.0), out=tmp_path / "run")

    losses = [line["loss"] for line in run.epochs if line["loss"] is not None]
    assert losses[-1] < losses[0]


@each_case
def test_a_last_short_batch_is_trained_on_and_measured(tmp_path, table, encoder, case):
    num_rows = len(choose_rows(table, case.objective).offsets)
    short = config(case, epochs=1, batch_size=num_rows - 1, drop_last=False)

    run = train(table, encoder, short, out=tmp_path / "run")
    found = evaluate(table, encoder, case.objective, batch_size=num_rows - 1)

    assert [line["rows"] for line in run.metrics] == [num_rows - 1, 1]
    assert all(math.isfinite(line["loss"]) for line in run.metrics)
    assert found.evaluation.num_rows == num_rows
    assert all(math.isfinite(value) for value in found.evaluation.metrics.values())
    assert found.evaluation.units
    for name, units in found.evaluation.units.items():
        assert units.value_N.mean() == pytest.approx(found.evaluation.metrics[name])
        assert len(units.picture_N) == len(units.value_N)
    assert found.refused == case.refused


@each_case
def test_a_run_that_is_cut_short_goes_on_bit_for_bit(tmp_path, table, encoder, case):
    cut = config(case, epochs=4, accumulate=2, checkpoint_every_steps=3)
    whole = train(table, encoder, cut, out=tmp_path / "whole")
    with pytest.raises(Stopped):
        train(table, encoder, cut, out=tmp_path / "parts", progress=StopsAt(4))

    parts = train(table, encoder, cut, out=tmp_path / "parts")

    assert [line["loss"] for line in parts.metrics] == [line["loss"] for line in whole.metrics]
    assert all(torch.equal(tensor, weights(whole)[name]) for name, tensor in weights(parts).items())


@each_case
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_losses_and_gradients_are_finite_in_half_precision(table, encoder, case, precision):
    learner, batches = learner_and_batches(table, encoder, config(case, precision=precision, train="projections"))

    for batch in batches:
        done = learner.step([batch], 1.0)

        assert math.isfinite(done.loss)


@each_case
def test_accumulated_batches_are_averaged_by_their_rows(table, encoder, case):
    """So one step of two batches moves weights by the mean of both gradients, and no row meets one of the other."""
    plain = config(case, optimizer="sgd", momentum=0.0, grad_clip=None, weight_decay=0.0, lr=0.1)
    apart = []
    for number in range(2):
        learner, batches = learner_and_batches(table, encoder, plain)
        learner.step([batches[number]], 1.0)
        apart.append(moved(learner, encoder))
    learner, batches = learner_and_batches(table, encoder, plain)
    learner.step(batches[:2], 1.0)

    together = moved(learner, encoder)

    assert together.norm() > 0
    assert (together - (apart[0] + apart[1]) / 2).norm() < 1e-4 * together.norm()


def learner_and_batches(table: Table, encoder: Encoder, given: TrainConfig, **options):
    chosen = choose_rows(table, given.objective)
    torch.manual_seed(0)
    learner = Learner(encoder, given, len(chosen.offsets), PictureIds(chosen.offsets, chosen.pictures_N))
    stream = Stream(table, rows=chosen.offsets, batch_size=8, shuffle=False, **learner.forward.request(), **options)
    return learner, list(stream)


def moved(learner: Learner, encoder: Encoder) -> torch.Tensor:
    """How far each weight has moved, laid end to end."""
    began = dict(encoder.model.named_parameters())
    return torch.cat([(p.detach() - began[n]).flatten() for n, p in learner.model.named_parameters()])


def _a_rank(folder: str) -> None:
    """One of two processes: a step of each objective, of which it has half of the rows."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    encoder, table = biased_encoder(), open_table(Path(folder) / "t.lance")
    found = {}
    for case in CASES:
        given = config(case, optimizer="sgd", momentum=0.0, grad_clip=None, weight_decay=0.0, lr=0.1)
        learner, batches = learner_and_batches(table, encoder, given, rank=rank, world_size=WORLD)
        done = learner.step(batches[:1], 1.0)
        found[case.name] = (done.loss, done.num_rows, moved(learner, encoder))
    torch.save(found, Path(folder) / f"rank-{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_take_the_step_that_one_process_takes_with_all_rows(tmp_path, encoder):
    table = objective_table(tmp_path)
    for done in run_ranks(WORLD, ["-c", f"from {__name__} import _a_rank; _a_rank({str(tmp_path)!r})"]):
        assert done.returncode == 0, done.stderr
    ranks = [torch.load(tmp_path / f"rank-{rank}.pt") for rank in range(WORLD)]

    for case in CASES:
        given = config(case, optimizer="sgd", momentum=0.0, grad_clip=None, weight_decay=0.0, lr=0.1)
        learner, batches = learner_and_batches(table, encoder, given)
        alone = learner.step(batches[:1], 1.0)
        expected = moved(learner, encoder)
        for loss, num_rows, found in (rank[case.name] for rank in ranks):
            assert loss == pytest.approx(alone.loss, rel=1e-5), case
            assert num_rows == alone.num_rows == 8
            assert (found - expected).norm() < 1e-4 * expected.norm(), case
