"""Asks the C library to keep memory that a model on a CPU has freed, for the next layer to use."""

from __future__ import annotations

import ctypes
import os
import sys

# glibc gives every block above 32 MiB back to the system when it is freed, and smaller ones as soon as some of them lie
# at the end of the heap. A tower frees such blocks after every layer, and the next layer takes the same pages anew, one
# fault for each 4 KiB: half the time of a convolutional tower. Source: mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
KEPT_BYTES = 512 << 20
"""Freed memory that a process keeps at the most, where the C library takes the request."""
_BLOCK_BYTES = 1 << 30
_OLD_BLOCK_BYTES = 32 << 20  # the most that older releases take


def keep_freed_memory() -> bool:
    """Let this process keep up to 512 MiB that it has freed; a choice made by the environment stands.

    Returns:
        Whether the C library took the request: only glibc has it.
    """
    is_chosen = any(name.startswith("MALLOC_") for name in os.environ) or "malloc" in os.environ.get(
        "GLIBC_TUNABLES", ""
    )
    if is_chosen or sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    taken = mallopt(_M_MMAP_THRESHOLD, _BLOCK_BYTES) or mallopt(_M_MMAP_THRESHOLD, _OLD_BLOCK_BYTES)
    return bool(mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES) and taken)
