"""Fine-tuning on a table: what it learns, what it reads, and going on after a kill."""

import json
import math
import signal
from pathlib import Path

import lance
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file

import clipdata as cd
from clipdata.encoder import Encoder, export, load_encoder
from clipdata.errors import ClipdataError, LineageMismatchError, NotFoundError, SchemaError, TransientError, UsageError
from clipdata.folder_lock import FILE as LOCK
from clipdata.folder_lock import alone_in
from clipdata.lance_io import rows
from clipdata.lance_io.table import Table, open_table
from clipdata.training.config import TrainConfig
from clipdata.training.fine_tuning import train
from clipdata.training.objectives import Choice
from clipdata.training.run import open_run
from tests.contests import contest_rows, contest_table
from tests.forked import run_forked
from tests.telling import Told
from tests.tiny_models import tiny_dual_encoder, tiny_encoder

TRAIN = "split = 'train'"


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return tiny_encoder()


@pytest.fixture
def table(tmp_path) -> Table:
    return contest_table(tmp_path)


def quick(**changes) -> TrainConfig:
    return TrainConfig(**{"epochs": 2, "batch_size": 8, "lr": 3e-3, **changes})


def steps(run) -> list[dict]:
    """Metrics of a run without the times."""
    return [{name: value for name, value in line.items() if name != "wait"} for line in run.metrics]


def weights(run) -> dict[str, torch.Tensor]:
    return load_file(run.export_path / "open_clip_model.safetensors")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# What it learns


def test_held_out_accuracy_rises(tmp_path, encoder):
    table = contest_table(tmp_path, 100)

    run = train(table, encoder, quick(epochs=4, evaluate_where="split = 'test'"), out=tmp_path / "run", where=TRAIN)

    before, *_, after = run.epochs
    assert after["num_rows"] == 20
    assert after["accuracy"] >= before["accuracy"] + 0.3
    assert after["mean_probability"] > before["mean_probability"] + 0.2


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("part", ["last_blocks", "all"])
def test_loss_falls_in_every_precision(tmp_path, table, encoder, precision, part):
    config = quick(epochs=3, lr=1e-3, precision=precision, train=part)

    run = train(table, encoder, config, out=tmp_path / "run")

    assert run.epochs[-1]["loss"] < 0.7 * run.epochs[0]["loss"]
    assert all(tensor.dtype == torch.float32 for tensor in weights(run).values())


def test_the_encoder_that_was_given_stays_as_it_was(tmp_path, table, encoder):
    identity = encoder.identity

    run = train(table, encoder, quick(train="all"), out=tmp_path / "run")

    assert encoder.identity == identity
    assert not encoder.model.training
    assert all(parameter.requires_grad for parameter in encoder.model.parameters())
    assert run.encoder().identity != identity


def test_training_heads_leaves_the_image_trunk_bit_for_bit(tmp_path, table, encoder):
    tuned = train(table, encoder, quick(), out=tmp_path / "run").encoder()

    assert tuned.trunk_identity == encoder.trunk_identity
    assert tuned.identity != encoder.identity


def test_the_random_state_of_the_caller_is_left_alone(tmp_path, table, encoder):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)

    train(table, encoder, quick(epochs=1), out=tmp_path / "run")

    assert torch.equal(torch.rand(1), expected)


def test_the_seed_decides_the_order(tmp_path, table, encoder):
    losses = [
        [line["loss"] for line in train(table, encoder, quick(seed=seed), out=tmp_path / f"run-{number}").metrics]
        for number, seed in enumerate((0, 0, 1))
    ]

    assert losses[0] == losses[1] != losses[2]


def test_the_logit_scale_is_held_below_100_and_still_when_asked(tmp_path, table, encoder):
    hot = tiny_encoder(seed=2)
    torch.nn.init.constant_(hot.model.logit_scale, math.log(150))

    free = train(table, hot, quick(epochs=1), out=tmp_path / "free")
    held = train(table, encoder, quick(learn_logit_scale=False), out=tmp_path / "held")

    assert free.metrics[0]["logit_scale"] == pytest.approx(100)
    assert {line["logit_scale"] for line in held.metrics} == {encoder.logit_scale}


def test_batch_statistics_move_only_when_asked(tmp_path, table):
    dual = tiny_dual_encoder(tmp_path / "dual")
    before = {n: b.clone() for n, b in dual.model.named_buffers() if n.endswith("running_mean")}

    frozen = train(table, dual, quick(epochs=1, train="all", lr=1e-4), out=tmp_path / "frozen")
    moving = train(table, dual, quick(epochs=1, train="all", lr=1e-4, freeze_batchnorm=False), out=tmp_path / "moving")

    assert all(torch.equal(weights(frozen)[name], mean) for name, mean in before.items())
    assert not any(torch.equal(weights(moving)[name], mean) for name, mean in before.items())


def test_a_loss_that_is_no_number_stops_the_run(tmp_path, table, encoder):
    with pytest.raises(ClipdataError, match=r"step \d+: the (loss|gradient) became (nan|inf)[^$]*--set lr"):
        train(table, encoder, quick(lr=1e30, train="all", grad_clip=None), out=tmp_path / "run")


# What it reads


def test_rows_that_cannot_be_used_are_left_out_and_counted(tmp_path, encoder):
    contest = contest_rows(40).to_pydict()
    contest["label_ind"][0] = 9
    contest["label_ind"][1] = None
    contest["caption_choices"][2] = []
    contest["caption_choices"][3] = None
    contest["caption_choices"][5] = ["a", None]
    contest["label_ind"][6] = -1
    table = contest_table(tmp_path, 0, name="empty.lance")
    rows.upsert(table, pa.table(contest, schema=table.schema))
    told = Told()

    run = train(open_table(table.uri), encoder, quick(), out=tmp_path / "run", progress=told)

    refused = {"a label outside its choices": 2, "a null among its choices": 1, "no choices": 2, "no label": 1}
    assert run.record["table"]["refused"] == refused
    assert run.record["table"]["num_rows"] == 34
    assert any("34 rows; left out 2 with a label outside its choices" in text for text in told.said)


def test_a_table_without_a_usable_row_is_refused(tmp_path, table, encoder):
    with pytest.raises(UsageError, match="no row to train on where split = 'none': none passes the filter"):
        train(table, encoder, quick(), out=tmp_path / "run", where="split = 'none'")


def test_labels_that_are_no_places_name_the_command_that_makes_them(tmp_path, table, encoder):
    with pytest.raises(SchemaError, match="label-index label_ind -p label=split"):
        train(table, encoder, quick(objective=Choice(label="split")), out=tmp_path / "run")
    with pytest.raises(SchemaError, match=r"no column 'answer'(.|\n)*label-index answer -p label="):
        train(table, encoder, quick(objective=Choice(label="answer")), out=tmp_path / "run")


def test_the_command_that_makes_labels_writes_no_column_that_it_reads(tmp_path, table, encoder):
    read = table.to_table()
    texts = read.set_column(read.schema.get_field_index("label_ind"), "label_ind", read["label_ind"].cast(pa.string()))
    lance.write_dataset(texts, tmp_path / "texts.lance")
    with pytest.raises(SchemaError, match=r"label-index label_place -p label=label_ind; then --set label=label_place"):
        train(open_table(tmp_path / "texts.lance"), encoder, quick(), out=tmp_path / "run")


def test_missing_columns_are_named_with_near_ones(tmp_path, table, encoder):
    with pytest.raises(SchemaError, match="did you mean caption_choices"):
        train(table, encoder, quick(objective=Choice("caption_choice")), out=tmp_path / "run")


def test_the_trunk_column_trains_as_the_pictures_do_and_none_is_decoded(tmp_path, table, encoder):
    cd.map_column(table, cd.steps.ImageTrunk(encoder), "trunk")
    decoded = train(table, encoder, quick(fidelity="exact"), out=tmp_path / "decoded")
    lance_table = lance.dataset(table.uri)
    image_free = lance_table.to_table(columns=[name for name in lance_table.schema.names if name != "image"])
    lance.write_dataset(image_free, tmp_path / "without.lance")

    read = train(open_table(tmp_path / "without.lance"), encoder, quick(image_trunk="trunk"), out=tmp_path / "read")

    assert [line["loss"] for line in read.metrics] == pytest.approx(
        [line["loss"] for line in decoded.metrics], rel=1e-4
    )


def test_a_trunk_column_of_other_weights_is_refused(tmp_path, table, encoder):
    cd.map_column(table, cd.steps.ImageTrunk(tiny_encoder(seed=1)), "trunk")

    with pytest.raises(LineageMismatchError, match=r"made by the image trunk [^$]*image-trunk trunk_2"):
        train(table, encoder, quick(image_trunk="trunk"), out=tmp_path / "run")


def test_a_trunk_column_of_unknown_origin_is_refused(tmp_path, table, encoder):
    vectors = pa.FixedSizeListArray.from_arrays(
        pa.array([0.0] * 40 * encoder.trunk_dim, pa.float32()), encoder.trunk_dim
    )
    with_column = table.to_table().append_column("trunk", vectors)
    lance.write_dataset(with_column, tmp_path / "other.lance")

    with pytest.raises(LineageMismatchError, match="nobody knows which model"):
        train(open_table(tmp_path / "other.lance"), encoder, quick(image_trunk="trunk"), out=tmp_path / "run")


def test_a_missing_trunk_column_names_the_command_that_makes_it(tmp_path, table, encoder):
    with pytest.raises(SchemaError, match="image-trunk trunk --model"):
        train(table, encoder, quick(image_trunk="trunk"), out=tmp_path / "run")


def test_a_trunk_column_that_is_not_filled_yet_is_refused_with_the_count(tmp_path, table, encoder):
    cd.map_column(table, cd.steps.ImageTrunk(encoder), "trunk")
    more = contest_rows(43).slice(40)
    rows.upsert(table, more)

    with pytest.raises(SchemaError, match=r"3 of 43 rows hold no 'trunk' yet[^$]*image-trunk"):
        train(table.latest(), encoder, quick(image_trunk="trunk"), out=tmp_path / "run")


def test_rows_whose_image_could_not_be_mapped_are_left_out(tmp_path, encoder):
    broken = contest_rows(40).to_pydict()
    broken["image"][7] = b"no image"
    table = contest_table(tmp_path, 0, name="broken.lance")
    rows.upsert(table, pa.table(broken, schema=table.schema))
    table = open_table(table.uri)
    cd.map_column(table, cd.steps.ImageTrunk(encoder), "trunk")

    run = train(table, encoder, quick(image_trunk="trunk"), out=tmp_path / "run")

    assert run.record["table"]["refused"] == {"no trunk": 1}


def test_captions_encoded_once_train_as_captions_encoded_every_time(tmp_path, table):
    for made in (tiny_encoder(), tiny_dual_encoder(tmp_path / "dual")):
        losses = [
            [
                line["loss"]
                for line in train(table, made, quick(text_cache=most), out=tmp_path / made.name / f"{most}").metrics
            ]
            for most in (0, 4, 1000)
        ]
        assert losses[1] == losses[0]  # eight distinct captions are more than four
        assert losses[2] == pytest.approx(losses[0], rel=1e-4)


def test_workers_do_not_change_the_result(tmp_path, table, encoder):
    alone = train(table, encoder, quick(), out=tmp_path / "alone")
    helped = train(table, encoder, quick(num_workers=2), out=tmp_path / "helped")

    assert steps(helped) == steps(alone)
    assert same(weights(helped), weights(alone))


def test_rows_that_are_measured_and_trained_on_are_told(tmp_path, table, encoder):
    told = Told()

    train(table, encoder, quick(epochs=1, evaluate_where="true"), out=tmp_path / "run", where=TRAIN, progress=told)

    assert any("32 of the 40 rows to measure are trained on" in text for text in told.said)


# What it leaves behind


def test_a_run_says_what_it_read_and_did(tmp_path, table, encoder):
    told = Told()

    run = train(table, encoder, quick(), out=tmp_path / "run", where=TRAIN, progress=told)

    record = json.loads((tmp_path / "run" / "config.json").read_text())
    assert record["table"] | {"digest": "", "files": ""} == {
        "uri": table.uri, "version": table.version, "where": TRAIN, "num_rows": 32, "refused": {}, "digest": "",
        "files": "", "trained_rows": run.trained_rows.rows_digest,
        "pixels": {"column": "image", "kind": "decoded", "version": table.version},
    }  # fmt: skip
    assert record["encoder"]["identity"] == encoder.identity
    assert TrainConfig.from_json(record["config"]) == quick() == run.config
    assert [line["step"] for line in run.metrics] == list(range(1, 9))
    assert [line["epoch"] for line in run.metrics] == [1] * 4 + [2] * 4
    assert {line["rows"] for line in run.metrics} == {8}
    assert run.epochs[-1]["loss"] == pytest.approx(sum(line["loss"] for line in run.metrics[4:]) / 4)
    assert told.steps >= 8
    assert sum("rows/s" in text and "waited" in text for text in told.said) == 3  # each epoch, and all of it
    assert open_run(tmp_path / "run").to_dict()["finished"]


def test_the_version_that_was_read_is_tagged(tmp_path, table, encoder):
    train(table, encoder, quick(epochs=1), out=tmp_path / "my run")

    assert lance.dataset(table.uri).tags.list()[f"run-my-run-v{table.version}"]["version"] == table.version


def test_only_the_newest_checkpoints_are_kept(tmp_path, table, encoder):
    run = train(table, encoder, quick(checkpoint_every_steps=2, keep_checkpoints=2), out=tmp_path / "run")

    assert sorted(path.name for path in (run.path / "checkpoints").iterdir()) == ["step-10", "step-8"]


def test_the_learning_rate_rises_and_falls(tmp_path, table, encoder):
    run = train(table, encoder, quick(warmup_steps=4, lr=1e-3), out=tmp_path / "run")

    rates = [line["lr"] for line in run.metrics]
    assert rates[:4] == pytest.approx([0.25e-3, 0.5e-3, 0.75e-3, 1e-3])
    assert rates[4:] == sorted(rates[4:], reverse=True)


# Going on

SCRIPT = """
import os, signal, sys
from contextlib import contextmanager
from clipdata.encoder import load_encoder
from clipdata.lance_io.table import open_table
from clipdata.training.config import TrainConfig
from clipdata.training.fine_tuning import train

table, model, out, config, kill_at = sys.argv[1:]

class Killer:
    steps = 0
    def say(self, text): print(text, flush=True)
    @contextmanager
    def task(self, label, total, unit="rows"):
        self.counts = label == "train"
        yield self
    def advance(self, num=1):
        self.steps += num * self.counts
        if self.steps == int(kill_at):
            os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    encoder = load_encoder(model, device="cpu")
    train(open_table(table), encoder, TrainConfig.from_json(config), out=out, progress=Killer())
"""


def in_a_process(folder: Path, table: Table, model: Path, out: Path, config: TrainConfig, kill_at: int):
    script = folder / "train_once.py"
    script.write_text(SCRIPT)
    return run_forked([script, table.uri, model, out, json.dumps(config.to_json()), kill_at])


@pytest.mark.slow
def test_twenty_steps_are_ten_a_kill_and_ten_bit_for_bit(tmp_path, table):
    """This encoder has dropout and moving batch statistics, so the random state and the buffers must go on too."""
    made = tiny_dual_encoder(tmp_path / "dual")
    model = export(made.model, made, tmp_path / "model")
    config = quick(epochs=4, train="all", lr=1e-3, freeze_batchnorm=False, checkpoint_every_steps=10)
    whole = train(table, load_encoder(model, device="cpu"), config, out=tmp_path / "whole")

    killed = in_a_process(tmp_path, table, model, tmp_path / "parts", config, kill_at=13)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(open_run(tmp_path / "parts").metrics) == 13
    resumed = in_a_process(tmp_path, table, model, tmp_path / "parts", config, kill_at=-1)

    assert "going on after step 10 of 20" in resumed.stdout, resumed.stderr
    parts = open_run(tmp_path / "parts")
    assert len(whole.metrics) == 20
    assert steps(parts) == steps(whole)
    assert [line["loss"] for line in parts.epochs] == [line["loss"] for line in whole.epochs]
    assert same(weights(parts), weights(whole))


def test_a_kill_before_the_first_checkpoint_begins_anew(tmp_path, table, encoder):
    config = quick(checkpoint_every_steps=0)
    model = export(encoder.model, encoder, tmp_path / "model")
    in_a_process(tmp_path, table, model, tmp_path / "run", config, kill_at=3)
    assert len(open_run(tmp_path / "run").metrics) == 3

    run = train(table, encoder, config, out=tmp_path / "run")

    assert [line["step"] for line in run.metrics] == list(range(1, 11))
    assert same(weights(run), weights(train(table, encoder, config, out=tmp_path / "whole")))


def test_other_workers_and_checkpoints_may_go_on_with_a_run(tmp_path, table, encoder):
    config = quick(checkpoint_every_steps=2)
    model = export(encoder.model, encoder, tmp_path / "model")
    in_a_process(tmp_path, table, model, tmp_path / "run", config, kill_at=7)

    run = train(table, encoder, quick(num_workers=1, checkpoint_every_steps=3), out=tmp_path / "run")

    assert same(weights(run), weights(train(table, encoder, config, out=tmp_path / "whole")))


def test_a_finished_run_is_returned_at_once(tmp_path, table, encoder):
    run = train(table, encoder, quick(), out=tmp_path / "run")

    def written() -> dict[Path, int]:
        found = (path for path in run.path.rglob("*") if path.is_file() and path.name != LOCK)
        return {path: path.stat().st_mtime_ns for path in found}

    before, told = written(), Told()

    again = train(table, encoder, quick(), out=tmp_path / "run", progress=told)

    assert again == run
    assert "finished already" in told.said[0]
    assert written() == before


def test_a_finished_run_is_found_again_after_scores_were_mapped(tmp_path, table, encoder):
    run = train(table, encoder, quick(), out=tmp_path / "run")
    cd.map_column(table, cd.steps.ChoiceScores(run.encoder()), "scores")

    assert train(table, encoder, quick(), out=tmp_path / "run") == run
    assert run.record["table"]["version"] < table.version


def test_rows_that_changed_make_it_another_run(tmp_path, table, encoder):
    train(table, encoder, quick(), out=tmp_path / "run")
    rows.upsert(table, contest_rows(44).slice(40))

    with pytest.raises(UsageError, match="the table was at version 2 and is at 3 now, with other rows"):
        train(table.latest(), encoder, quick(), out=tmp_path / "run")


def test_another_run_in_the_folder_is_refused_with_every_difference(tmp_path, table, encoder):
    train(table, encoder, quick(), out=tmp_path / "run")

    with pytest.raises(UsageError) as caught:
        train(table, tiny_encoder(seed=1), quick(lr=1.0, seed=4), out=tmp_path / "run", where=TRAIN)

    for part in (
        "lr was 0.003 and is 1.0 now",
        "seed was 0 and is 4",
        "the encoder was",
        "the filter was none",
        "--overwrite",
    ):
        assert part in str(caught.value)


def test_overwrite_discards_the_run_that_was_there(tmp_path, table, encoder):
    train(table, encoder, quick(), out=tmp_path / "run")
    (tmp_path / "run" / "notes.txt").write_text("mine")

    run = train(table, encoder, quick(epochs=1), out=tmp_path / "run", overwrite=True)

    assert len(run.metrics) == 5
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


def test_without_resume_a_folder_with_a_run_is_refused(tmp_path, table, encoder):
    train(table, encoder, quick(epochs=1), out=tmp_path / "run")

    with pytest.raises(UsageError, match="holds a run already"):
        train(table, encoder, quick(epochs=1), out=tmp_path / "run", resume=False)


def test_a_folder_with_other_files_is_left_alone(tmp_path, table, encoder):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("")

    with pytest.raises(UsageError, match=r"not empty and holds no training run \(it holds thesis.tex\)"):
        train(table, encoder, quick(), out=tmp_path / "home")


def test_two_processes_cannot_train_in_one_folder(tmp_path, table, encoder):
    with alone_in(tmp_path / "run", "training"), pytest.raises(TransientError, match=r"training .* is at work in"):
        train(table, encoder, quick(), out=tmp_path / "run")


def test_an_unfinished_run_has_no_encoder_yet(tmp_path, table, encoder):
    model = export(encoder.model, encoder, tmp_path / "model")
    in_a_process(tmp_path, table, model, tmp_path / "run", quick(), kill_at=7)

    with pytest.raises(NotFoundError, match="stands at step 5"):
        open_run(tmp_path / "run").encoder()


def test_a_folder_that_is_no_run_is_not_opened(tmp_path):
    with pytest.raises(NotFoundError, match="is no training run"):
        open_run(tmp_path)
