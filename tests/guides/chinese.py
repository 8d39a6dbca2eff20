"""Small drawings with Chinese captions, one of them English, in a list in GB 18030."""

from __future__ import annotations

import csv
from pathlib import Path

from tests.chinese_pairs import write_pairs


def prepare(folder: Path) -> None:
    """Write photos/ and list.csv."""
    write_pairs(folder)
    (folder / "images").rename(folder / "photos")
    with (folder / "train.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    captions = [(f"一张{row['text']}的图", row["filename"]) for row in rows]
    captions[-1] = ("a drawing of a blue square", captions[-1][1])
    with (folder / "list.csv").open("w", encoding="gb18030", newline="") as stream:
        csv.writer(stream).writerows([("caption", "path"), *captions])
