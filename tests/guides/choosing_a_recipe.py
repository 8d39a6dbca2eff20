"""A small contest, a tiny CLIP, and a recipe in a file."""

from __future__ import annotations

import json
from pathlib import Path

from tests.contests import contest_table
from tests.tiny_models import tiny_encoder


def prepare(folder: Path) -> None:
    """Write what the guide names."""
    contest_table(folder, 60)
    (folder / "mine.json").write_text(json.dumps({"recipe": "projections", "lr": 3e-3}))
    tiny_encoder(folder)
    (folder / "tiny-0").rename(folder / "model")
