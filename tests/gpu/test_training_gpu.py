"""The same training on a GPU: autocast, the gradient scaler, and going on."""

import numpy as np
import pytest

from clipdata import map_column, steps
from clipdata.encoder import export, load_encoder
from clipdata.training import checkpoints
from clipdata.training.config import TrainConfig
from clipdata.training.fine_tuning import train
from tests.contests import contest_table
from tests.tiny_models import tiny_encoder

pytestmark = pytest.mark.gpu


@pytest.fixture
def encoder(tmp_path):
    made = tiny_encoder()
    return load_encoder(export(made.model, made, tmp_path / "model"), device="cuda")


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("part", ["projections", "all"])
def test_held_out_accuracy_rises_on_a_gpu(tmp_path, encoder, precision, part):
    table = contest_table(tmp_path, 100)
    config = TrainConfig(
        epochs=6, batch_size=8, lr=3e-3, precision=precision, train=part, evaluate_where="split = 'test'"
    )

    run = train(table, encoder, config, out=tmp_path / "run", where="split = 'train'")

    assert run.epochs[-1]["accuracy"] >= run.epochs[0]["accuracy"] + 0.3
    assert run.encoder(device="cuda").device.type == "cuda"


def test_the_scaler_of_the_gpu_is_kept(tmp_path, encoder):
    table = contest_table(tmp_path)
    run = train(table, encoder, TrainConfig(epochs=1, batch_size=8, precision="fp16"), out=tmp_path / "run")

    _, state = checkpoints.complete(run.path / "checkpoints")[-1].load()

    assert state["scaler"]["scale"] > 0


@pytest.mark.parametrize("num_workers", [0, 2])
def test_workers_feed_a_gpu(tmp_path, encoder, num_workers):
    table = contest_table(tmp_path)

    run = train(table, encoder, TrainConfig(epochs=2, batch_size=8, num_workers=num_workers), out=tmp_path / "run")

    assert len(run.metrics) == 10


def test_scores_and_embeddings_of_a_gpu_are_those_of_a_processor(tmp_path, encoder):
    table = contest_table(tmp_path, 40)
    on_processor = load_encoder(tmp_path / "model", device="cpu")
    for name, made in (("gpu", encoder), ("cpu", on_processor)):
        map_column(table, steps.ChoiceScores(made), f"scores_{name}")
        map_column(table, steps.ImageTrunk(made), f"trunk_{name}")

    found = table.latest().to_table(["scores_gpu", "scores_cpu", "trunk_gpu", "trunk_cpu"])

    for name in ("scores", "trunk"):
        gpu, cpu = (np.concatenate(found.column(f"{name}_{device}").to_pylist()) for device in ("gpu", "cpu"))
        np.testing.assert_allclose(gpu, cpu, atol=2e-3)  # a GPU's convolutions round to TF32
