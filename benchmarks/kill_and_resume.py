"""Kills the caption contest with SIGKILL at every moment of `tests/faults/killing.py`, and prints what was repeated.

python benchmarks/kill_and_resume.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.faults.killing import MOMENTS, command, finish, kill_and_finish, write_contest
from tests.tiny_models import tiny_encoder

NUM_PICTURES = 60


def main() -> int:
    """Print one line a moment; return 1 when a table differs."""
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_contest(folder, NUM_PICTURES)
        tiny_encoder(folder / "model")
        model = f"local-dir:{next((folder / 'model').iterdir())}"
        finish(command(folder, model, folder / "undisturbed"))
        print(f"{'killed at':34} {'steps repeated':>14}  committed before the kill, not computed again")
        for number, moment in enumerate(MOMENTS):
            work = folder / f"work-{number}"
            killed = kill_and_finish(command(folder, model, work), work, moment, folder / "undisturbed")
            kept = ", ".join(f"{name}: {rows}" for name, rows in killed.kept.items() if rows) or "nothing"
            print(f"{moment:34} {killed.repeated_steps:14}  {kept}", flush=True)
            if killed.differences:
                failed += 1
                print(f"  NOT EQUAL to an undisturbed run: {killed.differences}")
    print(f"{len(MOMENTS)} kills, {failed} tables that differ from an undisturbed run's")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
