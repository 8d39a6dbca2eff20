"""Ctrl-C and SIGTERM while a model trains: a checkpoint, a clean end, and the rest bit for bit."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import clipdata as cd
from clipdata.encoder import Encoder, export, load_encoder
from clipdata.lance_io.table import Table
from clipdata.training import checkpoints
from clipdata.training.config import TrainConfig
from clipdata.training.fine_tuning import train
from clipdata.training.run import Run, open_run
from tests.contests import contest_table
from tests.telling import Told
from tests.tiny_models import tiny_dual_encoder, tiny_encoder

TRAIN, TEST = "split = 'train'", "split = 'test'"
BOTH = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return tiny_encoder()


@pytest.fixture
def table(tmp_path) -> Table:
    return contest_table(tmp_path)


def quick(**changes) -> TrainConfig:
    """Eight steps."""
    return TrainConfig(**{"epochs": 2, "batch_size": 8, "lr": 3e-3, "evaluate_where": TEST, **changes})


class Signalling(Told):
    """Sends this process signals when so many steps are done."""

    def __init__(self, step: int, *signals: signal.Signals) -> None:
        super().__init__()
        self._step, self._signals = step, signals

    @contextmanager
    def task(self, label, total, unit="rows"):
        self._counts = label == "train"
        yield self

    def advance(self, num: int = 1) -> None:
        super().advance(num * self._counts)
        if self._counts and self.steps == self._step:
            for one in self._signals:
                signal.raise_signal(one)

    def heard(self) -> list[str]:
        """What was said of stopping, once the thread that says it is done."""
        deadline = time.monotonic() + 60
        while not any("stopping" in text for text in self.said) and time.monotonic() < deadline:
            time.sleep(0.01)
        return [text for text in self.said if "stop" in text]


def steps(run: Run) -> list[dict]:
    return [{name: value for name, value in line.items() if name != "wait"} for line in run.metrics]


def reports(run: Run) -> list[dict]:
    return [{name: value for name, value in line.items() if name != "pace"} for line in run.epochs]


def same_weights(one: Run, other: Run) -> bool:
    left, right = (load_file(run.export_path / "open_clip_model.safetensors") for run in (one, other))
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def newest(folder: Path) -> int:
    return checkpoints.complete(folder / "checkpoints")[-1].step


@pytest.mark.parametrize(
    ("step", "stop", "ends_with"), [(3, signal.SIGTERM, SystemExit), (4, signal.SIGINT, KeyboardInterrupt)]
)
def test_a_training_that_was_stopped_goes_on_bit_for_bit(tmp_path, table, step, stop, ends_with):
    """The second one is stopped at the end of an epoch, while rows are measured; both models have dropout."""
    made = tiny_dual_encoder(tmp_path / "dual")
    encoder = load_encoder(export(made.model, made, tmp_path / "model"), device="cpu")
    config = quick(train="all", lr=1e-3, freeze_batchnorm=False)
    whole = train(table, encoder, config, out=tmp_path / "whole", where=TRAIN)
    told = Signalling(step, stop)

    with pytest.raises(ends_with) as ended:
        train(table, encoder, config, out=tmp_path / "parts", where=TRAIN, progress=told)
    stopped = open_run(tmp_path / "parts")
    assert (newest(stopped.path), len(stopped.metrics), stopped.is_finished) == (step, step, False)
    parts = train(table, encoder, config, out=tmp_path / "parts", where=TRAIN)

    assert ended_code(ended.value) == 128 + stop
    assert any(f"stopped at step {step} of 8" in text for text in told.heard())
    assert len(whole.metrics) == 8
    assert steps(parts) == steps(whole)
    assert reports(parts) == reports(whole)
    assert same_weights(parts, whole)


def ended_code(ended: BaseException) -> object:
    return 130 if isinstance(ended, KeyboardInterrupt) else ended.code


def test_a_second_signal_leaves_at_once_and_the_checkpoint_before_is_unharmed(tmp_path, table, encoder):
    told = Signalling(3, signal.SIGINT, signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(table, encoder, quick(checkpoint_every_steps=2), out=tmp_path / "run", where=TRAIN, progress=told)

    assert newest(tmp_path / "run") == 2
    assert train(table, encoder, quick(checkpoint_every_steps=2), out=tmp_path / "run", where=TRAIN).is_finished


def test_whoever_listened_for_signals_before_is_told_and_listens_again(tmp_path, table, encoder):
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    mine = [signal.getsignal(one) for one in BOTH]
    try:
        with pytest.raises(SystemExit):
            train(table, encoder, quick(), out=tmp_path / "run", progress=Signalling(1, signal.SIGTERM))

        assert [signal.getsignal(one) for one in BOTH] == mine
        assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_what_the_process_ignores_stops_no_training(tmp_path, table, encoder):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        run = train(table, encoder, quick(), out=tmp_path / "run", progress=Signalling(1, signal.SIGINT))
    finally:
        signal.signal(signal.SIGINT, before)

    assert run.is_finished


def test_a_training_in_another_thread_leaves_signals_alone(tmp_path, table, encoder):
    seen = []

    class Looking(Told):
        def advance(self, num=1):
            seen.append([signal.getsignal(one) for one in BOTH])

    mine = [signal.getsignal(one) for one in BOTH]
    thread = threading.Thread(
        target=train, args=(table, encoder, quick()), kwargs={"out": tmp_path / "run", "progress": Looking()}
    )
    thread.start()
    thread.join()

    assert open_run(tmp_path / "run").is_finished
    assert seen
    assert all(one == mine for one in seen)


@pytest.mark.slow
def test_the_command_line_ends_with_the_code_of_the_signal_and_one_line(tmp_path, table, encoder):
    model, out = export(encoder.model, encoder, tmp_path / "model"), tmp_path / "run"
    words = ["train", table.uri, "--model", model, "--out", out, "--device", "cpu", "--json"]
    words += [word for one in ("steps=100000", "batch_size=8", "num_workers=1") for word in ("--set", one)]
    running = subprocess.Popen(
        [sys.executable, "-m", "clipdata", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(cd.__file__).parents[1])},
        start_new_session=True,
    )
    while not (out / "metrics.jsonl").exists() or len((out / "metrics.jsonl").read_text().splitlines()) < 4:
        assert running.poll() is None, running.communicate()
        time.sleep(0.02)

    os.killpg(running.pid, signal.SIGTERM)  # as a scheduler does: the worker process gets it, too
    found, said = running.communicate(timeout=300)

    assert running.returncode == 143, said
    assert said.splitlines()[-1] == "terminated: the same command goes on where it stopped"
    assert "Traceback" not in said
    assert json.loads(found)["error"] == {
        "name": "terminated",
        "code": 143,
        "message": "the same command goes on where it stopped",
        "hint": None,
    }
    assert len(open_run(out).metrics) == newest(out)


def test_what_a_process_left_that_died_behind_its_last_checkpoint_goes_when_the_run_ends(tmp_path, table, encoder):
    """It had not yet removed older checkpoints, or was about to."""
    config = quick(checkpoint_every_steps=2)
    run = train(table, encoder, config, out=tmp_path / "run", where=TRAIN)
    (run.path / "summary.json").unlink()
    for left in ("step-2", ".aside-step-4"):
        shutil.copytree(run.path / "checkpoints" / "step-6", run.path / "checkpoints" / left)

    again = train(table, encoder, config, out=tmp_path / "run", where=TRAIN)

    assert again.is_finished
    assert sorted(path.name for path in (run.path / "checkpoints").iterdir()) == ["step-6", "step-8"]
