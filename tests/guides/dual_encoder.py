"""Tables as Lance's example writes them, and a model that takes milliseconds."""

from __future__ import annotations

from pathlib import Path

from tests.captioned import drawings, flickr_like
from tests.tiny_models import tiny_encoder


def prepare(folder: Path) -> None:
    """Write what the guide names."""
    rows = drawings(64)
    flickr_like(folder / "flickr8k.lance", rows[:40])
    flickr_like(folder / "train.lance", rows[:40])
    flickr_like(folder / "test.lance", rows[40:])
    tiny_encoder(folder)
    (folder / "tiny-0").rename(folder / "model")
