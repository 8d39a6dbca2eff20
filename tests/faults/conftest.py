"""A folder that a test can put a file system of its own on, and that is an ordinary folder again afterwards."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "target"
    folder.mkdir()
    yield folder
    # Lazily: a file that a failed write left open must not keep the file system after the test.
    subprocess.run(["umount", "--lazy", str(folder)], capture_output=True, check=False)
