"""Checkpoints in a bucket: a new machine goes on from them, and a store that fails ends no training."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from clipdata.encoder import Encoder
from clipdata.errors import CredentialsError, UsageError
from clipdata.lance_io.table import Table, open_table
from clipdata.training.config import TrainConfig
from clipdata.training.fine_tuning import train
from clipdata.training.run import Run
from tests.cloud.fault_proxy import Fault
from tests.cloud.fixtures import Bucket
from tests.contests import contest_table
from tests.telling import Stopping, Told
from tests.tiny_models import tiny_encoder

TRAIN, TEST = "split = 'train'", "split = 'test'"
PLACE = "runs/contest"


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return tiny_encoder()


def quick(place: str, **changes: Any) -> TrainConfig:
    """Eight steps, with a checkpoint after every second one."""
    settings = {"epochs": 2, "batch_size": 8, "lr": 3e-3, "evaluate_where": TEST, "best": "accuracy"}
    return TrainConfig(**{**settings, "checkpoint_every_steps": 2, "checkpoint_to": place, **changes})


def table_of(tmp_path: Path, bucket: Bucket) -> Table:
    """A table on disk, whose storage options reach the bucket."""
    return open_table(contest_table(tmp_path).uri, storage=bucket.storage)


def stopped(tmp_path: Path, bucket: Bucket, encoder: Encoder, step: int, **changes: Any) -> Table:
    """The table of a training that was stopped after a step, and whose machine is gone."""
    table, config = table_of(tmp_path, bucket), quick(bucket.url(PLACE), **changes)
    with pytest.raises(SystemExit):
        train(table, encoder, config, out=tmp_path / "gone", where=TRAIN, progress=Stopping(step))
    shutil.rmtree(tmp_path / "gone")
    return table


def objects(bucket: Bucket) -> dict[str, bytes]:
    fs, path = bucket.direct.filesystem(bucket.url(PLACE))
    fs.invalidate_cache()
    return {name.removeprefix(f"{path}/"): fs.cat_file(name) for name in fs.find(path)}


def lines(run: Run) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in line.items() if name not in ("wait", "pace")}
        for line in [*run.metrics, *run.epochs]
    ]


def test_a_new_machine_goes_on_bit_for_bit(tmp_path: Path, bucket: Bucket, encoder: Encoder) -> None:
    table = stopped(tmp_path, bucket, encoder, step=5)
    whole = train(table, encoder, quick("", checkpoint_to=None), out=tmp_path / "whole", where=TRAIN)
    told = Told()

    run = train(table, encoder, quick(bucket.url(PLACE)), out=tmp_path / "new", where=TRAIN, progress=told)

    assert any("step 5 is taken up from" in said for said in told.said)
    assert lines(run) == lines(whole)
    mine, theirs = (load_file(one.export_path / "open_clip_model.safetensors") for one in (run, whole))
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    assert (run.path / "trained_rows.arrow").read_bytes() == (whole.path / "trained_rows.arrow").read_bytes()
    found = objects(bucket)
    assert sorted(name for name in found if name.startswith("step-")) == ["step-6.json", "step-8.json"]
    copies = [json.loads(found[name])["files"].values() for name in found if name.startswith("step-")]
    assert {f"files/{digest}" for copy in copies for digest, _ in copy} == {n for n in found if n.startswith("files/")}


def test_a_copy_with_a_damaged_file_is_passed_over_for_the_one_before(
    tmp_path: Path, gcs: Bucket, encoder: Encoder
) -> None:
    table = stopped(tmp_path, gcs, encoder, step=5)
    found = objects(gcs)
    steps = sorted(int(name[5:-5]) for name in found if name.startswith("step-"))  # a copy not begun gives way to newer
    digest, size = json.loads(found["step-5.json"])["files"]["checkpoints/step-5/weights.safetensors"]
    fs, path = gcs.direct.filesystem(gcs.url(PLACE))
    fs.pipe_file(f"{path}/files/{digest}", b"\0" * size)
    told = Told()

    run = train(table, encoder, quick(gcs.url(PLACE)), out=tmp_path / "new", where=TRAIN, progress=told)

    assert any("the copy of step 5 cannot be taken up" in said for said in told.said)
    assert any(f"step {steps[-2]} is taken up from" in said for said in told.said)
    assert [line["step"] for line in run.metrics] == list(range(1, 9))


def test_a_copy_that_fails_is_said_and_the_next_one_is_written(tmp_path: Path, gcs: Bucket, encoder: Encoder) -> None:
    table, told = table_of(tmp_path, gcs), Told()

    with gcs.proxy.injecting(Fault("403", requests=("put",), skip=1, times=1)):  # the first asks whether it may write
        config = quick(gcs.url(PLACE), keep_checkpoints=9, checkpoint_every_steps=4, evaluate_where=None, best=None)
        run = train(table, encoder, config, out=tmp_path / "run", where=TRAIN, progress=told)

    assert run.is_finished
    failed = [said for said in told.said if "could not be copied" in said]
    assert len(failed) == 1
    assert failed[0].startswith("the checkpoint of step 4")
    assert [name for name in objects(gcs) if name.startswith("step-")] == ["step-8.json"]


def test_a_place_that_cannot_be_written_is_refused_before_the_first_step(
    tmp_path: Path, gcs: Bucket, encoder: Encoder
) -> None:
    table = table_of(tmp_path, gcs)

    with gcs.proxy.injecting(Fault("403", requests=("put",))), pytest.raises(CredentialsError, match="refused access"):
        train(table, encoder, quick(gcs.url(PLACE)), out=tmp_path / "run", where=TRAIN)

    assert not (tmp_path / "run").exists()


def test_copies_of_another_run_are_refused_with_what_differs_and_discarded_when_asked(
    tmp_path: Path, gcs: Bucket, encoder: Encoder
) -> None:
    table = stopped(tmp_path, gcs, encoder, step=3)
    other = quick(gcs.url(PLACE), lr=1.0, epochs=1)

    with pytest.raises(UsageError, match=r"holds copies of another run(.|\n)*lr was 0.003 and is 1.0 now"):
        train(table, encoder, other, out=tmp_path / "new", where=TRAIN)
    train(table, encoder, other, out=tmp_path / "new", where=TRAIN, overwrite=True)

    assert sorted(name for name in objects(gcs) if name.startswith("step-")) == ["step-2.json", "step-4.json"]


def test_permission_that_is_lost_midway_is_said_and_a_new_machine_goes_on_bit_for_bit_from_the_copy_before(
    tmp_path: Path, bucket: Bucket, encoder: Encoder
) -> None:
    table, config, told = table_of(tmp_path, bucket), quick(bucket.url(PLACE)), Refusing(bucket, after=2, stop=5)
    whole = train(table, encoder, quick("", checkpoint_to=None), out=tmp_path / "whole", where=TRAIN)

    with pytest.raises(SystemExit):
        train(table, encoder, config, out=tmp_path / "gone", where=TRAIN, progress=told)
    shutil.rmtree(tmp_path / "gone")

    assert any(said.startswith("the checkpoint of step 4 could not be copied") for said in told.said)
    assert all("refused access" in said for said in told.said if "could not be copied" in said)
    with pytest.raises(CredentialsError, match="refused access"):
        train(table, encoder, config, out=tmp_path / "early", where=TRAIN)
    assert not (tmp_path / "early").exists()
    bucket.proxy.clear()
    again = Told()
    run = train(table, encoder, config, out=tmp_path / "new", where=TRAIN, progress=again)
    assert any("step 2 is taken up from" in said for said in again.said)
    assert lines(run) == lines(whole)
    mine, theirs = (load_file(one.export_path / "open_clip_model.safetensors") for one in (run, whole))
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


class Refusing(Stopping):
    """Has the bucket refuse all writes once it holds the copy of a step, and ends the training later."""

    def __init__(self, bucket: Bucket, *, after: int, stop: int) -> None:
        super().__init__(stop)
        self._bucket, self._after = bucket, after

    def advance(self, num: int = 1) -> None:
        if self._counts and self.steps == self._after:
            while f"step-{self._after}.json" not in objects(self._bucket):
                time.sleep(0.02)
            self._bucket.proxy.inject(Fault("403", requests=("put", "copy", "delete")))
        super().advance(num)
