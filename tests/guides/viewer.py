"""What the guide to the viewer looks at: a small table of pictures with labels."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from clipdata.lance_io import rows
from clipdata.schema import image_schema
from tests.viewing import picture


def prepare(folder: Path) -> None:
    """Write photos.lance."""
    table = rows.create_table(folder / "photos.lance", image_schema().append(pa.field("label", pa.int32())))
    paths = [f"{number:02d}.png" for number in range(12)]
    labels = pa.array([number // 4 for number in range(12)], pa.int32())
    rows.upsert(table, pa.table({"path": paths, "image": [picture(n) for n in range(12)], "label": labels}))
