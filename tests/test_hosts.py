"""Training over two hosts: two network namespaces with a cable between them, torchrun in each."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from clipdata.training.run import Run
from tests import ranks
from tests.test_processes import assert_alike

ROOT = Path(__file__).parents[1]
ADDRESSES = ("10.231.7.1", "10.231.7.2")
PORT = "29541"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def hosts() -> Iterator[list[str]]:
    """Names of two network namespaces that reach each other, and nothing else."""
    if not shutil.which("ip"):
        pytest.skip("ip is needed, for network namespaces")
    names = [f"clipdata-{os.getpid()}-{end}" for end in "ab"]
    ends = [f"cd{os.getpid()}{end}" for end in "ab"]
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", ends[0], "netns", names[0], "type", "veth", "peer", "name", ends[1], "netns", names[1])
        for name, end, address in zip(names, ends, ADDRESSES, strict=True):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", end)
            ip("-n", name, "link", "set", end, "up")
            ip("-n", name, "link", "set", "lo", "up")
    except subprocess.CalledProcessError as error:
        remove(names)
        pytest.skip(f"network namespaces cannot be made here: {error.stderr.strip()}")
    yield names
    remove(names)


def remove(names: list[str]) -> None:
    for name in names:
        with suppress(subprocess.CalledProcessError):
            ip("netns", "del", name)


def begin(host: str, rank: int, folder: Path, *jobs: str) -> subprocess.Popen[str]:
    """torchrun with one process, on one of two hosts."""
    meeting = ["--nnodes", "2", "--node-rank", str(rank), "--nproc-per-node", "1", "--max-restarts", "0"]
    meeting += ["--rdzv-backend", "static", "--master-addr", ADDRESSES[0], "--master-port", PORT]
    command = ["ip", "netns", "exec", host, sys.executable, "-m", "torch.distributed.run", *meeting]
    end = f"cd{os.getpid()}{'ab'[rank]}"
    return subprocess.Popen(
        [*command, "-m", "tests.ranks", str(folder), *jobs],
        cwd=ROOT,
        env={**os.environ, "GLOO_SOCKET_IFNAME": end, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
def test_a_run_of_two_hosts_that_lost_a_process_goes_on_in_one_and_is_the_run_of_one(
    tmp_path: Path, hosts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    ranks.make_tables(tmp_path)
    ranks.main(tmp_path, ["whole"])

    both = [begin(host, rank, tmp_path, "killed") for rank, host in enumerate(hosts)]
    said = [process.communicate(timeout=300)[0] for process in both]

    assert both[0].returncode, said[0][-2000:]
    left = json.loads((tmp_path / "told-2.1.json").read_text())["killed"]
    assert left["error"] == "EndedElsewhereError", "the process that is left ends, too, and says why"
    cut = tmp_path / "runs-2" / "killed"
    assert max(line["step"] for line in Run(cut).metrics) == 5
    assert not (cut / "export").exists()

    cut.rename(tmp_path / "runs-1" / "from-two-hosts")
    ranks.main(tmp_path, ["whole:from-two-hosts"])

    assert_alike(tmp_path / "runs-1" / "from-two-hosts", tmp_path / "runs-1" / "whole")
