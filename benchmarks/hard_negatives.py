"""Do the wrong captions of a contest help a contrastive training to choose the right one?

    python benchmarks/hard_negatives.py [--work DIR] [--sizes 60 300 1000 0] [--seeds 3] [--steps 200]

The sample's questions: a picture with five captions. Trained are the starter's projections, on the right captions alone
(contrastive, multi_positive), on the same with `negatives=caption_choices`, and by `choice`, which is what the table is
made for. Test questions share no picture and no caption with those trained on. Printed for each size and arm: how many
of the test questions are answered right, in the mean over the seeds, with the standard deviation and the smallest.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

import torch

import clipdata as cd
from benchmarks.default_recipe import CHOICES, TRUNK, make_table

RIGHT = {"text": "caption", "captions": "first"}
ARMS: dict[str, cd.objectives.Objective] = {
    "contrastive": cd.objectives.Contrastive(**RIGHT),
    "contrastive, negatives": cd.objectives.Contrastive(**RIGHT, negatives=CHOICES),
    "multi_positive": cd.objectives.MultiPositive(**RIGHT),
    "multi_positive, negatives": cd.objectives.MultiPositive(**RIGHT, negatives=CHOICES),
    "choice": cd.objectives.Choice(),
}


def main() -> None:
    """Print the table."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--work", type=Path, help="folder for the table, to use it again")
    words.add_argument("--sizes", type=int, nargs="+", default=[60, 300, 1000, 0])
    words.add_argument("--seeds", type=int, default=3)
    words.add_argument("--steps", type=int, default=200)
    given = words.parse_args()
    torch.set_num_threads(1)
    encoder = cd.load_encoder("starter", device="cpu")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        table = make_table(given.work or folder, encoder)
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {' '.join(sys.argv)}", flush=True)
        print(f"{'before':26}       rows: {_accuracy(table, encoder):5.1f} %", flush=True)
        for size in given.sizes:
            for name, objective in ARMS.items():
                found = []
                for seed in range(given.seeds):
                    config = cd.TrainConfig(
                        objective=objective,
                        steps=given.steps,
                        lr=1e-3,
                        pull=1.0,
                        weight_decay=0.0,
                        image_trunk=TRUNK,
                        evaluate_where=None,
                        canary=False,
                        seed=seed,
                    )
                    out = folder / f"{name}-{size}-{seed}"
                    run = cd.train(table, encoder, config, out=out, where="split = 'train'", sample=size or None)
                    found.append(_accuracy(table, run.encoder(device="cpu")))
                spread = statistics.stdev(found) if len(found) > 1 else 0.0
                told = f"{statistics.mean(found):5.1f} ± {spread:3.1f} %, least {min(found):5.1f}"
                print(f"{name:26} {size or 'all':>5} rows: {told}", flush=True)


def _accuracy(table: cd.Table, encoder: cd.Encoder) -> float:
    found = cd.evaluate(table, encoder, "choice", where="split = 'test'", image_trunk=TRUNK)
    return 100 * float(found.evaluation.metrics["accuracy"])


if __name__ == "__main__":
    main()
