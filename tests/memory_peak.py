"""How much memory a block takes at its peak, whatever its process held before, which hides what the block adds.

Linux alone tells it (proc(5): writing 5 to clear_refs resets VmHWM); elsewhere the growth of the process's own peak.
"""

from __future__ import annotations

import ctypes
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

_PROCESS = Path("/proc/self")


@dataclass
class Peak:
    """What a block took: MiB above what was held when it began."""

    mb: float = 0.0


@contextmanager
def peak() -> Iterator[Peak]:
    """Measure the block; what it took is known when it has ended."""
    found, before = Peak(), _begin()
    yield found
    found.mb = _kib("VmHWM") / 1024 - before


def _begin() -> float:
    """What is held now, with what lies about unused given back: a block would use that, and nothing would grow."""
    pa.default_memory_pool().release_unused()
    if not (_PROCESS / "clear_refs").exists():
        return _kib("VmHWM") / 1024
    ctypes.CDLL(None).malloc_trim(0)
    (_PROCESS / "clear_refs").write_text("5")
    return _kib("VmRSS") / 1024


def _kib(name: str) -> int:
    if not (_PROCESS / "status").exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    said = re.search(rf"{name}:\s+(\d+) kB", (_PROCESS / "status").read_text())
    assert said is not None
    return int(said[1])
