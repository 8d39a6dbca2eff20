"""Does a student learn more from a teacher's columns than from captions alone, at equal steps?

    python benchmarks/distillation.py [--work DIR] [--sizes 60 300 0] [--seeds 3] [--steps 200]

Pictures and captions (three to five a picture) are the sample's; the teacher is the starter. The student has the
starter's trunks and random projections, which alone are trained: so what it can learn is what the teacher can say, and
the figures tell how many rows and steps that takes, not what a smaller model would reach. Of the training rows the
wanted number is drawn (0: all). Printed for each size and arm: recall@1 and @5 of the test pictures, both directions,
in the mean over the seeds, with their standard deviation.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import sys
import tempfile
from pathlib import Path

import torch

import clipdata as cd
import ingest
from clipdata.encoder import Encoder, export, split
from clipdata.lance_io.table import Table
from clipdata.training.optimisers import part_of
from pipelines import sample

MEASURES = [f"{side}_recall@{k}" for k in (1, 5) for side in ("image_to_text", "text_to_image")]


def make_table(folder: Path, teacher: Encoder) -> Table:
    """Pictures with their captions, the trunk's features and the teacher's columns."""
    pictures = ingest.from_images(str(sample.images_path()), into=folder / "images.lance").table
    names = ingest.from_parquet(str(sample.names_path()), into=folder / "names-meta.lance").table
    table = ingest.merge(pictures, names, on="filename", into=folder / "names.lance")
    cd.map_column(table, cd.steps.ImageTrunk(teacher), "trunk")
    cd.map_column(table, cd.steps.ImageEmbedding(teacher), "teacher_image")
    cd.map_column(table, cd.steps.TextEmbedding(teacher, "captions", lists=True), "teacher_text")
    return table


def student_of(teacher: Encoder, seed: int, folder: Path) -> Encoder:
    """The same trunks with random projections."""
    model, random = copy.deepcopy(teacher.model), torch.Generator().manual_seed(seed)
    towers = split(model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if part_of(name, towers) not in ("image", "text") and parameter.ndim == 2:
                parameter.copy_(torch.randn(parameter.shape, generator=random) * parameter.shape[0] ** -0.5)
    return cd.load_encoder(str(export(model, teacher, folder / f"student-{seed}")), device="cpu")


def main() -> None:
    """Print the table."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--work", type=Path, help="folder for the table, to use it again")
    words.add_argument("--sizes", type=int, nargs="+", default=[60, 300, 0])
    words.add_argument("--seeds", type=int, default=3)
    words.add_argument("--steps", type=int, default=200)
    given = words.parse_args()
    torch.set_num_threads(1)
    teacher = cd.load_encoder("starter", device="cpu")
    taught = {"captions": "all", "teacher_scale": teacher.logit_scale}
    arms = {
        "captions alone": cd.objectives.MultiPositive("captions", captions="all"),
        "captions and teacher": cd.objectives.Distillation("captions", **taught),
        "teacher alone": cd.objectives.Distillation("captions", weight=0.0, **taught),
    }
    measured = cd.objectives.MultiPositive("captions", captions="all")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        table = make_table(given.work or folder, teacher)
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {' '.join(sys.argv)}", flush=True)
        seen = [student_of(teacher, seed, folder) for seed in range(given.seeds)]
        _print("the teacher", "", [_recalls(table, teacher, measured)])
        _print("students before", "", [_recalls(table, student, measured) for student in seen])
        for size in given.sizes:
            for name, objective in arms.items():
                found = []
                for seed, student in enumerate(seen):
                    config = cd.TrainConfig(
                        objective=objective,
                        steps=given.steps,
                        lr=1e-3,
                        image_trunk="trunk",
                        evaluate_where=None,
                        canary=False,
                        seed=seed,
                    )
                    out = folder / f"{name}-{size}-{seed}"
                    run = cd.train(table, student, config, out=out, where="split = 'train'", sample=size or None)
                    found.append(_recalls(table, run.encoder(device="cpu"), measured))
                _print(name, str(size or "all"), found)


def _recalls(table: Table, encoder: Encoder, objective: cd.objectives.Objective) -> list[float]:
    found = cd.evaluate(table, encoder, objective, where="split = 'test'", image_trunk="trunk").evaluation.metrics
    return [100 * found[name] for name in MEASURES]


def _print(name: str, rows: str, found: list[list[float]]) -> None:
    columns = zip(*found, strict=True)
    told = [f"{statistics.mean(c):5.1f} ± {statistics.stdev(c) if len(c) > 1 else 0:3.1f}" for c in columns]
    print(f"{name:22} {rows:>5} rows: {'  '.join(told)}", flush=True)


if __name__ == "__main__":
    main()
