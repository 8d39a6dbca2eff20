"""Telemetry: nobody is told who uses clipdata, whatever libraries do when they are left alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.contests import contest_rows

SWITCHES = ("DATACHAIN_NO_ANALYTICS", "HF_HUB_DISABLE_TELEMETRY", "RAY_USAGE_STATS_ENABLED", "WANDB_ERROR_REPORTING")

# Every verb of the library, on a few rows, in a process that says what it tried to reach and what it started.
VERBS = """
import json, socket, sys
tried = []
WATCHED = ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname", "subprocess.Popen")

def watch(event, given):
    if "ldconfig" in repr(given):  # how ctypes finds a library
        return
    if event in WATCHED and not (event == "socket.connect" and given[0].family == socket.AF_UNIX):
        tried.append(f"{event} {given!r}")

sys.addaudithook(watch)
from pathlib import Path
import clipdata as cd
import ingest
from datachain import read_storage
from tests.tiny_models import tiny_encoder

folder = Path(sys.argv[1])
ingest.from_images(folder / "photos", into=folder / "images.lance")
ingest.from_parquet(folder / "meta.parquet", into=folder / "meta.lance")
contest = ingest.merge(folder / "images.lance", folder / "meta.lance", into=folder / "contest.lance")
clip = tiny_encoder(folder)
cd.map_column(contest, cd.steps.ChoiceScores(clip), "scores")
cd.map_column(contest, cd.steps.Pick("scores", "label_ind"), "label_prob")
run = cd.train(contest, clip, cd.recipes.caption_contest(steps=1, batch_size=4), out=folder / "run")
cd.map_column(contest, cd.steps.ChoiceScores(run.encoder()), "tuned")
cd.map_column(contest, cd.steps.Pick("tuned", "label_ind"), "tuned_prob")
cd.compare(contest, "label_prob", "tuned_prob")
contest.query("SELECT count(*) FROM dataset")
assert cd.to_datachain(contest, ["path", "label_prob"]).count() == 8
chain = read_storage(str(folder / "photos"), type="image", update=True).settings(prefetch=0)
ingest.from_chain(chain, into=folder / "chain.lance")
print(json.dumps(tried))
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """That of a person who never heard of switches."""
    said = {name: value for name, value in os.environ.items() if name not in SWITCHES and not name.startswith("HF_")}
    home = tmp_path_factory.mktemp("home")
    here = str(Path(__file__).parents[1])
    return said | {"HOME": str(home), "DATACHAIN_ROOT_DIR": str(home / "datachain"), "PYTHONPATH": here}


def switches_after(environment: dict[str, str], first: str = "") -> dict[str, str]:
    code = f"{first}\nimport clipdata, json, os\nprint(json.dumps(dict(os.environ)))"
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True, text=True)
    return {name: value for name, value in json.loads(said.stdout).items() if name in SWITCHES}


def test_libraries_are_told_not_to_report_unless_the_environment_decided(environment: dict[str, str]) -> None:
    assert switches_after(environment) == dict(zip(SWITCHES, ("1", "1", "0", "false"), strict=True))
    assert switches_after({**environment, "HF_HUB_DISABLE_TELEMETRY": "0", "DATACHAIN_NO_ANALYTICS": ""}) == dict(
        zip(SWITCHES, ("", "0", "0", "false"), strict=True)
    )


def test_a_hub_that_was_imported_before_does_not_report_either(environment: dict[str, str]) -> None:
    code = "import huggingface_hub.constants, clipdata; print(huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY)"

    def said(**more: str) -> str:
        run = [sys.executable, "-c", code]
        return subprocess.run(run, env=environment | more, capture_output=True, check=True, text=True).stdout.strip()

    assert (said(), said(HF_HUB_DISABLE_TELEMETRY="0")) == ("True", "False")


@pytest.mark.slow
def test_no_verb_tries_to_reach_anybody_or_starts_a_process_that_could(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "photos").mkdir()
    rows = contest_rows(8)
    for name, data in zip(rows["path"].to_pylist(), rows["image"].to_pylist(), strict=True):
        (tmp_path / "photos" / name).write_bytes(data)
    meta = rows.select(["caption_choices", "label_ind", "split"]).append_column("filename", rows["path"])
    pq.write_table(meta.replace_schema_metadata(None), tmp_path / "meta.parquet")
    alone = ["unshare", "-rn"] if subprocess.run(["unshare", "-rn", "true"], check=False).returncode == 0 else []

    done = subprocess.run(
        [*alone, sys.executable, "-c", VERBS, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == []
