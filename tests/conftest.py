"""What every test can use: comparisons, and object stores on the loopback, started only when asked for."""

import ctypes
import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None)
if "HYPOTHESIS_PROFILE" in os.environ:
    settings.load_profile(os.environ["HYPOTHESIS_PROFILE"])
# Read when torch is imported, here and in every process that a test starts: models as small as those of tests are
# slower with more threads, and two workers of pytest with two threads each keep two cores busy with waiting.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# gcsfs reads it when it is imported, and a test may do so before ours: its probe stalls 60 s where gRPC is shut.
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")

pytest_plugins = ["tests.chromium", "tests.cloud.fixtures", "tests.comparisons"]


def pytest_configure(config: pytest.Config) -> None:
    """Hide GPUs, but from their own tests: all else is the same on every machine, and compares bits.

    What is asked for is known to the process that was started; its workers have its environment.
    """
    if not hasattr(config, "workerinput") and not any("tests/gpu" in word for word in config.invocation_params.args):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture
def datachain_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A database of DataChain's own for one test, and no telemetry."""
    root = tmp_path / "datachain"
    root.mkdir()
    monkeypatch.setenv("DATACHAIN_NO_ANALYTICS", "1")
    monkeypatch.setenv("DATACHAIN_ROOT_DIR", str(root))
    from datachain.query.session import Session

    Session.cleanup_for_tests()
    yield root
    Session.cleanup_for_tests()


@pytest.fixture(scope="module", autouse=True)
def memory_given_back() -> Iterator[None]:
    """Let go of what a file of tests held: glibc keeps it, and three workers grew to 11 GB in half an hour."""
    yield
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the test that waits the longest, for a cluster, so that it is not the last one alone."""
    items.sort(key=lambda item: item.get_closest_marker("ray") is None)


def pytest_collection_finish() -> None:
    """Look no more for garbage among what was imported and collected: a twentieth of the suite's processor time."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave out what needs a GPU where there is none."""
    if item.get_closest_marker("gpu") is not None:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device: pytest tests/gpu")
