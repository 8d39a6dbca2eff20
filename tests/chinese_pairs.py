"""Pairs as CLIP-Chinese has them: drawings of coloured squares under file names, and lists text,url,filename."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

COLOURS = {
    "红": (200, 30, 30), "绿": (30, 160, 40), "蓝": (40, 60, 210), "黄": (230, 220, 40),
    "黑": (10, 10, 10), "白": (245, 245, 245), "粉": (250, 150, 190), "棕": (120, 70, 30),
}  # fmt: skip
SHAPES = {"方块": 0, "圆点": 1, "横条": 2}


def write_pairs(folder: Path, *, base_url: str = "https://pictures.example") -> Path:
    """Write `images/`, `train.csv` (18 pairs) and `test.csv` (6 pairs); no text is on both sides."""
    (folder / "images").mkdir(parents=True)
    kinds = [(colour, shape) for colour in COLOURS for shape in SHAPES]
    rows = []
    for number, (colour, shape) in enumerate(kinds):
        name = f"图-{number}.png"
        (folder / "images" / name).write_bytes(_drawn(COLOURS[colour], SHAPES[shape], number))
        rows.append((f"{colour}色{shape}", f"{base_url}/{name}", name))
    write_list(folder / "train.csv", [row for place, row in enumerate(rows) if place % 4 != 3])
    write_list(folder / "test.csv", rows[3::4])
    return folder


def write_list(path: Path, rows: Iterable[tuple[str, str, str]]) -> Path:
    """Write a list with its header."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("text", "url", "filename"), *rows])
    return path


def _drawn(rgb: tuple[int, int, int], shape: int, seed: int) -> bytes:
    pixels = np.clip(np.random.default_rng(seed).normal(128, 5, (40, 40, 3)), 0, 255).astype(np.uint8)
    colour = tuple(map(int, rgb[::-1]))
    if shape == 1:
        cv2.circle(pixels, (20, 20), 15, colour, -1)
    else:
        cv2.rectangle(pixels, (4, 4 if shape == 0 else 15), (36, 36 if shape == 0 else 25), colour, -1)
    return cv2.imencode(".png", pixels)[1].tobytes()
