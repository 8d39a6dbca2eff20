"""Memory that a model has freed is kept for its next layer."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")

# Page faults of ten layers' worth of blocks, taken and freed one after the other.
CHILD = """
import resource, sys
import numpy as np
from clipdata.encoder.allocation import keep_freed_memory
taken = keep_freed_memory() if sys.argv[1] == "kept" else False
np.ones(20 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    np.ones(20 << 20, np.uint8)
print(int(taken), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str, **environment: str) -> tuple[bool, int]:
    chosen = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, how], env=chosen | environment, capture_output=True, text=True, check=True
    )
    taken, num = done.stdout.split()
    return taken == "1", int(num)


def test_blocks_are_used_again_instead_of_given_back() -> None:
    _, plain = faults("plain")
    taken, kept = faults("kept")
    assert taken
    assert kept < plain / 5


@pytest.mark.parametrize(
    "chosen", [{"MALLOC_TRIM_THRESHOLD_": "131072"}, {"GLIBC_TUNABLES": "glibc.malloc.arena_max=2"}]
)
def test_what_the_environment_chose_stands(chosen: dict[str, str]) -> None:
    assert faults("kept", **chosen)[0] is False
