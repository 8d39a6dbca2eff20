"""A few pictures with questions, and a small CLIP."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.contests import contest_rows
from tests.tiny_models import tiny_encoder


def prepare(folder: Path) -> None:
    """Write what the guide names."""
    rows = contest_rows(20).to_pydict()
    (folder / "photos").mkdir()
    for name, content in zip(rows["path"], rows["image"], strict=True):
        (folder / "photos" / name).write_bytes(content)
    questions = {
        "filename": rows["path"],
        "caption_choices": rows["caption_choices"],
        "label": ["ABCDE"[place] for place in rows["label_ind"]],
        "split": rows["split"],
    }
    pq.write_table(pa.table(questions), folder / "questions.parquet")
    tiny_encoder(folder)
    (folder / "tiny-0").rename(folder / "model")
