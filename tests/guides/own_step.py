"""A table of small pictures with captions."""

from __future__ import annotations

from pathlib import Path

import ingest
from tests.captioned import drawings, pairs_csv


def prepare(folder: Path) -> None:
    """Write photos.lance."""
    rows = drawings(12)
    rows[2]["captions"] = ["is it red?", "what is it?", "why is it red?"]
    pairs_csv(folder / "photos", rows)
    ingest.from_captions(
        folder / "photos", folder / "photos" / "captions.csv", into=folder / "photos.lance", rows="caption"
    )
