"""A table of photographs' captions, with a column of each kind that a condition asks for."""

from __future__ import annotations

import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import ingest


def prepare(folder: Path) -> None:
    """Write photos.lance."""
    moments = [datetime.datetime(2026, month, 1) for month in (1, 2, 3, 4)]
    columns = {
        "filename": [f"{n}.jpg" for n in range(4)],
        "caption": ["a cat", "two dogs on a green lawn", " ", None],
        "score": [0.55, 0.9, float("nan"), None],
        "split": ["train", "test", "test", "val"],
        "sharp": [True, False, True, None],
        "votes": [4, 0, None, 3],
        "taken": pa.array(moments, pa.timestamp("us")),
        "tags": [["animal", "cat"], ["animal"], [], None],
        "camera": [{"make": "Leica", "iso": 100}, {"make": "Leica", "iso": 800}, None, {"make": None, "iso": 50}],
        "Größe": [50, 150, 250, None],
        "code": ["5", "8", "11", None],
    }
    pq.write_table(pa.table(columns), folder / "photos.parquet")
    ingest.from_parquet(folder / "photos.parquet", into=folder / "photos.lance")
