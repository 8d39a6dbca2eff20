"""Curation: what filters keep, and whether a model that is trained on it is the better one."""

import json

import numpy as np
import pyarrow as pa
import pytest

import clipdata as cd
from clipdata.curation import Proof
from clipdata.errors import SchemaError, UsageError
from clipdata.lance_io.table import open_table
from pipelines.cli.app import VERBS, main
from pipelines.cli.json_output import schema_of
from tests.contests import contest_table
from tests.json_schemas import check_schema
from tests.telling import Told
from tests.tiny_models import tiny_encoder

TRAIN, TEST = "split = 'train'", "split = 'test'"


@pytest.fixture(scope="module")
def encoder():
    return tiny_encoder()


@pytest.fixture(scope="module")
def table(encoder, tmp_path_factory):
    """150 rows; `trust` is 0, …, 149, and `given` is a wrong label in the 60 of least trust to train on."""
    made = contest_table(tmp_path_factory.mktemp("curation"), 150)
    rows = made.to_table(["path", "label_ind", "caption_choices", "split"])
    wrong = {row["path"] for row in rows.slice(0, 75).to_pylist() if row["split"] == "train"}

    @cd.step(reads="path", returns="int32")
    def trust(path):
        return int(path[:5])

    @cd.step(reads=["path", "label_ind", "caption_choices"], returns="int32", version="1")
    def given(path, label, choices):
        return (label + 1) % len(choices) if path in wrong else label

    cd.map_column(made, trust, "trust")
    cd.map_column(made, given, "given")
    cd.map_column(made, cd.steps.ImageTrunk(encoder), "trunk")
    return open_table(made.uri)


@pytest.fixture(scope="module")
def config():
    return cd.recipes.caption_contest(
        label="given",
        image_trunk="trunk",
        steps=40,
        batch_size=24,
        lr=1e-2,
        pull=0.0,
        init_logit_scale=10.0,
        checkpoint_every_epochs=100,
    )


@pytest.fixture(scope="module")
def proof(table, encoder, config, tmp_path_factory):
    kept = cd.curate(table, ["trust >= 75"], where=TRAIN)
    return cd.prove(kept, encoder, config, held_out=TEST, seeds=(0, 1), out=tmp_path_factory.mktemp("proof"))


def test_filters_keep_what_their_conditions_say_and_shares_are_of_the_rows_to_choose_from(table):
    kept = cd.curate(
        table, ["trust >= 10", "top_share(trust, 0.5)", cd.filters.Filter("even", "trust % 2 = 0")], where=TRAIN
    )

    rows = table.to_table(["trust"], where=TRAIN).column("trust").to_numpy()
    upper = np.sort(rows)[len(rows) // 2 :]
    assert [stage.alone for stage in kept.funnel.stages] == [(rows >= 10).sum(), len(upper), (rows % 2 == 0).sum()]
    assert kept.num_kept == (upper % 2 == 0).sum() == table.count_rows(kept.where)
    assert str(kept).endswith(f'--where "{kept.where}"') or "'" in str(kept).splitlines()[-1]


def test_better_rows_are_proven_to_make_the_better_model(proof, table):
    assert isinstance(proof, Proof)
    assert proof.verdict == "better"
    assert [(arm.name, arm.rows, len(arm.runs)) for arm in proof.arms] == [
        ("all", 120, 2),
        ("kept", 60, 2),
        ("random", 60, 2),
    ]
    assert proof.against_random["accuracy"].difference > 0
    assert proof.against_all["accuracy"].num_rows == table.count_rows(TEST) == 30
    text = str(proof)
    assert "the rows kept make the better model (by accuracy)" in text
    assert "kept - random" in text


def test_a_proofs_figures_are_those_of_its_runs(proof, table):
    after = [
        cd.evaluate(
            table, cd.open_run(run).encoder(), cd.objectives.Choice(label="given"), where=TEST, image_trunk="trunk"
        )
        for run in proof.arms[1].runs
    ]

    found = [one.evaluation.metrics["mean_probability"] for one in after]
    assert proof.against_all["mean_probability"].after_by_seed == pytest.approx(tuple(found), abs=1e-6)


def test_the_same_proof_again_trains_nothing(proof, table, encoder, config):
    told = Told()
    kept = cd.curate(table, ["trust >= 75"], where=TRAIN)

    again = cd.prove(
        kept, encoder, config, held_out=TEST, seeds=(0, 1), out=_folder(proof), control=False, progress=told
    )

    assert again.against_all == proof.against_all
    assert not again.against_random
    assert not any("training on" in line for line in told.said)


def test_rows_at_random_are_others_for_every_seed(proof):
    first, second = (set(cd.open_run(run).trained_rows.keys.tolist()) for run in proof.arms[2].runs)

    assert len(first) == len(second) == 60
    assert first != second


def test_a_proof_says_what_held_out_rows_share_with_rows_to_train_on_and_what_one_seed_cannot_tell(encoder, tmp_path):
    made = contest_table(tmp_path, 20)

    @cd.step(reads="path", returns="string")
    def looks(path):
        return f"{int(path[:5]) // 2:016x}"  # two pictures each look alike

    cd.map_column(made, looks, "looks")
    cd.map_column(made, cd.steps.NearDuplicates(made, "looks", radius=0, column="alike"), "alike")
    cd.map_column(made, cd.steps.ImageTrunk(encoder), "trunk")
    config = cd.recipes.caption_contest(image_trunk="trunk", steps=1, batch_size=4)
    kept = cd.curate(made, ["path < '00008'"], where="path < '00011'")
    told = Told()

    proof = cd.prove(
        kept,
        encoder,
        config,
        held_out="path >= '00011'",
        seeds=[0],
        control=False,
        out=tmp_path / "proof",
        progress=told,
    )

    said = "1 of the 9 rows to measure show pictures that look like some that are trained on: these are no evidence"
    assert proof.overlap == said
    assert told.said.count(said) == 1
    assert said in str(proof)
    assert "over pictures only: one seed tells nothing" in str(proof)


WRONG = {
    "held-out rows are trained on": (["trust >= 75"], TRAIN, "trust > 145", (0,), "both held out"),
    "all rows are trained on": (["trust >= 75"], None, TEST, (0,), "30 rows are both held out"),
    "all are kept": (["trust >= 0"], TRAIN, TEST, (0,), "keep all 120 rows"),
    "none is kept": (["trust > 999"], TRAIN, TEST, (0,), "keep none of the 120 rows"),
    "no seed": (["trust >= 75"], TRAIN, TEST, (), "one or more"),
    "a seed twice": (["trust >= 75"], TRAIN, TEST, (1, 1), "each once"),
    "no filter": ([], TRAIN, TEST, (0,), "no filter was given"),
    "nothing is held out": (["trust >= 75"], TRAIN, "split = 'val'", (0,), "measure"),
}


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG)
def test_what_proves_nothing_is_refused_before_any_training(case, table, encoder, config, tmp_path):
    filters, where, held_out, seeds, said = case
    with pytest.raises(UsageError, match=said):
        cd.prove(
            cd.curate(table, filters, where=where), encoder, config, held_out=held_out, seeds=seeds, out=tmp_path / "x"
        )
    assert not (tmp_path / "x").exists()


def test_a_figure_that_the_objective_has_not_is_refused(table, encoder, config, tmp_path):
    with pytest.raises(UsageError, match="accuracy, mean_probability"):
        cd.prove(
            cd.curate(table, ["trust >= 75"], where=TRAIN),
            encoder,
            config,
            held_out=TEST,
            out=tmp_path,
            figure="recall",
        )


def _folder(proof):
    return proof.arms[0].runs[0].rpartition("/")[0]


def run(capsys, *words):
    code = main([*map(str, words), "--json"])
    out, err = capsys.readouterr()
    found = json.loads(out)
    verb = next(one for one in VERBS if one.words == "curate")
    check_schema(found, schema_of(verb.words, verb.found))
    return code, found, err


def test_the_command_shows_the_funnel_of_the_training_rows(table, capsys):
    code, found, _ = run(capsys, "curate", table.uri, "--keep", "top_share(trust, 0.25)", "--keep", "trust <> 149")

    assert code == 0
    assert (found["where"], found["rows"], found["kept"], found["proof"]) == (TRAIN, 120, 30, None)


def test_the_command_proves_and_its_gate_holds(table, capsys, tmp_path, encoder):
    from clipdata.encoder import export

    model = export(encoder.model, encoder, tmp_path / "tiny")
    words = ["curate", table.uri, "--keep", "trust >= 75", "--prove", "-m", model, "--out", tmp_path / "out"]
    words += [
        "--seeds",
        "0",
        "--no-control",
        "--set",
        "label=given",
        "--set",
        "steps=1",
        "--set",
        "lr=1e-9",
        "--set",
        "image_trunk=trunk",
    ]

    code, found, err = run(capsys, *words, "--must-help")

    assert code == 7, err
    assert "the verdict is" in found["error"]["message"]
    code, found, _ = run(capsys, *words)
    assert (code, found["proof"]["verdict"]) == (0, "unclear")
    assert [arm["steps"] for arm in found["proof"]["arms"]] == [1, 1]


COMMANDS = {
    "no filter": ([], 2, "no filter"),
    "a column that is not there": (["--keep", "sharpness > 3"], 2, "sharpness"),
    "no condition": (["--keep", "trust >"], 2, "trust >"),
    "a recipe's name mistyped": (["--keep", "laion-2b-em"], 2, "laion-2b-en"),
    "a share that is none": (["--keep", "top_share(trust, 3)"], 2, "share"),
    "settings without a proof": (["--keep", "trust > 3", "--set", "steps=3", "--held-out", "trust > 9"], 2, "--set"),
    "a gate without a proof": (["--keep", "trust > 3", "--must-help"], 2, "--prove"),
    "seeds that are none": (["--keep", "trust > 3", "--prove", "--seeds", "a"], 2, "--seeds"),
}


@pytest.mark.parametrize("case", COMMANDS.values(), ids=COMMANDS)
def test_wrong_words_are_told(case, table, capsys):
    words, expected, said = case
    code, found, _ = run(capsys, "curate", table.uri, *words)

    assert code == expected
    assert said in found["error"]["message"] + (found["error"]["hint"] or "")


def test_a_table_without_a_split_says_how_to_make_one(tmp_path, capsys):
    import lance

    uri = str(tmp_path / "plain.lance")
    lance.write_dataset(pa.table({"path": ["a", "b"], "score": [0.1, 0.9]}), uri)

    code, found, _ = run(capsys, "curate", uri, "--keep", "score > 0.5", "--prove")

    assert code == 2
    assert "pair-split" in found["error"]["hint"]
    assert run(capsys, "curate", uri, "--keep", "score > 0.5")[1]["kept"] == 1


def test_a_column_that_no_filter_can_judge_is_a_fault_of_the_table(table):
    with pytest.raises(SchemaError, match="caption_choices"):
        cd.curate(table, ["top_share(caption_choices, 0.5)"])
