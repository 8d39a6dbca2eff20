"""What does a model on a CPU gain from keeping the memory it frees? Pictures a second and page faults, both ways.

    python benchmarks/kept_memory.py [--repeats 3] [--pictures 96]

Both sides are processes of their own and take turns. The other side is what glibc does by itself: a choice made by the
environment stands, and `MALLOC_ARENA_TEST=8` chooses what is its default.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys

SIDES = {"kept": {}, "given back": {"MALLOC_ARENA_TEST": "8"}}
CHILD = """
import json, resource, sys, time
import torch
import clipdata as cd
clip = cd.load_encoder("starter", device="cpu")
pixels = torch.randint(0, 255, (int(sys.argv[1]), 3, *clip.prepare.size), dtype=torch.uint8)
clip.image_trunk(pixels[:16])
faults, started = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.monotonic()
clip.image_trunk(pixels)
seconds = time.monotonic() - started
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
print(json.dumps([len(pixels) / seconds, faults / len(pixels)]))
"""


def main() -> None:
    """Print both sides and their ratio."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--repeats", type=int, default=3)
    words.add_argument("--pictures", type=int, default=96)
    given = words.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start", flush=True)
    rates: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(given.repeats):
        for side, chosen in SIDES.items():
            command = [sys.executable, "-c", CHILD, str(given.pictures)]
            done = subprocess.run(command, env=os.environ | chosen, check=True, stdout=subprocess.PIPE)
            rate, faults = json.loads(done.stdout)
            rates[side].append(rate)
            print(f"{side:10} {rate:6.1f} pictures/s, {faults:6,.0f} page faults a picture", flush=True)
    ratios = [with_ / without for with_, without in zip(*rates.values(), strict=True)]
    print(f"kept / given back: {statistics.median(ratios):.2f} [{min(ratios):.2f}-{max(ratios):.2f}]")


if __name__ == "__main__":
    main()
