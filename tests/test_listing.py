"""The list of runs in a folder: how far, how good, and in what they differ."""

import json
import shutil
import signal
from pathlib import Path

import pytest

import clipdata as cd
from clipdata.errors import NotFoundError, UsageError
from clipdata.folder_lock import alone_in
from clipdata.training.fine_tuning import train
from pipelines.cli.app import main
from tests.contests import contest_table
from tests.test_interruption import TRAIN, Signalling, quick
from tests.tiny_models import tiny_encoder


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Two finished runs, one of them a level deeper, and one that was stopped."""
    folder = tmp_path_factory.mktemp("listing")
    table, encoder = contest_table(folder), tiny_encoder()
    train(table, encoder, quick(), out=folder / "runs/good", where=TRAIN)
    train(table, encoder, quick(lr=1e-9, seed=3), out=folder / "runs/more/idle", where=TRAIN)
    with pytest.raises(SystemExit):
        train(table, encoder, quick(), out=folder / "runs/part", progress=Signalling(3, signal.SIGTERM))
    return folder / "runs"


@pytest.fixture
def folder(made, tmp_path) -> Path:
    shutil.copytree(made, tmp_path / "runs")
    return tmp_path / "runs"


def by_name(folder: Path) -> dict[str, object]:
    return {run.path.name: run for run in cd.runs(folder)}


def test_runs_are_listed_with_how_far_they_are_and_what_they_reached(folder):
    found = by_name(folder)

    assert {name: run.progress for name, run in found.items()} == {
        "good": "finished",
        "idle": "finished",
        "part": "interrupted at step 3 of 10",
    }
    epochs = cd.open_run(folder / "good").epochs
    good = found["good"]
    assert (good.figure, good.before, good.after) == ("accuracy", epochs[0]["accuracy"], epochs[-1]["accuracy"])
    canary = cd.open_run(folder / "good").canary
    assert (good.canary, found["part"].canary) == (canary.verdict if canary else None, None)
    assert (good.rows, found["part"].rows, found["part"].after) == (32, 40, None)


def test_a_model_that_lost_what_it_knew_is_called_so(folder):
    summary = folder / "good" / "summary.json"
    summary.write_text(json.dumps(json.loads(summary.read_text()) | {"canary": {"verdict": "worse"}}))

    found = by_name(folder)

    assert found["good"].result.endswith("; canary worse")
    assert "canary" not in found["idle"].result


def test_only_settings_that_differ_are_shown(folder):
    found = cd.runs(folder)

    assert set(found.differing) == {"where", "lr", "seed"}
    assert {run.path.name: run.settings["lr"] for run in found} == {"good": 3e-3, "idle": 1e-9, "part": 3e-3}


def test_a_run_at_work_is_told(folder):
    with alone_in(folder / "part", "training"):
        assert by_name(folder)["part"].state == "running"


def test_a_damaged_folder_is_one_line(folder):
    (folder / "part/config.json").write_text('{"config": {')
    (folder / "good/config.json").unlink()
    (folder / "models/tower").mkdir(parents=True)
    (folder / "models/tower/config.json").write_text("{}")

    found = by_name(folder)

    assert {name: run.state for name, run in found.items()} == {
        "good": "damaged",
        "idle": "finished",
        "part": "damaged",
    }
    assert "has lost its config.json" in found["good"].problem
    assert "cannot be read" in found["part"].problem


def test_the_best_comes_first_when_asked(folder):
    assert cd.runs(folder, sort="figure").runs[0].path.name == "good"
    assert cd.runs(folder, sort="figure").runs[-1].path.name == "part"


def test_the_command_line_fits_its_table_and_prints_json(folder, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["runs", str(folder)]) == 0
    text = capsys.readouterr().out
    assert main(["runs", str(folder), "--sort", "figure", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)

    assert max(map(len, text.splitlines())) <= 100
    assert "interrupted" in text
    assert found["differing"] == ["where", "lr", "seed"]
    assert [run["differing"]["lr"] for run in found["runs"]][:2] == [3e-3, 1e-9]


def test_a_folder_without_runs_and_one_that_is_not_there_are_told_apart(tmp_path, capsys):
    assert main(["runs", str(tmp_path)]) == 0
    assert "no training run in" in capsys.readouterr().out
    with pytest.raises(NotFoundError, match="there is no folder"):
        cd.runs(tmp_path / "none")
    with pytest.raises(UsageError, match="sort is 'lr'"):
        cd.runs(tmp_path, sort="lr")
