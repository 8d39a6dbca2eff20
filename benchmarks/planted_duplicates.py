"""Planted duplicates found again: precision and recall by kind of version, for pixels, perceptual hash and embedding.

    python benchmarks/planted_duplicates.py [--originals 400] [--model starter] [--no-embedding]

The planted table of the sample holds nine versions of each picture (`pipelines/sample/planted.py`). On one half of the
pictures the threshold is chosen: the widest whose clusters hold a wrong pair in a hundred at most. The figures are
those of the other half, at that threshold and at the step's default. Recall: versions in the cluster of their original.
Precision: pairs of rows in one cluster that are versions of one picture. The drawings are of 64 pixels and many are of
one kind (faces, hands, animals), which makes them harder to tell apart than photographs are.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

import clipdata as cd
from clipdata.steps.duplicates import LEAST_COSINE, RADIUS
from pipelines.sample.planted import VERSIONS, planted_table

KINDS = ("copy", *VERSIONS)
WANTED_PRECISION = 0.99
RADII = range(17)
COSINES = (0.8, 0.85, 0.88, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99)


def figures(rows: dict[str, list], column: str, half: str) -> tuple[dict[str, float], float]:
    """Recall by kind, and precision, of the clusters in a column."""
    chosen = [n for n, own in enumerate(rows["half"]) if own == half]
    cluster = {(rows["original"][n], rows["planted"][n]): rows[column][n] for n in chosen}
    recall = {}
    for kind in KINDS:
        pairs = [(cluster[one, kind], cluster[one, "original"]) for one in {rows["original"][n] for n in chosen}]
        recall[kind] = float(np.mean([found is not None and found == own for found, own in pairs]))
    members: dict[str, list[str]] = {}
    for (one, _), found in cluster.items():
        if found is not None:
            members.setdefault(found, []).append(one)
    together = right = 0
    for names in members.values():
        counts = np.unique(names, return_counts=True)[1]
        together += len(names) * (len(names) - 1) // 2
        right += int((counts * (counts - 1) // 2).sum())
    return recall, right / max(together, 1)


def told(name: str, recall: dict[str, float], precision: float) -> None:
    """Print a line."""
    by_kind = "  ".join(f"{kind} {share:.3f}" for kind, share in recall.items())
    print(
        f"{name:<34} precision {precision:.4f}  mean recall {np.mean(list(recall.values())):.3f}  {by_kind}", flush=True
    )


def chosen_by_half(table: cd.Table, make, values, default, name: str) -> None:
    """Try thresholds on half a, and print what they give on half b."""
    for value in values:
        cd.map_column(table, make(value), f"{name}_{values.index(value)}")
    for half in ("a", "b"):
        columns = [f"{name}_{place}" for place in range(len(values))]
        rows = table.latest().to_table(["original", "planted", "half", *columns]).to_pydict()
        found = {value: figures(rows, column, half) for value, column in zip(values, columns, strict=True)}
        if half == "a":
            good = [value for value in values if found[value][1] >= WANTED_PRECISION]
            best = max(good, key=lambda value: np.mean(list(found[value][0].values()))) if good else default
            for value in values:
                told(f"{name} {value} (half a)", *found[value])
        else:
            for value in dict.fromkeys([best, default]):
                told(f"{name} {value} (half b{', default' if value == default else ''})", *found[value])


def main() -> None:
    """Plant, map and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--originals", type=int, default=400)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--no-embedding", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        table = planted_table(Path(temporary) / "planted.lance", options.originals)
        steps = cd.steps
        for step, column in ((steps.PictureDigest(), "sha256"), (steps.PixelDigest(), "pixels")):
            cd.map_column(table, step, column)
            rows = table.to_table(["original", "planted", "half", column]).to_pydict()
            told(f"{column} (half b)", *figures(rows, column, "b"))
        began = time.monotonic()
        done = cd.map_column(table, steps.PerceptualHash(), "perceptual_hash")
        print(f"perceptual hash: {done.computed / (time.monotonic() - began):,.0f} pictures of 64 pixels a second")
        chosen_by_half(table, lambda radius: steps.NearDuplicates(table, radius=radius), RADII, RADIUS, "radius")
        if not options.no_embedding:
            cd.map_column(table, steps.ImageEmbedding(cd.load_encoder(options.model)), "image_embedding")
            chosen_by_half(
                table,
                lambda cosine: steps.EmbeddingDuplicates(table, least_cosine=cosine),
                COSINES,
                LEAST_COSINE,
                "cosine",
            )


if __name__ == "__main__":
    main()
