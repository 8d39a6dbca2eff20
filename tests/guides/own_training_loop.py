"""A small contest with captions, and a tiny CLIP."""

from __future__ import annotations

from pathlib import Path

import clipdata as cd
from tests.contests import contest_table
from tests.tiny_models import tiny_encoder


def prepare(folder: Path) -> None:
    """Write contest.lance and model."""
    table = contest_table(folder, 60)

    @cd.step(reads=("caption_choices", "label_ind"), returns="string")
    def caption(choices: list[str], place: int) -> str:
        return choices[place]

    cd.map_column(table, caption, "caption")
    tiny_encoder(folder)
    (folder / "tiny-0").rename(folder / "model")
