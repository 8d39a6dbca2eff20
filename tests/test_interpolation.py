"""Mixing weights before and after a training, and choosing how much of each on rows split off."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

import clipdata as cd
from clipdata.encoder import Encoder, load_encoder
from clipdata.errors import UsageError
from clipdata.lance_io import rows as written
from clipdata.lance_io.table import Table, open_table
from clipdata.trained_rows import digests
from clipdata.training.config import TrainConfig
from clipdata.training.figures import Evaluation
from clipdata.training.fine_tuning import train
from clipdata.training.mixing import ALPHAS, Mixture, choose, mixed
from clipdata.training.objectives import Choice
from clipdata.training.run import open_run
from clipdata.training.usable_rows import choose_rows
from clipdata.training.validation import split_off
from pipelines.cli.app import VERBS, main
from pipelines.cli.json_output import schema_of
from tests.contests import SCHEMA, contest_rows, contest_table
from tests.forked import run_forked
from tests.json_schemas import check_schema
from tests.telling import Told
from tests.tiny_models import tiny_encoder


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return tiny_encoder()


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return contest_table(tmp_path, 100)


def quick(**changes) -> TrainConfig:
    return TrainConfig(**{"epochs": 2, "batch_size": 8, "lr": 3e-3, "canary": False, **changes})


def weights(encoder: Encoder) -> dict[str, torch.Tensor]:
    return encoder.model.state_dict()


@pytest.mark.parametrize("train_part", ["projections", "all", "lora"])
def test_a_run_exports_the_weights_between_before_and_after(tmp_path, table, encoder, train_part):
    whole = train(table, encoder, quick(train=train_part, ema=0.5), out=tmp_path / "whole")
    part = train(table, encoder, quick(train=train_part, ema=0.5, wise_ft=0.3), out=tmp_path / "part")

    before, after, between = weights(encoder), weights(whole.encoder()), weights(part.encoder())
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    assert "logit_scale" in moved
    for name in before:
        wanted = 0.7 * before[name].double() + 0.3 * after[name].double()
        torch.testing.assert_close(between[name].double(), wanted, rtol=1e-6, atol=1e-7)
    assert part.mixture == Mixture(0.3)
    assert whole.mixture is None
    assert "mixed: 0.3 of the weights after training" in str(part)


def test_the_ends_are_exact_and_the_model_before_stays_as_it_was(encoder):
    before = {name: tensor.clone() for name, tensor in weights(encoder).items()}
    after = {
        name: tensor + 0.1 * torch.randn_like(tensor) if tensor.is_floating_point() else tensor
        for name, tensor in before.items()
    }

    ends = [mixed(encoder.model, after, alpha).state_dict() for alpha in (0.0, 1.0)]
    mixed(encoder.model, after, 0.5)

    assert all(torch.equal(ends[0][name], before[name]) for name in before)
    assert all(torch.equal(ends[1][name], after[name]) for name in before)
    assert all(torch.equal(weights(encoder)[name], before[name]) for name in before)


def test_statistics_of_batchnorm_are_mixed_and_its_counts_are_not():
    before, after = torch.nn.BatchNorm1d(3), torch.nn.BatchNorm1d(3)
    after.running_mean += 2.0
    after.num_batches_tracked += 7

    state = mixed(before, after.state_dict(), 0.25).state_dict()

    assert state["running_mean"].tolist() == [0.5] * 3
    assert int(state["num_batches_tracked"]) == 7


def test_the_least_loss_is_taken_and_of_equal_ones_the_nearest_to_before():
    def figures(losses: dict[float, float]):
        return lambda alpha: Evaluation(9, {"accuracy": alpha, "held_out_loss": losses.get(alpha, 2.0)})

    assert choose(figures({0.4: 1.0, 0.6: 1.0})).alpha == 0.4
    assert choose(figures({0.9: float("nan"), 0.7: 1.5})).alpha == 0.7
    assert choose(lambda alpha: Evaluation(0, {"held_out_loss": float("nan")})).alpha == 0.0


def test_figures_of_a_mixture_are_those_of_the_exported_model(tmp_path, table, encoder):
    run = train(table, encoder, quick(wise_ft=0.3, evaluate_where="split = 'test'"), out=tmp_path / "run")

    measured = cd.evaluate(table, run.encoder(device="cpu"), run.config.objective, where="split = 'test'").evaluation
    figures = run.summary["exported_figures"]
    assert figures["accuracy"] == pytest.approx(measured.metrics["accuracy"])
    assert figures["held_out_loss"] == pytest.approx(measured.metrics["held_out_loss"], abs=3e-4)
    assert figures["held_out_loss"] != pytest.approx(run.epochs[-1]["held_out_loss"], abs=3e-3)
    assert next(iter(cd.runs(run.path))).after == figures["accuracy"]
    card = (run.export_path / "README.md").read_text()
    assert f"| accuracy | {run.epochs[0]['accuracy']:.1%} | {figures['accuracy']:.1%} |" in card
    assert "mixed: 0.3 of the weights after training" in card


def test_auto_chooses_on_rows_that_it_does_not_train_on(tmp_path, table, encoder):
    told = Told()

    run = train(table, encoder, quick(wise_ft="auto", validation_share=0.2), out=tmp_path / "run", progress=told)

    record = run.record["table"]
    assert record["num_rows"] + record["validation"]["num_rows"] == 100
    assert 15 <= record["validation"]["num_rows"] <= 20
    assert run.trained_rows.num_rows == record["num_rows"]
    assert run.mixture.num_rows == record["validation"]["num_rows"]
    assert [point["alpha"] for point in run.mixture.curve] == list(ALPHAS)
    assert run.mixture.alpha == min(run.mixture.curve, key=lambda point: point["held_out_loss"])["alpha"]
    assert str(run.mixture) in told.said
    assert Mixture.from_dict(run.to_dict()["mixture"]) == run.mixture


def test_a_curve_ends_at_the_models_before_and_after(tmp_path, table, encoder):
    run = train(table, encoder, quick(wise_ft="auto"), out=tmp_path / "run")
    whole = open_table(table.uri).to_table(["path"]).column("path").to_pylist()
    trained = set(run.trained_rows.keys.tolist())
    validation = [path for path in whole if int(digests(pa.array([path]))[0]) not in trained]

    where = f"path in ({', '.join(map(repr, validation))})"
    found = cd.evaluate(table, encoder, "choice", where=where).evaluation.metrics

    assert run.mixture.curve[0]["accuracy"] == pytest.approx(found["accuracy"])
    assert run.mixture.curve[0]["held_out_loss"] == pytest.approx(found["held_out_loss"], abs=1e-3)


def test_few_rows_are_not_split_and_nothing_is_mixed(tmp_path, encoder):
    table, told = contest_table(tmp_path, 30), Told()

    run = train(table, encoder, quick(wise_ft="auto"), out=tmp_path / "run", progress=told)

    assert run.mixture is None
    assert run.trained_rows.num_rows == 30
    assert [line for line in told.said if line.startswith("wise_ft: under 40 groups")]


def pairs_of_texts(folder: Path, name: str, pictures: list[str]) -> Table:
    """A contest in which rows 2n and 2n + 1 have the same right caption."""
    contest = contest_rows(len(pictures)).to_pydict()
    contest["caption_choices"] = [[f"thing {number // 2}", "a wrong one"] for number in range(len(pictures))]
    contest["label_ind"], contest["sha256"] = [0] * len(pictures), pictures
    table = written.create_table(folder / name, SCHEMA)
    written.upsert(table, pa.table(contest, schema=SCHEMA))
    return open_table(folder / name)


def test_rows_that_share_a_picture_or_a_right_text_stay_together(tmp_path):
    table = pairs_of_texts(tmp_path, "own.lance", [f"picture {number}" for number in range(120)])
    chosen = choose_rows(table, Choice())

    offsets = split_off(table, chosen, Choice(), share=0.3, seed=3)

    paths = np.array(table.to_table(["path"]).column("path").to_pylist())[offsets]
    assert len(offsets) == 2 * len({int(path[:5]) // 2 for path in paths}) == 36
    assert np.array_equal(offsets, split_off(table, chosen, Choice(), share=0.3, seed=3))
    assert not np.array_equal(offsets, split_off(table, chosen, Choice(), share=0.3, seed=4))


def test_texts_too_few_to_tell_rows_apart_leave_pictures_to_do_it(tmp_path):
    # With their texts the first 60 rows hang together, each with the next, and make 31 groups with the rest.
    pictures = [f"picture {(number + 1) // 2}" if number < 60 else f"own {number}" for number in range(120)]
    table = pairs_of_texts(tmp_path, "chain.lance", pictures)

    offsets = split_off(table, choose_rows(table, Choice()), Choice(), share=0.3, seed=3)

    shown = table.to_table(["sha256"]).column("sha256").to_pylist()
    taken = {shown[offset] for offset in offsets}
    assert 30 <= len(offsets) <= 36
    assert sorted(offsets) == [offset for offset, picture in enumerate(shown) if picture in taken]


KILLED = """
import json, os, signal, sys
import clipdata as cd
from clipdata.training import finishing
from clipdata.training.config import TrainConfig

table, model, out, config, kill = sys.argv[1:]
if kill == "yes":
    choose = finishing.choose

    def die(measure):
        choose(measure)
        os.kill(os.getpid(), signal.SIGKILL)

    finishing.choose = die
cd.train(cd.open_table(table), cd.load_encoder(model, device="cpu"), TrainConfig.from_json(config), out=out)
"""


def test_a_kill_while_mixing_changes_nothing(tmp_path, table):
    tiny_encoder(tmp_path)
    model, config = str(tmp_path / "tiny-0"), quick(wise_ft="auto", epochs=1)
    whole = train(table, load_encoder(model, device="cpu"), config, out=tmp_path / "whole")

    def in_a_process(kill: str) -> int:
        words = [table.uri, model, str(tmp_path / "parts"), json.dumps(config.to_json()), kill]
        return run_forked(["-c", KILLED, *words]).returncode

    assert in_a_process("yes") == -signal.SIGKILL
    assert in_a_process("no") == 0
    parts = open_run(tmp_path / "parts")
    assert parts.mixture == whole.mixture
    one, other = weights(whole.encoder()), weights(parts.encoder())
    assert all(torch.equal(one[name], other[name]) for name in one)


# Of a finished run


def test_a_run_is_mixed_afterwards_as_it_would_have_been_while_it_ended(tmp_path, table, capsys):
    tiny_encoder(tmp_path)
    model, trained = str(tmp_path / "tiny-0"), "split = 'train'"
    encoder = load_encoder(model, device="cpu")
    whole = train(table, encoder, quick(), out=tmp_path / "whole", where=trained)
    part = train(table, encoder, quick(wise_ft=0.5), out=tmp_path / "part", where=trained)

    code, found = printed(capsys, "interpolate", str(whole.path), "--alpha", "0.5", "--device", "cpu")
    half = load_encoder(found["model"], device="cpu")

    assert (code, found["model"]) == (0, str(whole.path / "interpolated-0.5"))
    assert half.identity == part.encoder(device="cpu").identity != whole.encoder(device="cpu").identity
    assert [one.rows_digest for one in half.trained_on] == [whole.trained_rows.rows_digest]

    code, swept = printed(capsys, "interpolate", str(whole.path), "--sweep", "--device", "cpu")
    assert (code, swept["rows"], swept["rows_of_test"]) == (0, 20, 20)
    assert [point["alpha"] for point in swept["curve"]] == list(ALPHAS)
    plain = cd.evaluate(table, half, where="split = 'test'").evaluation.metrics
    assert swept["curve"][5]["accuracy"] == plain["accuracy"]
    assert {point["canary"] for point in swept["curve"]} == {"nothing to lose"}


def test_rows_that_were_trained_on_choose_nothing(tmp_path, table, encoder):
    run = train(table, encoder, quick(), out=tmp_path / "run", where="split = 'train'")

    with pytest.raises(UsageError, match="were trained on"):
        cd.sweep(run, where="split = 'train'", before=encoder)


def test_what_cannot_be_mixed_is_refused(tmp_path, table, encoder, capsys):
    run = train(table, encoder, quick(), out=tmp_path / "run")

    with pytest.raises(UsageError, match=r"alpha is 1\.5"):
        cd.interpolate(run, 1.5)
    with pytest.raises(UsageError, match="is another model"):
        cd.interpolate(run, 0.5, before=tiny_encoder(seed=1))
    with pytest.raises(UsageError, match="measured no rows"):
        cd.sweep(run, before=encoder)
    assert main(["interpolate", str(run.path)]) == 2
    assert "--alpha or --sweep" in capsys.readouterr().err


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict]:
    """What a verb prints, held to its schema."""
    code = main([*words, "--json"])
    found = json.loads(capsys.readouterr().out)
    command = next(one for one in VERBS if one.words == words[0])
    check_schema(found, schema_of(command.words, command.found))
    return code, found
