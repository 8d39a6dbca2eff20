"""Files of somebody's own that hide our packages are named, before anything fails of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "clipdata", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)


@pytest.mark.parametrize("hiding", ["ingest.py", "pipelines.py", "ingest/__init__.py", "pipelines/__init__.py"])
def test_a_file_that_hides_a_package_of_ours_is_named(tmp_path: Path, hiding: str) -> None:
    (tmp_path / hiding).parent.mkdir(exist_ok=True)
    (tmp_path / hiding).write_text("")

    done = run(tmp_path, "ingest", "images", "photos", "--into", "t.lance", "--json")

    assert done.returncode == 2
    assert f"{tmp_path / hiding.removesuffix('/__init__.py')} hides clipdata's own package" in done.stderr
    assert "Traceback" not in done.stderr
    assert "hides" in json.loads(done.stdout)["error"]["message"]


def test_folders_that_are_no_packages_hide_nothing(tmp_path: Path) -> None:
    for name in ("ingest", "pipelines", "clipdata"):
        (tmp_path / name).mkdir()

    assert run(tmp_path, "--version").stdout.startswith("clipdata ")
