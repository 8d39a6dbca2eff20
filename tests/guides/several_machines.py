"""A small contest and a tiny CLIP."""

from __future__ import annotations

from pathlib import Path

from tests.contests import contest_table
from tests.tiny_models import tiny_encoder


def prepare(folder: Path) -> None:
    """Write contest.lance and model."""
    contest_table(folder, 40)
    tiny_encoder(folder)
    (folder / "tiny-0").rename(folder / "model")
