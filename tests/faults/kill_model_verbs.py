"""Verbs that write and need a model: trainings, heads, and models made of models. Importing this loads no torch yet.

`benchmarks/kill_matrix.py` kills them with torch loaded once; `test_killing.py` kills whole pipelines.
"""

from __future__ import annotations

from pathlib import Path

import clipdata as cd
from tests.faults.kill_verbs import Verb, World

CONFIG = {"epochs": 2, "batch_size": 8, "lr": 3e-3, "checkpoint_every_steps": 2}


def _encoder(world: World) -> cd.Encoder:
    return cd.load_encoder(f"{world.sources}/model/tiny-0", device="cpu")


def _train(world: World) -> None:
    cd.train(world.open("contest.lance"), _encoder(world), cd.TrainConfig(**CONFIG), out=f"{world.out}/run")


def _fit_head(world: World) -> None:
    cd.fit_head(world.open("contest.lance"), _encoder(world)).save(f"{world.out}/head")


def _evaluate(world: World) -> None:
    cd.map_column(world.open("contest.lance"), cd.steps.ChoiceScores(_encoder(world)), "scores")


def _interpolate(world: World) -> None:
    cd.interpolate(f"{world.sources}/run", 0.5, out=f"{world.out}/mixed", before=_encoder(world))


def _new(world: World) -> None:
    from clipdata.encoder import export
    from tests.tiny_models import tiny_config

    made = cd.new_encoder(tiny_config(), seed=1, name="tiny", device="cpu")
    export(made.model, made, Path(world.out) / "new")


def _export_towers(world: World) -> None:
    cd.export_towers(_encoder(world), f"{world.out}/towers")


MODEL_VERBS: dict[str, Verb] = {
    "train": Verb(_train, ("contest.lance",)),
    "fit-head": Verb(_fit_head, ("contest.lance",)),
    "evaluate --write": Verb(_evaluate, ("contest.lance",)),
    "interpolate": Verb(_interpolate, ()),
    "new": Verb(_new, ()),
    "export-towers": Verb(_export_towers, ()),
}


def prepare_models(folder: Path) -> None:
    """A model, a contest with its embeddings, and a run, beside what `kill_verbs.prepare` makes."""
    from tests.contests import contest_table
    from tests.tiny_models import tiny_encoder

    encoder = tiny_encoder(folder / "sources" / "model")
    table = contest_table(folder / "tables", 24)

    @cd.step(reads="label_ind", returns="string")
    def class_name(number: int) -> str:
        return ("a cat", "a dog")[number % 2]

    cd.map_column(table, class_name, "class_name")
    cd.map_column(table, cd.steps.ImageEmbedding(encoder), "embedding")
    cd.train(table, encoder, cd.TrainConfig(epochs=1, batch_size=8), out=folder / "sources" / "run")
