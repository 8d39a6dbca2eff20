"""How many processor cores there are for this process."""

from __future__ import annotations

import os


def num_cores() -> int:
    """Cores that this process may run on: fewer than the machine's under `taskset` or a scheduler of jobs."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
