"""Small drawings of colours in class folders, with the lists that split them: as files, for pipelines over classes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from tests.contests import COLOURS

CLASSES = {"dark_red": "red", "green": "green", "blue": "blue"}
RESNET = {"vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 64, "patch_size": None}}
"""Changes to the tiny model's config, for one with an image tower as RN50 has it."""


def draw(path: Path, colour: str, seed: int) -> None:
    """Write one picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).normal(COLOURS[colour], 12, (36, 36, 3))
    encoded = cv2.imencode(".jpg", np.clip(pixels, 0, 255).astype(np.uint8)[:, :, ::-1])[1]
    path.write_bytes(encoded.tobytes())


def draw_folders(root: Path, num: int, prefix: str = "", *, seed: int = 0) -> list[str]:
    """Write so many pictures of every class; returns the entries of a list."""
    entries = []
    for place, (name, colour) in enumerate(CLASSES.items()):
        for number in range(num):
            entries.append(f"{name}/{number}.{place}")  # a stem with a dot in it
            draw(root / f"{prefix}{entries[-1]}.jpg", colour, seed + 100 * place + number)
    return entries


def write_lists(folder: Path, num: int) -> None:
    """Write `images` with so many pictures of every class, and `meta` with both lists: the last two are held out."""
    entries = draw_folders(folder / "images", num)
    test = [one for one in entries if int(one.split("/")[1].split(".")[0]) >= num - 2]
    (folder / "meta").mkdir()
    (folder / "meta" / "train.txt").write_text("\n\n".join(one for one in entries if one not in test) + "\n")
    (folder / "meta" / "test.txt").write_text("\n".join(test))
