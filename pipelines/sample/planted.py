"""Planted duplicates: pictures of the sample in eight other versions each, with the truth in a column, in a table.

    planted_table(uri)    path, image, original, planted, half, leaking_split, clean_split

`original` names the picture that a row is a version of, and `planted` which one: "original", "copy" (equal bytes),
"png" (equal pixels), "webp" and "jpeg" (quality 80 and 50), "resized" (to three quarters), "cropped" (5 % of width and
height), "flipped", "brightened" (by a fifth). `half` is "a" for half of the originals with their versions, to choose
thresholds by, and "b" for the others, to state figures on. In `leaking_split` originals are for training, and of every
fourth one a version is measured, another one for each; `clean_split` keeps the versions of a picture together.

It knows pictures and tables, and no step.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines import sample

if TYPE_CHECKING:
    from PIL.Image import Image

    from clipdata.lance_io.table import Table

HALVES = ("a", "b")
_BATCH = 64


def _encoded(picture: Image, kind: str, **options: Any) -> bytes:
    held = io.BytesIO()
    picture.save(held, kind, **options)
    return held.getvalue()


def _resized(picture: Image) -> bytes:
    width, height = picture.size
    return _encoded(picture.resize((width * 3 // 4, height * 3 // 4)), "PNG")


def _cropped(picture: Image) -> bytes:
    """Without 5 % of its width and height, a little more on the left and the top."""
    width, height = picture.size
    left, top = round(width * 0.03), round(height * 0.03)
    return _encoded(picture.crop((left, top, left + round(width * 0.95), top + round(height * 0.95))), "PNG")


def _flipped(picture: Image) -> bytes:
    from PIL import ImageOps

    return _encoded(ImageOps.mirror(picture), "PNG")


def _brightened(picture: Image) -> bytes:
    from PIL import ImageEnhance

    return _encoded(ImageEnhance.Brightness(picture).enhance(1.2), "PNG")


VERSIONS: Mapping[str, Callable[[Image], bytes]] = {
    "png": lambda picture: _encoded(picture, "PNG"),
    "webp": lambda picture: _encoded(picture, "WEBP", quality=80),
    "jpeg": lambda picture: _encoded(picture, "JPEG", quality=50),
    "resized": _resized,
    "cropped": _cropped,
    "flipped": _flipped,
    "brightened": _brightened,
}
"""Name → the encoded version of a picture on white; "original" and "copy" are its own bytes."""


def planted_table(uri: str | os.PathLike[str], num_originals: int = 400, *, seed: int = 0) -> Table:
    """Write the table, or take the one that is there.

    Args:
        uri: where.
        num_originals: pictures of the sample, drawn by the seed; each makes nine rows.
        seed: of the drawing.
    """
    import pyarrow as pa

    from clipdata.lance_io import rows
    from clipdata.lance_io.table import exists, open_table
    from clipdata.schema import key_field

    if exists(uri):
        return open_table(uri)
    texts = ("original", "planted", "half", "leaking_split", "clean_split")
    schema = pa.schema(
        [key_field("path"), pa.field("image", pa.large_binary()), *(pa.field(name, pa.string()) for name in texts)]
    )
    table = rows.create_table(uri, schema)
    held: list[dict[str, Any]] = []
    for row in _rows(num_originals, seed):
        held.append(row)
        if len(held) >= _BATCH * (len(VERSIONS) + 2):
            rows.upsert(table, pa.Table.from_pylist(held, schema=schema))
            held = []
    if held:
        rows.upsert(table, pa.Table.from_pylist(held, schema=schema))
    return open_table(uri)


def _rows(num_originals: int, seed: int) -> Iterator[dict[str, Any]]:
    from PIL import Image

    from clipdata.images.pixels import decode

    paths = sorted(sample.images_path().rglob("*.png"))
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(paths))[:num_originals]
    for number, place in enumerate(chosen.tolist()):
        path = paths[place]
        data = path.read_bytes()
        picture = Image.fromarray(decode(data))
        versions = {"original": data, "copy": data} | {name: make(picture) for name, make in VERSIONS.items()}
        leaks = list(versions)[1 + number // 4 % (len(versions) - 1)] if number % 4 == 0 else None
        for name, image in versions.items():
            yield {
                "path": f"{path.stem}-{name}",
                "image": image,
                "original": path.stem,
                "planted": name,
                "half": HALVES[number % 2],
                "leaking_split": "test" if name == leaks else "train" if name == "original" else None,
                "clean_split": "test" if number % 5 == 4 else "train",
            }
