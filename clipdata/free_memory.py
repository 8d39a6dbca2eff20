"""How much memory a process may still take: of the machine, or of the container it is in. Linux alone tells."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_GROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Memory:
    """Memory in bytes.

    Args:
        total: of the machine, or what the container may take.
        free: of it, counting what the system would give up when asked.
    """

    total: int
    free: int


def processor_memory() -> Memory | None:
    """Memory beside the processor; None where the system does not tell."""
    machine = {name: 1024 * size for name, size in _numbers(Path("/proc/meminfo"), r"^(\w+):\s+(\d+) kB").items()}
    if "MemTotal" not in machine:
        return None
    total, free = machine["MemTotal"], machine.get("MemAvailable", 0)
    limit = read(_GROUP / "memory.max").strip()
    if not limit.isdecimal() or int(limit) >= total:
        return Memory(total, free)
    used = read(_GROUP / "memory.current").strip()
    # Files that were read and are not in use count as used, and are given up first.
    files = _numbers(_GROUP / "memory.stat", r"^(\w+) (\d+)").get("inactive_file", 0)
    left = int(limit) - max(int(used) - files, 0) if used.isdecimal() else int(limit)
    return Memory(int(limit), max(min(free, left), 0))


def read(path: Path) -> str:
    """A file of the system as text; "" where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _numbers(path: Path, line: str) -> dict[str, int]:
    return {name: int(number) for name, number in re.findall(line, read(path), re.MULTILINE)}
