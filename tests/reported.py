"""A table as strangers fill it: hostile captions, every direction of writing, broken and missing pictures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa

from clipdata.lance_io import rows
from clipdata.lance_io.table import Table, open_table
from clipdata.schema import IMAGE_METADATA, key_field

CAPTIONS = (
    "<script>document.title = 'broken into'</script>",
    '"><img src=x onerror="document.title=1"> \' & </style></svg>',
    "一只猫坐在窗台上，看着外面的雨。",
    "قطة تجلس على حافة النافذة وتنظر إلى المطر (2 قطط).",
    "\u202eelif.exe\u202c \x00 \x1b[31m",
    "word " * 2_000,
    "x" * 10_000,
    "a plain caption",
)
SCHEMA = pa.schema(
    [
        key_field("path"),
        pa.field("image", pa.large_binary(), metadata=IMAGE_METADATA),
        pa.field("caption", pa.string()),
        pa.field("<b>group</b>", pa.string()),
        pa.field("before", pa.float64()),
        pa.field("after", pa.float64()),
    ]
)


def hostile_table(folder: Path, num_rows: int = 480, *, num_groups: int = 60, name: str = "<hostile>.lance") -> Table:
    """Rows of the captions in turn; the first picture is none, the second broken, the others noise."""
    random = np.random.default_rng(0)
    noise = [cv2.imencode(".jpg", random.integers(0, 256, (300, 300, 3), np.uint8))[1].tobytes() for _ in range(8)]
    pictures: list[bytes | None] = [noise[number % 8] for number in range(num_rows)]
    pictures[:2] = [None, noise[0][:2_000]]
    before_N = random.random(num_rows)
    after_N = np.clip(before_N + random.normal(0.1, 0.2, num_rows), 0, 1)
    before_N[:2], after_N[:2] = 1.0, 0.0  # so that they lose most, and those of the other captions gain most
    before_N[2:8], after_N[2:8] = 0.0, 1.0
    columns = {
        "path": [f"{number:04}{'/long' * 40 if number % 7 == 0 else ''}.jpg" for number in range(num_rows)],
        "image": pictures,
        "caption": [CAPTIONS[number % len(CAPTIONS)] for number in range(num_rows)],
        "<b>group</b>": [f"<i>{number % num_groups}</i> {'群' * 300}" for number in range(num_rows)],
        "before": before_N,
        "after": after_N,
    }
    table = rows.create_table(folder / name, SCHEMA)
    rows.upsert(table, pa.table(columns, schema=SCHEMA))
    return open_table(folder / name)
