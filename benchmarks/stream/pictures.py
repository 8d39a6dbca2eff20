"""Photo-like JPEGs: rotated, scaled and mirrored crops of real photographs with grain, the same ones on every machine.

Drawn pictures compress too well and noise too badly: what a decoder costs depends on the entropy of real photographs.
The photographs are the samples that scikit-image and scikit-learn carry. 4:2:0, quality 85 to 90, mean about 60 KB at
500×375, as photographs of the web are. It knows no store and no loader.

Shapes: H, W = height and width of a picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np

from clipdata.cores import num_cores

NUM_CLASSES = 10
GRAIN_LEVELS = 4.4
"""Standard deviation of the grain; with it, the mean picture of 500×375 takes 60 KB."""
_GRAIN_SIDE = 2048
# Photographs in colour among the sample pictures; drawings, micrographs and grey pictures are left out.
_SAMPLES = {
    "sklearn": ("datasets/images/china.jpg", "datasets/images/flower.jpg"),
    "skimage": tuple(
        f"data/{name}"
        for name in (
            "astronaut.png",
            "chelsea.png",
            "coffee.png",
            "hubble_deep_field.jpg",
            "motorcycle_left.png",
            "motorcycle_right.png",
            "rocket.jpg",
        )
    ),
}


def photographs(packages: Sequence[str] = ("sklearn", "skimage")) -> list[np.ndarray]:
    """Sample photographs of installed packages, uint8 RGB [H, W, 3] each."""
    found = []
    for package in packages:
        folder = Path(str(import_module(package).__file__)).parent
        for name in _SAMPLES[package]:
            pixels = cv2.imread(str(folder / name), cv2.IMREAD_COLOR_RGB)
            assert pixels is not None, f"{folder / name} cannot be read"
            found.append(pixels)
    return found


def picture(number: int, size: tuple[int, int], sources: Sequence[np.ndarray]) -> bytes:
    """One JPEG, which its number alone decides.

    Args:
        number: of the picture; every fourth is upright.
        size: (width, height) in pixels of one that is not.
        sources: photographs, uint8 RGB [H, W, 3].
    """
    rng = np.random.default_rng([number, *size])
    width, height = size if number % 4 else size[::-1]
    source = sources[int(rng.integers(len(sources)))]
    pixels_HWC = _crop(source, width, height, rng)
    grain_HW = _grain()
    top, left = (int(rng.integers(_GRAIN_SIDE - side + 1)) for side in (height, width))
    pixels_HWC = cv2.add(pixels_HWC, grain_HW[top : top + height, left : left + width], dtype=cv2.CV_8U)
    quality = int(rng.integers(85, 91))
    settings = [
        cv2.IMWRITE_JPEG_QUALITY,
        quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    ]
    done, data = cv2.imencode(".jpg", cv2.cvtColor(pixels_HWC, cv2.COLOR_RGB2BGR), settings)
    assert done
    return data.tobytes()


def write_pictures(folder: Path, num: int, size: tuple[int, int], sources: Sequence[np.ndarray] | None = None) -> None:
    """Write pictures as `<class>/<number>.jpg`, unless they are there."""
    paths = [folder / f"{number % NUM_CLASSES:02d}" / f"{number:06d}.jpg" for number in range(num)]
    missing = [number for number, path in enumerate(paths) if not path.exists()]
    if not missing:
        return
    sources = photographs() if sources is None else sources
    for number in range(NUM_CLASSES):
        (folder / f"{number:02d}").mkdir(parents=True, exist_ok=True)

    def write(number: int) -> None:
        aside = paths[number].with_suffix(".part")
        aside.write_bytes(picture(number, size, sources))
        aside.rename(paths[number])

    with ThreadPoolExecutor(num_cores()) as pool:
        list(pool.map(write, missing))


def written(folder: Path) -> Iterator[tuple[Path, int]]:
    """Each picture and its class, in the order of their numbers."""
    for path in sorted(folder.rglob("*.jpg"), key=lambda path: path.name):
        yield path, int(path.parent.name)


def _crop(source: np.ndarray, width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """An affine crop uint8 [height, width, 3]; edges are mirrored, so that no corner is empty."""
    angle, part = rng.uniform(-12, 12), rng.uniform(0.55, 1.0)
    have = min(source.shape[0] / height, source.shape[1] / width)
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, have * part)
    spare = np.array(source.shape[1::-1]) * (1 - part) / 2
    matrix[:, 2] += np.array(source.shape[1::-1]) / 2 - np.array([width, height]) / 2 + rng.uniform(-spare, spare)
    if rng.random() < 0.5:
        source = source[:, ::-1]
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(source, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT_101)


def _grain() -> np.ndarray:
    """Film grain as levels, int16 [side, side, 3]; made once."""
    global _GRAIN
    if _GRAIN is None:
        levels = np.random.default_rng(0).normal(0, GRAIN_LEVELS, (_GRAIN_SIDE, _GRAIN_SIDE, 1))
        _GRAIN = np.repeat(np.rint(levels), 3, axis=2).astype(np.int16)
    return _GRAIN


_GRAIN: np.ndarray | None = None
