"""A small contest with scores before and after a training, and the run."""

from __future__ import annotations

from pathlib import Path

import clipdata as cd
from tests.contests import contest_table
from tests.tiny_models import tiny_encoder


def prepare(folder: Path) -> None:
    """Write what the guide names."""
    table, encoder = contest_table(folder, 30), tiny_encoder(folder)
    config = cd.recipes.caption_contest(epochs=1, batch_size=8, label="label_ind", canary=False)
    run = cd.train(table, encoder, config, out=folder / "runs/contest", where="split = 'train'")
    for name, model in (("", encoder), ("_fine_tune", run.encoder(device="cpu"))):
        cd.map_column(table, cd.steps.ChoiceScores(model), f"scores{name}")
        cd.map_column(table, cd.steps.Pick(f"scores{name}", "label_ind"), f"label_prob{name}")
