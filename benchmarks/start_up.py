"""Times starting: `import clipdata` and `clipdata --help`, each against a python that does nothing.

    python benchmarks/start_up.py [--repeats 9]

Promised: less than 0.2 s and 0.4 s of wall time, python's own start included.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

NAMES = {"python": "python -c pass", "import": 'python -c "import clipdata"', "help": "clipdata --help"}
PROMISED_S = {"import": 0.2, "help": 0.4}


def commands() -> dict[str, list[str]]:
    """The three programs, by the interpreter and environment that runs this one.

    Raises:
        FileNotFoundError: the environment has no `clipdata` command.
    """
    beside = str(Path(sys.executable).parent)
    program = shutil.which("clipdata", path=os.pathsep.join([beside, os.environ.get("PATH", "")]))
    if program is None:
        raise FileNotFoundError(f"there is no `clipdata` in {beside} or on the path; install the project first")
    python = sys.executable
    return {"python": [python, "-c", "pass"], "import": [python, "-c", "import clipdata"], "help": [program, "--help"]}


def timed(command: list[str]) -> float:
    """Wall seconds of one run."""
    started_s = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started_s


def main() -> int:
    """Run all in turns and print them; return 1 when a promise was not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    given = parser.parse_args()
    programs = commands()
    for command in programs.values():  # bytecode and the disk's cache
        timed(command)
    found: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(given.repeats):
        for name, command in programs.items():
            found[name].append(timed(command))
    print(f"python {sys.version.split()[0]}, {given.repeats} turns, load {os.getloadavg()[0]:.1f}")
    held = True
    for name, seconds in found.items():
        middle_s = statistics.median(seconds)
        promise = f"   promised under {PROMISED_S[name]:.1f} s" if name in PROMISED_S else ""
        held &= middle_s < PROMISED_S.get(name, float("inf"))
        print(f"{NAMES[name]:30} {middle_s:.3f} s [{min(seconds):.3f}-{max(seconds):.3f}]{promise}")
    return int(not held)


if __name__ == "__main__":
    sys.exit(main())
