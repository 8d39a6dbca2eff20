"""What tests of faults share: a folder to put a file system on, and processes forked from a server of their own."""

import subprocess
from collections.abc import Iterator
from multiprocessing import forkserver
from pathlib import Path

import pytest


@pytest.fixture(scope="module", autouse=True)
def own_fork_server() -> Iterator[None]:
    """A file's processes are forked from what it asks to be imported, not from what another file began with.

    A server that runs imports nothing more, and each process would import it all for itself.
    """
    forkserver._forkserver._stop()
    yield
    forkserver._forkserver._stop()


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "target"
    folder.mkdir()
    yield folder
    # Lazily: a file that a failed write left open must not keep the file system after the test.
    subprocess.run(["umount", "--lazy", str(folder)], capture_output=True, check=False)
