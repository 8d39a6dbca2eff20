"""How many processor cores there are for this process."""

from __future__ import annotations

import os

SHARE = "CLIPDATA_CORES"
"""Variable of the environment with this process's share of the cores, where several work beside each other."""


def num_cores() -> int:
    """Cores that this process may run on: fewer than the machine's under `taskset`, a scheduler, or as a share."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    found = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    share = os.environ.get(SHARE, "")
    return min(found, max(int(share), 1)) if share.isdecimal() else found
