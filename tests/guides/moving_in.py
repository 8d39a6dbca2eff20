"""Pictures as other tools keep them: open_clip's CSV, img2dataset's parquet, a saved Hugging Face data set."""

from __future__ import annotations

from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from tests.captioned import drawings, pairs_csv


def prepare(folder: Path) -> None:
    """Write what the guide names."""
    rows = drawings(12)
    pairs_csv(folder / "drawn", rows)
    (folder / "drawn" / "images").rename(folder / "photos")
    lines = [f"{row['image_id']}\t{row['captions'][0]}" for row in rows]
    (folder / "train.csv").write_text("\n".join(["filepath\ttitle", *lines]) + "\n")
    (folder / "img2dataset").mkdir()
    crawl = {
        "jpg": pa.array([None if number == 3 else row["image"] for number, row in enumerate(rows)], pa.binary()),
        "key": [f"{number:09}" for number in range(len(rows))],
        "caption": [row["captions"][0] for row in rows],
        "url": [f"http://pictures.example/{row['image_id']}" for row in rows],
        "status": ["failed_to_download" if number == 3 else "success" for number in range(len(rows))],
    }
    pq.write_table(pa.table(crawl), folder / "img2dataset" / "00000.parquet")
    held = [{"bytes": row["image"], "path": row["image_id"]} for row in rows]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["plain", "striped"])})
    made = datasets.Dataset.from_dict({"image": held, "label": [number % 2 for number in range(len(rows))]}, features)
    made.save_to_disk(str(folder / "saved"))
