"""What does a head on an embedding column reach, beside zero-shot, a logistic probe, and LP++ as it was published?

    python benchmarks/class_head.py [--work DIR] [--sizes 60 300 1000 0] [--seeds 5] [--labels class_name category]

Pictures, classes and split are the sample's: no emoji of a test picture is trained on. Of the training pictures the
wanted number is drawn (0: all); on few of them some classes have no picture at all. Printed for each label and size:
accuracy on the test pictures in the mean over the seeds with its standard deviation, and of the head the mean gain over
zero-shot, the smallest, in how many seeds it ended below zero-shot by more than the 95 % interval of the paired
difference (clustered by emoji), and the seconds of a fit. LP++ is the code of its authors read again (momentum 0.9 at
its Lipschitz rates, 300 steps), without the choice of a step by validation that it makes. The probe is scikit-learn's
LogisticRegression with its defaults.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import clipdata as cd
import ingest
from benchmarks.cross_validation import clustered_error
from clipdata.training import head_objective
from clipdata.training.losses import class_embeddings
from pipelines import sample

TEMPLATE = "a drawing of {}"
Fit = Callable[[np.ndarray, np.ndarray, np.ndarray, float], Callable[[np.ndarray], np.ndarray]]


def head(embedding_ND: np.ndarray, label_N: np.ndarray, text_CD: np.ndarray, scale: float) -> Callable:
    """As `fit_head` fits it."""
    weight_CD = head_objective.fit(embedding_ND, label_N, text_CD, scale).weight_CD
    return lambda other_ND: (other_ND @ weight_CD.T).argmax(axis=1)


def probe(embedding_ND: np.ndarray, label_N: np.ndarray, *_: object) -> Callable:
    """A logistic regression that knows nothing of the classes' names."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=1000).fit(embedding_ND, label_N).predict


def published(embedding_ND: np.ndarray, label_N: np.ndarray, text_CD: np.ndarray, scale: float) -> Callable:  # noqa: ARG001 - it has its own
    """LP++: centroids and one blending factor to begin with, steps by Lipschitz constants."""
    num_rows, num_classes = len(label_N), len(text_CD)
    cosine_NC, one_hot_NC = embedding_ND @ text_CD.T, np.eye(num_classes)[label_N]
    count_C1 = np.maximum(one_hot_NC.sum(axis=0), 1)[:, None]
    weight_CD, bias_C = one_hot_NC.T @ embedding_ND / count_C1, np.zeros(num_classes)
    blend_C = np.full(num_classes, 250 * ((one_hot_NC * cosine_NC).sum(axis=0) / count_C1[:, 0]).mean())
    rate = 4 * num_rows / np.linalg.eigvalsh(embedding_ND.T @ embedding_ND)[-1]
    blend_rate = num_rows / ((cosine_NC**2).sum(axis=0).max() * 4)
    moved_CD, moved_C = np.zeros_like(weight_CD), np.zeros(num_classes)
    for step in range(300):
        logits_NC = embedding_ND @ weight_CD.T + bias_C + cosine_NC * blend_C
        share_NC = np.exp(logits_NC - logits_NC.max(axis=1, keepdims=True))
        slope_NC = (share_NC / share_NC.sum(axis=1, keepdims=True) - one_hot_NC) / num_rows
        moved_CD, moved_C = 0.9 * moved_CD + slope_NC.T @ embedding_ND, 0.9 * moved_C + slope_NC.sum(axis=0)
        weight_CD, bias_C = weight_CD - rate * moved_CD, bias_C - rate * moved_C
        if step % 10 == 9:
            blend_C = blend_C - blend_rate * (slope_NC * cosine_NC).sum(axis=0)
    whole_CD = weight_CD + blend_C[:, None] * text_CD
    return lambda other_ND: (other_ND @ whole_CD.T + bias_C).argmax(axis=1)


FITS: dict[str, Fit] = {"head": head, "logistic probe": probe, "LP++ as published": published}


def main() -> None:
    """Print the table."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--work", type=Path, help="folder for the table, to use it again")
    words.add_argument("--sizes", type=int, nargs="+", default=[60, 300, 1000, 0])
    words.add_argument("--seeds", type=int, default=5)
    words.add_argument("--labels", nargs="+", default=["class_name", "category"])
    given = words.parse_args()
    torch.set_num_threads(1)
    encoder = cd.load_encoder("starter", device="cpu")
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.work or Path(scratch)
        pictures = ingest.from_images(str(sample.images_path()), into=folder / "images.lance").table
        names = ingest.from_parquet(str(sample.names_path()), into=folder / "names-meta.lance").table
        table = ingest.merge(pictures, names, on="filename", into=folder / "names.lance")
        cd.map_column(table, cd.steps.ImageEmbedding(encoder), "embedding")
        read = table.to_table(["embedding", "caption", "split", *given.labels]).combine_chunks()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {' '.join(sys.argv)}", flush=True)
    column = read["embedding"].chunk(0)
    embedding_ND = column.flatten().to_numpy().reshape(len(column), -1).astype(np.float64)
    split, emoji = np.array(read["split"].to_pylist()), read["caption"].to_pylist()
    train_N, test_N = (np.flatnonzero(split == name) for name in ("train", "test"))
    for label in given.labels:
        classes, label_N = np.unique(read[label].to_pylist(), return_inverse=True)
        text_PD = encoder.encode_texts([TEMPLATE.format(str(name).replace("_", " ")) for name in classes]).cpu()
        text_CD = class_embeddings(text_PD, torch.arange(len(classes)), len(classes)).double().numpy()
        clusters = [emoji[place] for place in test_N]
        before = (embedding_ND[test_N] @ text_CD.T).argmax(axis=1) == label_N[test_N]
        print(f"{label}: {len(classes)} classes, zero-shot {100 * before.mean():.1f} %", flush=True)
        for size in given.sizes:
            for name, fit in FITS.items():
                found, gains, below, started_s = [], [], 0, time.monotonic()
                for seed in range(given.seeds):
                    rows_N = np.random.default_rng(seed).permutation(train_N)[: size or None]
                    says = fit(embedding_ND[rows_N], label_N[rows_N], text_CD, encoder.logit_scale)
                    after = says(embedding_ND[test_N]) == label_N[test_N]
                    difference_N = after.astype(float) - before
                    found.append(100 * after.mean())
                    gains.append(100 * difference_N.mean())
                    below += bool(difference_N.mean() + 1.96 * clustered_error(difference_N, clusters) < 0)
                spread = statistics.stdev(found) if len(found) > 1 else 0.0
                gained = f"gain {statistics.mean(gains):+5.1f}, least {min(gains):+5.1f}, below zero-shot {below}"
                reached = f"{statistics.mean(found):5.1f} ± {spread:3.1f} %"
                fit_s = (time.monotonic() - started_s) / given.seeds
                print(f"  {name:18} {size or 'all':>5} rows: {reached}, {gained}; {fit_s:.2f} s a fit", flush=True)


if __name__ == "__main__":
    main()
