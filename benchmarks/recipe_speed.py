"""Steps a second of each recipe and the share of the time its model waits for data, in turns on the same rows.

    python -m benchmarks.recipe_speed [--work DIR] [--steps 20] [--batch 64] [--repeats 3] [--threads 2] [--device cpu]
                                      [--recipes projections-column projections-pictures lora flyp]

The starter model on questions of the built-in sample; figures are those of the run's own summary, behind its first
batch. Each trains with batches of the same size, whatever its own is. The image tower of the starter has no attention:
`lora` adapts its text tower alone there, and still goes through both in every step.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path

import torch

import clipdata as cd
from benchmarks.cross_validation import TRUNK
from benchmarks.default_recipe import make_table
from clipdata.training.recipe_names import recipe_named

SIDES = {
    "projections-column": ("projections", TRUNK),
    "projections-pictures": ("projections", None),
    "lora": ("lora", None),
    "flyp": ("flyp", None),
}


def main() -> None:
    """Print a line a recipe."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--work", type=Path, help="folder for the table, to use it again")
    words.add_argument("--steps", type=int, default=20)
    words.add_argument("--batch", type=int, default=64)
    words.add_argument("--repeats", type=int, default=3)
    words.add_argument("--threads", type=int, default=2)
    words.add_argument("--device", default="cpu")
    words.add_argument("--recipes", nargs="+", default=list(SIDES), choices=list(SIDES))
    given = words.parse_args()
    torch.set_num_threads(given.threads)
    encoder = cd.load_encoder("starter", device=given.device)
    with tempfile.TemporaryDirectory() as scratch:
        table = make_table(given.work or Path(scratch), encoder)
        found: dict[str, list[dict[str, float]]] = {name: [] for name in given.recipes}
        for number in range(given.repeats):
            for name in given.recipes:
                recipe, trunk = SIDES[name]
                config = recipe_named(recipe)(
                    objective="choice",
                    image_trunk=trunk,
                    batch_size=given.batch,
                    steps=given.steps,
                    evaluate_where=None,
                )
                run = cd.train(table, encoder, config, out=Path(scratch) / f"{name}-{number}", where="split = 'train'")
                found[name].append(json.loads((run.path / "summary.json").read_text())["pace"])
    print(f"{os.cpu_count()} cores, {given.threads} threads, {given.device}, batches of {given.batch}")
    for name, paces in found.items():
        rates = [pace["rows_s"] / given.batch for pace in paces]
        waits = [pace["wait"] for pace in paces]
        print(
            f"{name:22} {statistics.median(rates):8.3g} steps/s [{min(rates):.3g}-{max(rates):.3g}], "
            f"waiting {statistics.median(waits):.1%} [{min(waits):.1%}-{max(waits):.1%}]"
        )


if __name__ == "__main__":
    main()
