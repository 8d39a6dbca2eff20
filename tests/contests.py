"""A small contest to train on: drawings of coloured squares, each with captions of which one is right."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa

from clipdata.lance_io import rows
from clipdata.lance_io.table import Table, open_table
from clipdata.schema import key_field

COLOURS = {
    "red": (200, 30, 30), "green": (30, 160, 40), "blue": (40, 60, 210), "yellow": (230, 220, 40),
    "black": (10, 10, 10), "white": (245, 245, 245), "pink": (250, 150, 190), "brown": (120, 70, 30),
}  # fmt: skip
SCHEMA = pa.schema(
    [
        key_field("path"),
        pa.field("image", pa.large_binary()),
        pa.field("sha256", pa.string()),
        pa.field("caption_choices", pa.list_(pa.string())),
        pa.field("label_ind", pa.int32()),
        pa.field("split", pa.string()),
    ]
)


def contest_rows(num_rows: int, *, seed: int = 0, size: int = 40) -> pa.Table:
    """Make rows with two to five choices each; every fifth row is of the split "test"."""
    random = np.random.default_rng(seed)
    names = list(COLOURS)
    found: dict[str, list] = {name: [] for name in SCHEMA.names}
    for number in range(num_rows):
        picked = random.permutation(len(names))[: 2 + number % 4]
        right = int(random.integers(len(picked)))
        pixels = np.clip(random.normal(COLOURS[names[picked[right]]], 12, (size, size, 3)), 0, 255).astype(np.uint8)
        encoded = cv2.imencode(".png", pixels[:, :, ::-1])[1].tobytes()
        found["path"].append(f"{number:05}.png")
        found["image"].append(encoded)
        found["sha256"].append(hashlib.sha256(encoded).hexdigest())
        found["caption_choices"].append([f"a {names[place]} square" for place in picked])
        found["label_ind"].append(right)
        found["split"].append("test" if number % 5 == 4 else "train")
    return pa.table(found, schema=SCHEMA)


def contest_table(folder: Path, num_rows: int = 40, *, seed: int = 0, name: str = "contest.lance") -> Table:
    """Write a contest as a table."""
    table = rows.create_table(folder / name, SCHEMA)
    rows.upsert(table, contest_rows(num_rows, seed=seed))
    return open_table(folder / name)
