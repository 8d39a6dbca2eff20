"""Small drawings with captions, to train pairs on: coloured squares, circles and bars, each named in its captions."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import lance
import numpy as np
import pyarrow as pa

from tests.contests import COLOURS

SHAPES = ("square", "circle", "bar")


def drawings(count: int, *, seed: int = 0, size: int = 40) -> list[dict[str, Any]]:
    """Pictures with three captions each, of which one is nobody else's."""
    random = np.random.default_rng(seed)
    names, found = list(COLOURS), []
    for number in range(count):
        colour, shape = names[number % len(names)], SHAPES[number // len(names) % len(SHAPES)]
        pixels = np.clip(random.normal(128, 10, (size, size, 3)), 0, 255).astype(np.uint8)
        _draw(pixels, shape, COLOURS[colour])
        captions = [
            f"a {colour} {shape}",
            f"number {number} is a {colour} {shape} on grey",
            f"{colour} {shape} {number}",
        ]
        encoded = cv2.imencode(".png", pixels[:, :, ::-1])[1].tobytes()
        found.append({"image_id": f"{number:04}.png", "image": encoded, "captions": captions})
    return found


def flickr_like(uri: Path, rows: Sequence[dict[str, Any]], **columns: Any) -> str:
    """Write rows as Lance's Flickr8k example does: no key, plain types, captions that end in a newline."""
    table = {
        "image_id": pa.array([row["image_id"] for row in rows]),
        "image": pa.array([row["image"] for row in rows], pa.binary()),
        "captions": pa.array([[f"{text}\n" for text in row["captions"]] for row in rows], pa.list_(pa.string())),
        **{name: pa.array(values) for name, values in columns.items()},
    }
    lance.write_dataset(pa.table(table), str(uri))
    return str(uri)


def pairs_csv(folder: Path, rows: Sequence[dict[str, Any]], name: str = "captions.csv") -> Path:
    """Write pictures into `folder/images`, and a line `caption,path` for each caption."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for row in rows:
        (folder / "images" / row["image_id"]).write_bytes(row["image"])
    with (folder / name).open("w", newline="", encoding="utf-8") as file:
        lines = [(text, f"images/{row['image_id']}") for row in rows for text in row["captions"]]
        csv.writer(file).writerows([("caption", "path"), *lines])
    return folder / name


def _draw(pixels: np.ndarray, shape: str, colour: tuple[int, int, int]) -> None:
    size = len(pixels)
    if shape == "circle":
        cv2.circle(pixels, (size // 2, size // 2), size // 3, colour, -1)
        return
    top = size // 5 if shape == "square" else 2 * size // 5
    pixels[top : size - top, size // 5 : size - size // 5] = colour
