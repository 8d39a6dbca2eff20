"""Small drawings as class folders, with a CSV, in parquet, tar shards and a Lance table; and a tiny CLIP."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.captioned import drawings, flickr_like, pairs_csv
from tests.class_folders import draw_folders
from tests.tars import member, write_shard
from tests.tiny_models import tiny_encoder

_FEW = 30


def prepare(folder: Path) -> None:
    """Write what the guide names."""
    draw_folders(folder / "animals", 5)
    rows = drawings(_FEW)
    pairs_csv(folder / "photos", rows)
    pictures = [{"bytes": row["image"], "path": row["image_id"]} for row in rows]
    pictures[3]["bytes"] = pictures[3]["bytes"][:60]
    captions = [row["captions"] for row in rows]
    pq.write_table(pa.table({"image": pictures, "captions": captions}), folder / "pairs.parquet")
    parts = []
    for number, row in enumerate(rows):
        for suffix, data in (
            ("png", row["image"]),
            ("txt", row["captions"][1].encode()),
            ("json", json.dumps({"source": "drawn"}).encode()),
        ):
            parts.append(member(f"{number:04}.{suffix}", data))
    write_shard(folder / "shards" / "00000.tar", parts)
    flickr_like(folder / "theirs.lance", rows)
    tiny_encoder(folder)
    (folder / "tiny-0").rename(folder / "model")
