"""What the guide to streaming reads: a small table of pictures with labels, and a tiny model."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from clipdata.lance_io import rows
from clipdata.schema import image_schema
from tests.pictures import encoded
from tests.tiny_models import tiny_encoder


def prepare(folder: Path) -> None:
    """Write photos.lance and my-model."""
    data = [encoded(number) for number in range(32)]
    schema = image_schema().append(pa.field("label", pa.int32()))
    table = rows.create_table(folder / "photos.lance", schema)
    paths = [f"{number:02d}.jpg" for number in range(len(data))]
    rows.upsert(
        table, pa.table({"path": paths, "image": data, "label": pa.array([n // 8 for n in range(32)], pa.int32())})
    )
    tiny_encoder(folder)
    (folder / "tiny-0").rename(folder / "my-model")
