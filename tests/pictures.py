"""Pictures for tests, drawn rather than kept: shapes and gradients, which decode like real ones."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def drawing(seed: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A gradient with shapes, uint8 RGB [height, width, 3], another one for each seed."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    low, high = rng.integers(0, 120, 3), rng.integers(130, 255, 3)
    share = (rows / height + columns / width)[..., None] / 2
    picture = (low + (high - low) * share).astype(np.uint8)
    for _ in range(4):
        centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        colour = tuple(int(c) for c in rng.integers(0, 255, 3))
        cv2.circle(picture, centre, int(rng.integers(3, 14)), colour, -1, cv2.LINE_AA)
    return picture


def encoded(seed: int, suffix: str = ".jpg", height: int = 48, width: int = 64) -> bytes:
    """The bytes of a picture in the format of a suffix."""
    done, data = cv2.imencode(suffix, cv2.cvtColor(drawing(seed, height, width), cv2.COLOR_RGB2BGR))
    assert done
    return data.tobytes()


def write_pictures(folder: Path, num: int, *, first: int = 0, suffix: str = ".jpg") -> list[Path]:
    """Write pictures 0001.jpg, 0002.jpg, … into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:04d}{suffix}" for number in range(first, first + num)]
    for number, path in enumerate(paths, first):
        path.write_bytes(encoded(number, suffix))
    return paths
