"""What tests of the viewer look at: a small table with scores, captions of several scripts, and markup."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa

import clipdata as cd
from clipdata.lance_io import rows
from clipdata.lance_io.table import Table, open_table
from clipdata.schema import IMAGE_METADATA, key_field

MARKUP = "<script>document.title = 'taken'</script><img src=x onerror=alert(1)>"
CAPTIONS = (MARKUP, "一只小猪在红房子前面", "قطة سوداء على سجادة", "a red house by the sea", "un château bleu")
NUM_ROWS = 60
SCHEMA = pa.schema(
    [
        key_field("path"),
        pa.field("image", pa.large_binary(), metadata=IMAGE_METADATA),
        pa.field("caption", pa.string()),
        pa.field("split", pa.string()),
        pa.field("score", pa.float32()),
        pa.field("score_tuned", pa.float32()),
        pa.field("cluster", pa.string()),
        pa.field("x", pa.float32()),
        pa.field("y", pa.float32()),
        pa.field("embedding", pa.list_(pa.float32(), 4)),
    ]
)


def picture(number: int, *, suffix: str = ".png", size: tuple[int, int] = (48, 64)) -> bytes:
    """The file of a picture of one colour, with a square in it."""
    pixels = np.full((*size, 3), (number * 37 % 256, number * 91 % 256, number * 53 % 256), np.uint8)
    pixels[8:24, 8:24] = 255
    return cv2.imencode(suffix, pixels)[1].tobytes()


def viewed_rows(num_rows: int = NUM_ROWS) -> pa.Table:
    """Rows whose scores fall with their number, every fifth of the split "test", three to a cluster."""
    number_N = np.arange(num_rows)
    columns = {
        "path": [f"{number:03}.png" for number in range(num_rows)],
        "image": [picture(number) for number in range(num_rows)],
        "caption": [CAPTIONS[number % len(CAPTIONS)] for number in range(num_rows)],
        "split": ["test" if number % 5 == 4 else "train" for number in range(num_rows)],
        "score": (1 - number_N / num_rows).astype(np.float32),
        "score_tuned": ((number_N * 7 % num_rows) / num_rows).astype(np.float32),
        "cluster": [f"c{number // 3}" for number in range(num_rows)],
        "x": (number_N % 10).astype(np.float32),
        "y": (number_N // 10).astype(np.float32),
        "embedding": [[float(number), float(number % 7), 1.0, 0.0] for number in range(num_rows)],
    }
    return pa.table(columns, schema=SCHEMA)


def viewed_table(folder: Path, name: str = "viewed.lance") -> Table:
    """A table with three versions of rows: the first 50, then all, then one caption changed and a step's failures."""
    table = rows.create_table(folder / name, SCHEMA)
    made = viewed_rows()
    rows.upsert(table, made.slice(0, 50))
    rows.upsert(open_table(table.uri), made)
    cd.map_column(table.uri, caption_length, "caption_length")
    cd.tag(table.uri, "scored")
    return open_table(table.uri)


@cd.step(reads=("caption",), returns="int32")
def caption_length(caption: str) -> int:
    """The number of letters; fails on the captions in French."""
    if caption.startswith("un "):
        raise ValueError("no French")
    return len(caption)
