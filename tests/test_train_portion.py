"""Training on some of the rows, and the dry run of a training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

import clipdata as cd
from clipdata.encoder import Encoder
from clipdata.errors import LineageMismatchError, SchemaError, UsageError
from clipdata.lance_io import rows
from clipdata.lance_io.table import Table, open_table
from clipdata.trained_rows import digests
from clipdata.training.config import TrainConfig
from clipdata.training.fine_tuning import train
from clipdata.training.objectives import Choice
from clipdata.training.plan import TrainingPlan
from clipdata.training.portion import Portion
from clipdata.training.usable_rows import choose_rows
from tests.contests import contest_rows, contest_table
from tests.telling import Told
from tests.tiny_models import tiny_encoder

TRAIN = "split = 'train'"


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return tiny_encoder()


def quick(**changes) -> TrainConfig:
    return TrainConfig(**{"steps": 2, "batch_size": 8, **changes})


def keys_of(table: Table, trained) -> set[str]:
    names = table.to_table(["path"]).column("path")
    return {name for name, digest in zip(names.to_pylist(), digests(names), strict=True) if digest in trained.keys}


def chosen(table: Table, **options):
    return choose_rows(table, Choice(), **options)


def files_of(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*")}


def test_a_limit_takes_the_first_usable_rows_and_counts_all_that_are_refused(tmp_path: Path) -> None:
    made = contest_rows(20)
    labels = made.column("label_ind").to_pylist()
    labels[1] = labels[15] = 99
    made = made.set_column(
        made.schema.get_field_index("label_ind"), made.schema.field("label_ind"), pa.array(labels, pa.int32())
    )
    table = rows.create_table(tmp_path / "t.lance", made.schema)
    rows.upsert(table, made)

    found = chosen(open_table(table.uri), portion=Portion(limit=3))

    assert found.offsets.tolist() == [0, 2, 3]
    assert (found.num_usable, found.refused) == (18, {"a label outside its choices": 2})
    assert found.describe() == "3 of 18 usable rows; left out 2 with a label outside its choices"
    assert len(found.keys_N) == len(found.pictures_N) == 3


def test_a_sample_is_the_same_whatever_the_order_of_the_rows_and_another_with_another_seed(tmp_path: Path) -> None:
    table, made = contest_table(tmp_path, 60), contest_rows(60)
    turned = rows.create_table(tmp_path / "turned.lance", made.schema)
    for start in (40, 0, 20):
        rows.upsert(turned, made.slice(start, 20))

    def names(one: Table, **portion: int) -> set[str]:
        at = chosen(one, portion=Portion(**portion)).offsets
        return set(one.to_table(["path"]).column("path").take(at).to_pylist())

    first = names(table, sample=12)
    assert len(first) == 12
    assert first == names(open_table(turned.uri), sample=12)
    assert first < names(table, sample=20)
    assert first != names(table, sample=12, seed=1)
    assert names(table, sample=100) == names(table, limit=100)


def test_a_part_digests_and_records_only_its_own_rows(tmp_path: Path) -> None:
    table = contest_table(tmp_path, 30)
    whole, part = chosen(table), chosen(table, portion=Portion(limit=10))
    assert part.digest == chosen(contest_table(tmp_path, 10, name="small.lance")).digest != whole.digest
    assert np.array_equal(part.keys_N, whole.keys_N[:10])


def test_a_run_on_a_sample_records_it_and_only_its_rows(tmp_path: Path, encoder: Encoder) -> None:
    table = contest_table(tmp_path)

    run = train(table, encoder, quick(seed=3), out=tmp_path / "run", where=TRAIN, sample=9)

    recorded = run.record["table"]
    assert (recorded["num_rows"], recorded["sample"], recorded.get("limit")) == (9, 9, None)
    at = chosen(table, where=TRAIN, portion=Portion(sample=9, seed=3)).offsets
    assert keys_of(table, run.trained_rows) == set(table.to_table(["path"]).column("path").take(at).to_pylist())
    assert run.encoder().trained_on[0].num_rows == 9


def test_the_same_portion_again_is_the_same_run_and_another_is_refused(tmp_path: Path, encoder: Encoder) -> None:
    table, told = contest_table(tmp_path), Told()
    asked = {"out": tmp_path / "run", "where": TRAIN}
    train(table, encoder, quick(), limit=10, **asked)
    rows.upsert(table, contest_rows(50).slice(40))  # rows behind those that it reads

    again = train(open_table(table.uri), encoder, quick(), limit=10, progress=told, **asked)

    assert again.is_finished
    assert any("is finished already" in line for line in told.said)
    with pytest.raises(UsageError, match="the limit was 10 and is 11 now"):
        train(table, encoder, quick(), limit=11, **asked)
    with pytest.raises(UsageError, match=r"the limit was 10 and is none now\n.*the sample was none and is 10 now"):
        train(table, encoder, quick(), sample=10, **asked)


def test_a_killed_run_on_a_sample_goes_on_with_the_same_rows(tmp_path: Path, encoder: Encoder) -> None:
    table = contest_table(tmp_path)
    config = quick(steps=6, checkpoint_every_steps=2)

    class Killed(Told):
        def task(self, label, total, unit="rows"):
            self.steps = 0 if label == "train" else -1000
            return super().task(label, total, unit)

        def advance(self, num: int = 1) -> None:
            super().advance(num)
            if self.steps == 4:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(table, encoder, config, out=tmp_path / "run", sample=16, progress=Killed())
    plan = train(table, encoder, config, out=tmp_path / "run", sample=16, dry_run=True)
    assert isinstance(plan, TrainingPlan)
    assert (plan.state, plan.steps_done, plan.length.num_steps) == ("goes on", 2, 6)
    run = train(table, encoder, config, out=tmp_path / "run", sample=16)
    whole = train(table, encoder, config, out=tmp_path / "whole", sample=16)
    assert [line["loss"] for line in run.metrics] == [line["loss"] for line in whole.metrics]


@pytest.mark.parametrize("wrong", [{"limit": 0}, {"sample": -1}, {"limit": 1.5}, {"limit": 2, "sample": 2}])
def test_a_portion_that_says_nothing_is_refused(tmp_path: Path, encoder: Encoder, wrong: dict) -> None:
    with pytest.raises(UsageError, match=r"train: (limit|sample)"):
        train(contest_table(tmp_path), encoder, quick(), out=tmp_path / "run", **wrong)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("changes", [{}, {"train": "all"}, {"text_cache": 0}], ids=["heads", "all", "no cache"])
def test_a_dry_run_tells_rows_steps_and_time_and_writes_nothing(tmp_path: Path, encoder: Encoder, changes) -> None:
    table = contest_table(tmp_path)
    before, version = files_of(tmp_path), table.latest().version
    weights = {name: value.clone() for name, value in encoder.model.state_dict().items()}
    random = torch.get_rng_state()

    config = quick(steps=None, epochs=3, evaluate_where="split = 'test'", **changes)
    plan = train(table, encoder, config, out=tmp_path / "run", where=TRAIN, dry_run=True)

    assert isinstance(plan, TrainingPlan)
    assert (plan.state, plan.num_rows, plan.num_usable, plan.num_measured) == ("begins", 32, 32, 8)
    assert (plan.length.num_steps, plan.length.batch_size, plan.length.num_epochs) == (12, 8, 3)
    assert plan.times is not None
    assert plan.estimate_s is not None
    assert plan.estimate_s >= 12 * plan.times.step_s > 0
    assert bool(plan.num_captions) == (not changes)
    assert "12 steps of 8 rows, 3 epochs" in str(plan)
    assert files_of(tmp_path) == before
    assert table.latest().version == version
    assert all(torch.equal(value, weights[name]) for name, value in encoder.model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)


def test_a_dry_run_refuses_what_the_training_would_refuse(tmp_path: Path, encoder: Encoder) -> None:
    table, out = contest_table(tmp_path), tmp_path / "run"
    with pytest.raises(SchemaError, match="no column 'captions'"):
        train(table, encoder, quick(objective=Choice("captions")), out=out, dry_run=True)
    with pytest.raises((SchemaError, LineageMismatchError), match="trunk"):
        train(table, encoder, quick(image_trunk="trunk"), out=out, dry_run=True)
    with pytest.raises(UsageError, match="has no row to train on"):
        train(table, encoder, quick(), out=out, where="split = 'none'", dry_run=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "own.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"holds no training run.*own\.txt"):
        train(table, encoder, quick(), out=tmp_path / "full", dry_run=True)
    assert not out.exists()


def test_a_dry_run_of_a_finished_run_gives_it_and_discards_nothing(tmp_path: Path, encoder: Encoder) -> None:
    table, out = contest_table(tmp_path), tmp_path / "run"
    run = train(table, encoder, quick(), out=out)
    before = files_of(out)
    assert train(table, encoder, quick(), out=out, dry_run=True) == run
    with pytest.raises(UsageError, match="steps was 2 and is 3 now"):
        train(table, encoder, quick(steps=3), out=out, dry_run=True)
    plan = cd.train(table, encoder, quick(steps=3), out=out, overwrite=True, dry_run=True)
    assert isinstance(plan, TrainingPlan)
    assert plan.state == "discards a run"
    assert files_of(out) == before
