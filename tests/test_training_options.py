"""What a config asks of a run beside the steps: captions picked, texts cut, the best step, exports, negatives."""

import dataclasses
import json

import lance
import numpy as np
import pyarrow as pa
import pytest
import torch

from clipdata.encoder import Encoder, load_encoder
from clipdata.errors import ConfigError, UsageError
from clipdata.lance_io.table import Table, open_table
from clipdata.training.captions import places_of
from clipdata.training.config import TrainConfig
from clipdata.training.evaluation import evaluate
from clipdata.training.fine_tuning import train
from clipdata.training.objectives import Contrastive, MultiPositive, SigLip
from tests.contests import contest_table
from tests.contracts.objectives import objective_table
from tests.telling import Told
from tests.tiny_models import tiny_dual_encoder, tiny_encoder

TRAIN = "split = 'train'"


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return tiny_encoder()


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Table:
    return objective_table(tmp_path_factory.mktemp("options"))


def quick(**changes) -> TrainConfig:
    return TrainConfig(**{"epochs": 2, "batch_size": 8, "lr": 3e-3, "evaluate_where": None, **changes})


# Captions


def test_the_longest_caption_is_the_first_of_those_that_are_as_long():
    texts = [["ab", "abc", "xyz"], ["a"], ["b", "c"]]

    found = places_of("longest", torch.tensor([3, 1, 2]), texts=texts)

    assert found.tolist() == [1, 0, 0]


def test_a_random_caption_depends_on_seed_epoch_and_row_alone():
    counts_B, offsets_B = torch.full((1000,), 4), torch.arange(1000)

    def drawn(seed: int, epoch: int, rows: slice = slice(None)) -> list[int]:
        return places_of("random", counts_B[rows], offsets_B=offsets_B[rows], seed=seed, epoch=epoch).tolist()

    assert drawn(0, 0) == drawn(0, 0)
    assert drawn(0, 0)[300:310] == drawn(0, 0, slice(300, 310))
    for other in (drawn(0, 1), drawn(1, 0)):
        assert 150 < sum(a == b for a, b in zip(drawn(0, 0), other, strict=True)) < 350
    assert min(np.bincount(drawn(3, 7))) > 180


def test_texts_that_the_model_does_not_read_to_their_end_are_counted_and_said(tmp_path, encoder):
    captions = [["short", "word " * 40], ["word " * 30], ["a"]]
    plain = contest_table(tmp_path, 3).to_table().append_column("captions", pa.array(captions))
    lance.write_dataset(plain, tmp_path / "t.lance")
    told = Told()

    run = train(
        open_table(tmp_path / "t.lance"),
        encoder,
        quick(epochs=1, objective=MultiPositive("captions")),
        out=tmp_path / "run",
        progress=told,
    )

    assert "2 of 4 texts (50%) are longer than the 24 tokens that the model reads, and are cut" in told.said
    assert run.to_dict()["texts"] == {"num_texts": 4, "num_cut": 2, "context_length": 24, "is_sample": False}


# Which step is exported


def test_the_best_report_gives_the_exported_model(tmp_path, encoder):
    contest = contest_table(tmp_path, 60)
    config = quick(epochs=30, lr=5e-2, train="all", best="held_out_loss", evaluate_where="split = 'test'")

    run = train(contest, encoder, config, out=tmp_path / "run", where=TRAIN, limit=6)

    losses = {line["step"]: line["held_out_loss"] for line in run.epochs}
    best = min(losses, key=losses.__getitem__)
    summary = json.loads((run.path / "summary.json").read_text())
    assert (summary["steps"], summary["exported_step"]) == (30, best)
    assert best < 30
    again = train(
        contest, run.encoder(), quick(epochs=1, evaluate_where="split = 'test'"), out=tmp_path / "again", where=TRAIN
    )
    assert again.epochs[0]["held_out_loss"] == pytest.approx(losses[best])


def test_a_figure_that_is_not_measured_cannot_be_the_best(tmp_path, encoder):
    contest = contest_table(tmp_path, 20)

    with pytest.raises(ConfigError, match=r"best is 'acc'; measured are accuracy, mean_probability, held_out_loss"):
        train(contest, encoder, quick(best="acc", evaluate_where="auto"), out=tmp_path / "run", where=TRAIN)
    with pytest.raises(ConfigError, match="no row is measured"):
        train(contest, encoder, quick(best="accuracy", evaluate_where="auto"), out=tmp_path / "other")


def test_models_are_written_every_few_epochs_on_request(tmp_path, table, encoder):
    run = train(
        table,
        encoder,
        quick(epochs=4, objective=Contrastive("caption"), export_every_epochs=2, checkpoint_every_epochs=4),
        out=tmp_path / "run",
    )

    assert sorted(path.name for path in (run.path / "epochs").iterdir()) == ["2", "4"]
    assert load_encoder(run.path / "epochs" / "4").identity == run.encoder().identity
    assert load_encoder(run.path / "epochs" / "2").identity != run.encoder().identity
    assert [path.name for path in (run.path / "checkpoints").iterdir()] == ["step-12"]


# What counts as a negative, and the scale


def test_rows_of_one_picture_are_no_negatives_unless_asked(tmp_path, encoder):
    """Two rows show one picture, with captions of their own: nothing is to be told apart in their batch."""
    two = objective_table(tmp_path).to_table(where="path IN ('00002.png', '00003.png')")
    lance.write_dataset(two, tmp_path / "two.lance")
    losses = {}
    for same in ("left_out", "negatives"):
        config = quick(epochs=1, objective=Contrastive("caption", same=same))
        run = train(open_table(tmp_path / "two.lance"), encoder, config, out=tmp_path / same)
        losses[same] = run.metrics[0]["loss"]

    assert losses["left_out"] == 0
    assert losses["negatives"] > 0.1


def test_the_scale_to_begin_with_can_be_set_and_held(tmp_path, table, encoder):
    config = quick(objective=Contrastive("caption"), init_logit_scale=50.0, learn_logit_scale=False)

    run = train(table, encoder, config, out=tmp_path / "run")

    assert [line["logit_scale"] for line in run.metrics] == pytest.approx([50.0] * len(run.metrics))
    assert run.encoder().logit_scale == pytest.approx(50.0)


def test_a_sigmoid_loss_asks_for_a_model_with_a_bias(tmp_path, table, encoder):
    with pytest.raises(UsageError, match=r"siglip adds a logit bias, and .* has none"):
        train(table, encoder, quick(objective=SigLip("caption")), out=tmp_path / "run")


def test_ordered_epochs_take_the_tables_own_order(tmp_path, table, encoder):
    config = quick(epochs=1, objective=Contrastive("caption"), shuffle=False)
    both = [train(table, encoder, one, out=tmp_path / f"{seed}").metrics for seed, one in enumerate(
        dataclasses.replace(config, seed=seed) for seed in (0, 1))]  # fmt: skip

    assert [line["loss"] for line in both[0]] == [line["loss"] for line in both[1]]


# What is said or refused before the first step


def test_rows_that_the_split_holds_out_are_said_where_no_filter_leaves_them_out(tmp_path, encoder):
    contest, told = contest_table(tmp_path, 20), Told()

    train(contest, encoder, quick(epochs=1), out=tmp_path / "run", progress=told)

    assert any(said.startswith("4 of these rows are of the split test or validation") for said in told.said)


def test_a_batch_of_one_row_compares_nothing_and_is_refused(tmp_path, table, encoder):
    config = quick(objective=Contrastive("caption"), batch_size=1)

    with pytest.raises(UsageError, match="a batch has one row, and objective contrastive compares"):
        train(table, encoder, config, out=tmp_path / "run")


def test_a_last_batch_of_one_row_moves_nothing_where_batch_statistics_are_made(tmp_path):
    contest, told = contest_table(tmp_path, 9), Told()
    config = quick(epochs=1, train="all", freeze_batchnorm=False, drop_last=False)

    run = train(contest, tiny_dual_encoder(tmp_path / "dual"), config, out=tmp_path / "run", progress=told)

    assert [line["rows"] for line in run.metrics] == [8, 0]
    assert any("has one row, of which no batch statistics are made" in said for said in told.said)


def test_the_best_step_is_said_to_be_a_little_lucky(tmp_path, encoder):
    told = Told()
    config = quick(epochs=1, best="accuracy", evaluate_where="split = 'test'")

    train(contest_table(tmp_path, 20), encoder, config, out=tmp_path / "run", where=TRAIN, progress=told)

    assert any("the best accuracy on the 4 measured rows is exported" in said for said in told.said)


def test_a_sigmoid_loss_is_not_measured_without_a_bias_either(table, encoder):
    with pytest.raises(UsageError, match="siglip adds a logit bias"):
        evaluate(table, encoder, SigLip("caption"))


def test_what_cannot_be_measured_is_said_in_words_of_measuring(table, encoder):
    with pytest.raises(UsageError, match=r"^evaluate: .* has no row to measure where path = 'none'"):
        evaluate(table, encoder, Contrastive("caption"), where="path = 'none'")
