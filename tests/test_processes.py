"""Several processes train one model: as one process would, whatever is left out, and whoever of them fails."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from clipdata.encoder import export
from clipdata.folder_lock import FILE as LOCK
from clipdata.lance_io.table import open_table
from clipdata.training.run import Run
from pipelines.cli import app
from tests import ranks
from tests.forked import run_ranks

ALIKE = 1e-5
EQUAL = ["choice", "contrastive", "siglip", "class_prompts", "soft_target", "bad_pictures", "batchnorm", "together"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Iterator[Path]:
    """Tables, and the runs of one process."""
    found = tmp_path_factory.mktemp("ranks")
    ranks.make_tables(found)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(found))  # where each process makes its models
        ranks.main(found, [*EQUAL, "whole", "cut"])
        yield found


def start(num: int, *arguments: str | Path) -> subprocess.Popen:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(num)]
    return subprocess.Popen(
        [*launch, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
        env={**os.environ, "GLOO_SOCKET_IFNAME": "lo"},
    )


def in_ranks(num: int, folder: Path, *jobs: str) -> list[dict]:
    """Do jobs in several processes; what each of these was told."""
    for done in run_ranks(num, ["-m", "tests.ranks", folder, *jobs]):
        assert done.returncode == 0, done.stderr[-4000:]
    return [json.loads((folder / f"told-{num}.{rank}.json").read_text()) for rank in range(num)]


def assert_alike(run: Path, expected: Path) -> None:
    """The same weights, losses and figures."""
    one, other = (load_file(path / "export" / "open_clip_model.safetensors") for path in (run, expected))
    assert one.keys() == other.keys()
    assert {name: (one[name] - other[name]).abs().max().item() for name in one} == pytest.approx(
        dict.fromkeys(one, 0.0), abs=ALIKE
    ), run
    for lines in ("metrics", "epochs"):
        found, wanted = (list(map(ranks.figures, getattr(Run(path), lines))) for path in (run, expected))
        assert found == [pytest.approx(line, rel=ALIKE, abs=ALIKE) for line in wanted], run
    left_out = [json.loads((path / "summary.json").read_text())["left_out"] for path in (run, expected)]
    assert left_out[0] == left_out[1]


@pytest.fixture(scope="module")
def two(folder) -> list[dict]:
    """What each of two processes was told of its jobs."""
    (folder / "runs-2").mkdir()
    (folder / "runs-1" / "cut").rename(folder / "runs-2" / "cut-by-1")
    # First those that end at once: the processes part, and meet again while one of them is still leaving.
    failing = ["too_few", "unlike", "too_bad", "cut", "dropout_cut", "dropped_cut"]
    going_on = ["whole:cut-by-1", "dropout:dropout_cut", "dropped:dropped_cut"]
    return in_ranks(2, folder, *failing, *EQUAL, *going_on, "dropout", "dropped")


@pytest.mark.slow
@pytest.mark.parametrize("name", EQUAL)
def test_two_processes_train_the_model_of_one(folder, two, name):
    assert_alike(folder / "runs-2" / name, folder / "runs-1" / name)


@pytest.mark.slow
def test_the_first_process_tells_and_the_others_are_silent(two):
    assert any("the tuned model is in" in text for text in two[0]["choice"]["said"])
    assert two[0]["choice"]["steps"] > 0
    assert all(not found.get("said") and not found.get("steps") for found in two[1].values())


@pytest.mark.slow
def test_a_fault_of_one_process_ends_all_and_is_told_once(two):
    assert two[0]["cut"] == {"error": "Stopped", "message": "stopped at step 5"}
    assert two[1]["cut"]["error"] == "EndedElsewhereError"
    assert "process 0 of 2: stopped at step 5" in two[1]["cut"]["message"]


@pytest.mark.slow
def test_too_many_bad_pictures_of_one_process_end_all_with_one_message(two):
    assert two[0]["too_bad"]["error"] == "TooManyRejectsError"
    assert "max_bad_share allows 10%" in two[0]["too_bad"]["message"]
    assert two[1]["too_bad"]["error"] == "EndedElsewhereError"


@pytest.mark.slow
def test_what_all_processes_refuse_is_told_by_the_first(two):
    assert two[0]["too_few"]["error"] == "UsageError"
    assert two[1]["too_few"]["error"] == "EndedElsewhereError"


@pytest.mark.slow
def test_a_process_of_other_arguments_says_so(two):
    assert two[1]["unlike"]["error"] == "UsageError"
    assert "seed was 0 and is 1 now" in two[0]["unlike"]["message"]
    assert "started with other arguments than the first" in two[0]["unlike"]["message"]


@pytest.mark.slow
def test_a_run_of_one_process_goes_on_in_two(folder, two):
    assert any("going on after step 4 of" in text for text in two[0]["whole:cut-by-1"]["said"])
    assert_alike(folder / "runs-2" / "cut-by-1", folder / "runs-1" / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dropout", "dropped"])
def test_processes_with_dropout_go_on_bit_for_bit(folder, two, name):
    """Dropout of the model's own, or of LoRA beside a moving average, cached gradients and a mixture."""
    one, other = (
        load_file(folder / "runs-2" / run / "export" / "open_clip_model.safetensors") for run in (name, f"{name}_cut")
    )

    assert any("going on after step 4 of" in text for text in two[0][f"{name}:{name}_cut"]["said"])
    assert all(torch.equal(one[name], tensor) for name, tensor in other.items())


@pytest.mark.slow
def test_three_processes_train_the_model_of_one_and_go_on_with_what_two_began(folder, two):
    (folder / "runs-3").mkdir()
    (folder / "runs-2" / "cut").rename(folder / "runs-3" / "cut")

    told = in_ranks(3, folder, "contrastive", "batchnorm", "whole:cut")

    for name in ("contrastive", "batchnorm"):
        assert_alike(folder / "runs-3" / name, folder / "runs-1" / name)
    assert any("going on after step 4 of" in text for text in told[0]["whole:cut"]["said"])
    assert_alike(folder / "runs-3" / "cut", folder / "runs-1" / "whole")


@pytest.mark.slow
def test_a_killed_process_ends_the_command_and_one_process_goes_on(folder):
    model = export(ranks.plain().model, ranks.plain(), folder / "model")
    settings = [f"{name}={value}" for name, value in {
        "epochs": 6, "batch_size": 7, "drop_last": "false", "lr": 1e-5, "train": "all",
        "checkpoint_every_steps": 3, "canary": "false", "evaluate_where": "split = 'test'",
    }.items()]  # fmt: skip
    command = ["-m", "pipelines.cli", "train", folder / "t.lance", "--model", model, "--recipe", "caption-contest",
               *[word for one in settings for word in ("--set", one)]]  # fmt: skip
    out = folder / "killed"

    began = start(2, *command, "--out", out)
    lines = out / "metrics.jsonl"
    while began.poll() is None and (not lines.exists() or lines.read_text().count('"step"') < 8):
        time.sleep(0.02)
    os.kill(json.loads((out / LOCK).read_text())["pid"], signal.SIGKILL)
    _, err = began.communicate(timeout=120)

    assert began.returncode != 0
    assert "Signal 9 (SIGKILL)" in err  # torchrun says so; it may end the others before they can
    assert not Run(out).is_finished
    for place in (out, folder / "unbroken"):
        assert app.main([*map(str, command[2:]), "--out", str(place)]) == 0
    assert_alike(out, folder / "unbroken")


def test_an_environment_that_names_no_meeting_place_is_refused(folder, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)

    with pytest.raises(ranks.ClipdataError, match=r"MASTER_ADDR(.|\n)*torchrun"):
        ranks.JOBS["choice"].run(folder, folder / "nowhere")
    assert open_table(folder / "t.lance").num_rows
