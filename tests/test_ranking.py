"""Recipes trained with several seeds, and runs ranked by recipe: what is told apart, on which rows, and what is not."""

from __future__ import annotations

import json
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import clipdata as cd
from clipdata.comparison.standings import letters_of, stand
from clipdata.encoder import export
from clipdata.errors import NotFoundError, SchemaError, UsageError
from clipdata.lance_io.table import open_table
from clipdata.training.evaluation import evaluate
from clipdata.training.shared_pass import shared_pass
from pipelines.cli.app import VERBS, main
from pipelines.cli.json_output import schema_of
from tests.contests import contest_table
from tests.forked import Forked
from tests.json_schemas import check_schema
from tests.telling import Told
from tests.tiny_models import tiny_encoder

TRAIN, TEST = "split = 'train'", "split = 'test'"
CHOSEN_BY = "md5(coalesce(`sha256`, `path`)) < '33'"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return tiny_encoder(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def table(encoder, tmp_path_factory):
    made = contest_table(tmp_path_factory.mktemp("ranking"), 120)
    cd.map_column(made, cd.steps.ImageTrunk(encoder), "trunk")
    return open_table(made.uri)


def config(**changes):
    plain = {"image_trunk": "trunk", "steps": 12, "batch_size": 24, "lr": 1e-2, "pull": 0.0, "init_logit_scale": 10.0}
    return cd.recipes.caption_contest(**{**plain, "checkpoint_every_epochs": 100, "canary": False, **changes})


RECIPES = {"fast": config(), "still": config(lr=1e-9), "quick": config(lr=1.1e-2)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("trials")


@pytest.fixture(scope="module")
def ranking(table, encoder, folder):
    return cd.train_recipes(table, encoder, RECIPES, out=folder, seeds=(0, 1), held_out=TEST)


def test_recipes_are_ranked_by_what_their_seeds_reach_and_told_apart_where_more_than_chance_is_between(ranking):
    assert ranking.recipes[-1].name == "still"
    assert {one.name for one in ranking.recipes[:2]} == {"fast", "quick"}
    first, second, third = (set(one.standing.letters) for one in ranking.recipes)
    assert first & second, "rates a tenth apart are not told apart"
    assert not third & (first | second)
    assert ranking.recipes[0].standing.to_start.verdict == "better"
    assert ranking.recipes[-1].standing.to_start.verdict == "unclear"
    assert [(one.seeds, len(one.runs), one.steps) for one in ranking.recipes] == [((0, 1), 2, 12)] * 3
    assert all(one.steps_s > 0 and one.seconds > 0 for one in ranking.recipes)


def test_a_rankings_figures_are_those_of_its_runs(ranking, table):
    best = ranking.best
    found = [evaluate(table, cd.open_run(run).encoder(), where=TEST).evaluation.metrics for run in best.runs]

    assert best.standing.by_seed == pytest.approx([one["accuracy"] for one in found])
    assert best.figures["mean_probability"] == pytest.approx(
        np.mean([one["mean_probability"] for one in found]), abs=1e-5
    )


def test_each_training_is_an_ordinary_run_that_names_its_recipe_and_all_read_the_same_rows(ranking, folder):
    runs = [cd.open_run(path) for path in sorted(folder.iterdir())]

    assert [run.path.name for run in runs] == [f"{name}-seed{k}" for name in ("fast", "quick", "still") for k in (0, 1)]
    assert {run.config.recipe for run in runs} == set(RECIPES)
    assert len({(run.record["table"]["version"], run.record["table"]["digest"]) for run in runs}) == 1
    assert all(run.record["table"]["where"].startswith(TRAIN) for run in runs)


def test_the_text_says_what_is_alike_and_that_the_best_is_lucky_on_rows_of_the_test(ranking):
    text = str(ranking)

    assert "is ahead, and not told apart from" in text
    assert "of the split test: a recipe chosen by them is lucky on them" in text
    assert "before training" in text
    assert "Holm" in text
    assert "<table>" in ranking._repr_html_()


def test_the_same_again_trains_nothing_and_ranks_the_same(ranking, table, encoder, folder):
    told = Told()
    again = cd.train_recipes(table, encoder, RECIPES, out=folder, seeds=(0, 1), held_out=TEST, progress=told)

    assert again.to_dict() == ranking.to_dict()
    assert not any(line.startswith("training on ") and "where" not in line for line in told.said)
    assert f"6 of 6 runs in {folder} are finished already" in told.said


def test_a_changed_recipe_is_refused_before_anything_is_trained(ranking, table, encoder, folder):
    changed = {"new": config(lr=3e-3), "fast": config(lr=2e-2)}

    with pytest.raises(UsageError, match=r"(?s)recipe fast: .*lr was 0.01 and is 0.02 now") as refused:
        cd.train_recipes(table, encoder, changed, out=folder, seeds=(0, 1), held_out=TEST)

    assert not (folder / "new-seed0").exists()
    assert "--overwrite" in str(refused.value)


def test_runs_are_put_together_by_what_was_trained_whatever_their_folders_are_called(ranking, table, folder, tmp_path):
    names = {"fast-seed0": "x", "fast-seed1": "y", "still-seed0": "z"}
    for run, name in names.items():
        shutil.copytree(folder / run, tmp_path / name)
    shutil.copytree(folder / "fast-seed1", tmp_path / "copy")
    shutil.copytree(folder / "still-seed1", tmp_path / "damaged")
    (tmp_path / "damaged" / "config.json").write_text("{")
    shutil.copytree(folder / "still-seed1", tmp_path / "unfinished")
    (tmp_path / "unfinished" / "summary.json").unlink()
    (tmp_path / "empty").mkdir()

    found = cd.compare_runs(table, [tmp_path / n for n in (*names.values(), "copy", "damaged", "unfinished", "empty")])

    assert {one.name: one.seeds for one in found.recipes} == {"fast": (0, 1), "still": (0,)}
    assert found.where == TEST, "the rows that the runs measured while they trained"
    why = {Path(path).name: reason for path, reason in found.left_out.items()}
    assert why["copy"] == "the same recipe and seed as y"
    assert "not finished" in why["unfinished"]
    assert set(why) == {"copy", "damaged", "unfinished", "empty"}
    assert "pictures only" in str(found), "one seed of a recipe tells nothing of others"
    assert all(path in str(found) for path in found.left_out)


def test_recipes_of_one_name_are_told_by_what_differs(table, encoder, tmp_path):
    for number, lr in enumerate((1e-9, 1e-2)):
        cd.train(table, encoder, config(lr=lr, steps=1, recipe="plain"), out=tmp_path / str(number), where=TRAIN)

    found = cd.compare_runs(table, [tmp_path / "0", tmp_path / "1"], where=TEST)

    assert {one.name for one in found.recipes} == {"plain:lr=1e-09", "plain:lr=0.01"}


def test_models_of_one_trunk_see_pictures_once_and_measure_what_evaluate_does(ranking, table, encoder, monkeypatch):
    """Without a column of features, too: the pictures then go through the trunk for the first model alone."""
    seen = []
    trunk = type(encoder).image_trunk
    monkeypatch.setattr(type(encoder), "image_trunk", lambda one, image: seen.append(len(image)) or trunk(one, image))
    bare = open_table(table.uri, version=table.version)
    about = cd.objectives.Choice()
    rows = shared_pass(bare, about, TEST, [replace(config(), image_trunk=None)], Told())
    monkeypatch.setattr(rows.__class__, "_column_of", lambda self, encoder: None)

    found = [rows.measure(cd.open_run(run).encoder()) for one in ranking.recipes for run in one.runs]

    assert sum(seen) == bare.count_rows(TEST)
    for one, recipe in zip(found[::2], ranking.recipes, strict=True):
        assert one.metrics["accuracy"] == pytest.approx(recipe.standing.by_seed[0])
        assert one.num_rows == bare.count_rows(TEST)
    assert "held_out_loss" in found[0].metrics


def test_without_a_validation_a_fifth_of_the_rows_is_split_off_picture_by_picture(table, encoder, tmp_path):
    told = Told()
    found = cd.train_recipes(table, encoder, {"fast": config(steps=2)}, seeds=[0], out=tmp_path, progress=told)

    split_off = table.count_rows(f"({TRAIN}) AND {CHOSEN_BY}")
    assert (found.rows, found.where) == (split_off, f"({TRAIN}) AND {CHOSEN_BY}")
    assert found.best.rows == table.count_rows(TRAIN) - split_off
    assert any("a fifth of the rows to train on is split off" in line for line in told.said)
    assert not any("split test" in note for note in found.notes)
    sides = [
        set(table.to_table(["sha256"], where=where).column(0).to_pylist())
        for where in (found.where, cd.open_run(found.best.runs[0]).record["table"]["where"])
    ]
    assert not sides[0] & sides[1]
    assert found.best.standing.to_best is None
    assert "one seed tells nothing of how trainings differ" in str(found)


def test_all_runs_read_the_version_that_the_first_ones_read(table, encoder, tmp_path):
    copied = shutil.copytree(table.uri, tmp_path / "t.lance")
    first = cd.train_recipes(copied, encoder, {"fast": config(steps=1)}, seeds=[0], held_out=TEST, out=tmp_path / "out")
    cd.map_column(copied, cd.steps.LabelIndex("label_ind"), "again")
    told = Told()

    both = cd.train_recipes(
        copied, encoder, {"fast": config(steps=1)}, seeds=[0, 1], held_out=TEST, out=tmp_path / "out", progress=told
    )

    assert {cd.open_run(run).record["table"]["version"] for run in both.best.runs} == {first.version}
    assert any(line.startswith(f"reading version {first.version} of") for line in told.said)


WRONG = {
    "no recipe": ({}, {}, "expected configs by name"),
    "the same twice": ({"a": config(), "b": config(seed=3)}, {}, "a and b are the same config"),
    "names that share a folder": ({"a b": config(), "a/b": config(lr=1.0)}, {}, "would share a folder"),
    "a seed twice": ({"a": config()}, {"seeds": (0, 0)}, "each once"),
    "held-out rows are trained on": ({"a": config()}, {"held_out": "label_ind = 0", "where": TRAIN}, "both held out"),
    "no such figure": ({"a": config()}, {"figure": "beauty"}, "it has accuracy, mean_probability"),
    "no row is held out": ({"a": config()}, {"held_out": "split = 'none'"}, "has no row to measure"),
}


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG)
def test_what_ranks_nothing_is_refused_before_any_training(case, table, encoder, tmp_path):
    recipes, options, said = case

    with pytest.raises(UsageError, match=said):
        cd.train_recipes(table, encoder, recipes, out=tmp_path / "out", **{"held_out": TEST, **options})

    assert not (tmp_path / "out").exists()


def test_a_recipe_that_the_table_does_not_fit_or_that_reads_other_rows_is_named(table, encoder, tmp_path):
    recipes = {"a": config(), "b": config(image_trunk="features")}
    with pytest.raises(SchemaError, match=r"recipe b: .*no column 'features'"):
        cd.train_recipes(table, encoder, recipes, out=tmp_path, held_out=TEST)

    copied = shutil.copytree(table.uri, tmp_path / "t.lance")

    @cd.step(reads=["path", "label_ind"], returns="int32", version="1")
    def some_labels(path, label):
        return None if path < "00010.png" else label

    cd.map_column(copied, some_labels, "some")
    recipes = {"a": config(), "b": config(label="some")}
    with pytest.raises(UsageError, match="recipe a reads 96 rows and b reads"):
        cd.train_recipes(copied, encoder, recipes, out=tmp_path / "out", held_out=TEST)


def test_a_recipe_that_chooses_its_mixture_on_some_rows_stands_beside_one_that_does_not(table, encoder, tmp_path):
    recipes = {"plain": config(steps=2), "mixed": config(steps=2, wise_ft="auto")}

    found = cd.train_recipes(table, encoder, recipes, seeds=[0], out=tmp_path, held_out=TEST)

    assert {one.name for one in found.recipes} == {"plain", "mixed"}
    assert cd.open_run(tmp_path / "mixed-seed0").mixture is not None


def test_recipes_that_train_for_different_things_are_measured_by_what_the_table_asks_for(table, encoder, tmp_path):
    recipes = {
        "choice": config(steps=1),
        "pairs": config(steps=1, objective="multi_positive", text="caption_choices", captions="first"),
    }
    found = cd.train_recipes(table, encoder, recipes, seeds=[0], held_out=TEST, out=tmp_path)

    assert found.objective == "choice"
    assert any("choice for choice, pairs for multi_positive" in note for note in found.notes)
    about_others = {name: config(steps=1, objective=name, text="caption_choices") for name in ("siglip", "contrastive")}
    with pytest.raises(UsageError, match="siglip for siglip, contrastive for contrastive; expected one"):
        cd.train_recipes(table, encoder, about_others, seeds=[0], held_out=TEST, out=tmp_path)


def test_runs_of_two_tables_or_of_versions_with_other_rows_are_refused_with_both_named(table, encoder, tmp_path):
    other = contest_table(tmp_path, 60, seed=1, name="other.lance")
    plain = config(image_trunk=None, steps=1)
    one = cd.train(table, encoder, plain, out=tmp_path / "one", where=TRAIN)
    two = cd.train(other, encoder, plain, out=tmp_path / "two", where=TRAIN)

    with pytest.raises(UsageError, match=r"one was trained on .*contest\.lance, and .*two on .*other\.lance"):
        cd.compare_runs(table, [one, two], where=TEST)

    cd.delete(other, "path = '00000.png'")
    three = cd.train(other, encoder, plain, out=tmp_path / "three", where=TRAIN)
    with pytest.raises(UsageError, match=r"two was trained on version .*three on version .*other rows"):
        cd.compare_runs(other, [two, three], where=TEST)
    with pytest.raises(UsageError, match="nothing tells which rows"):
        cd.compare_runs(other, [three])
    with pytest.raises(NotFoundError, match="nowhere"):
        cd.compare_runs(other, [tmp_path / "nowhere"])


def test_letters_say_exactly_which_are_told_apart():
    order = ["a", "b", "c", "d"]
    told = [("d", "a"), ("d", "b"), ("c", "a")]

    letters = letters_of(order, told)

    apart = {frozenset((x, y)) for x in order for y in order if not set(letters[x]) & set(letters[y])}
    assert apart == {frozenset(pair) for pair in told}
    assert letters["a"][0] == "a"
    assert letters_of(["a"], []) == {"a": "a"}


def test_recipes_that_are_the_same_are_hardly_ever_told_apart_and_the_start_is_no_draw_of_a_seed():
    rng = np.random.default_rng(0)
    picture_N = np.repeat(np.arange(100), 2)
    wrong = held = 0
    for _ in range(200):
        start_C, shift_C = rng.normal(size=(2, 100))

        def recipe(start_C=start_C):
            own_C = start_C + 0.3 * rng.normal(size=100)
            return [(own_C + 0.02 * rng.normal() + 0.3 * rng.normal(size=100))[picture_N] for _ in range(3)]

        found = stand({name: recipe() for name in "abcd"}, {}, picture_N)
        wrong += any(one.is_told for one in found.pairs)
        to_start = (
            stand({"a": recipe(start_C + 0.3 * shift_C)}, {"a": start_C[picture_N]}, picture_N).recipes[0].to_start
        )
        held += to_start.found.low <= 0.0 <= to_start.found.high
        assert to_start.found.over == "seeds and pictures"

    assert wrong / 200 <= 0.05 + 3 * (0.05 * 0.95 / 200) ** 0.5
    assert held / 200 >= 0.95 - 3 * (0.05 * 0.95 / 200) ** 0.5


def run(capsys, *words, verb):
    code = main([verb, *map(str, words), "--json"])
    out, err = capsys.readouterr()
    found = json.loads(out)
    known = next(one for one in VERBS if one.words == verb)
    check_schema(found, schema_of(known.words, known.found))
    return code, found, err


@pytest.fixture(scope="module")
def model(encoder, tmp_path_factory):
    return export(encoder.model, encoder, tmp_path_factory.mktemp("exported") / "tiny")


SETTINGS = ["image_trunk=trunk", "steps=2", "batch_size=24", "canary=false"]


def test_the_command_trains_variants_of_recipes_and_compares_their_runs(table, model, capsys, tmp_path):
    (tmp_path / "mine.json").write_text(json.dumps({"recipe": "caption_contest", "lr": 3e-3, "betas": [0.8, 0.9]}))
    words = [table.uri, "--model", model, "--out", tmp_path / "out", "--held-out", TEST, "--seeds", "0"]
    words += [word for one in SETTINGS for word in ("--set", one)]
    listed = f"caption-contest,caption-contest:lr=1e-4,pull=0,{tmp_path}/mine.json"

    code, plan, err = run(capsys, *words, "--recipes", listed, "--dry-run", verb="train")
    assert (code, plan["trials"]["runs"], plan["trials"]["finished"]) == (0, 3, 0), err
    assert not (tmp_path / "out").exists()
    code, found, err = run(capsys, *words, "--recipes", listed, verb="train")

    assert code == 0, err
    names = {"caption-contest", "caption-contest:lr=1e-4,pull=0", "mine"}
    assert {one["name"] for one in found["ranking"]["recipes"]} == names
    assert (tmp_path / "out" / "caption-contest-lr=1e-4-pull=0-seed0").is_dir()
    mine = cd.open_run(tmp_path / "out" / "mine-seed0").config
    assert (mine.lr, mine.betas, mine.recipe, mine.steps) == (3e-3, (0.8, 0.9), "mine", 2)
    code, compared, err = run(capsys, table.uri, "--runs", *(tmp_path / "out").iterdir(), verb="compare")
    assert code == 0, err
    order = [[one["name"] for one in which["ranking"]["recipes"]] for which in (found, compared)]
    assert order[0] == order[1], "of runs/* as a shell spreads it"
    first = tmp_path / "out" / "mine-seed0"
    code = main(
        ["compare", table.uri, "--runs", f"{first},{tmp_path}/out/*contest-seed*", "--figure", "mean_probability"]
    )
    text = capsys.readouterr().out
    assert code == 0
    assert text.startswith("2 recipes by mean probability")
    assert "recipes that share a letter are not told apart" in text


COMMANDS = {
    "a recipe that is none": (["--recipes", "captain"], 2, "captain"),
    "a file that is not there": (["--recipes", "my.json"], 3, "my.json"),
    "a setting of nothing": (["--recipes", "lr=3"], 2, "of no recipe"),
    "a setting that is none": (["--recipes", "caption-contest:lrr=3"], 2, "lrr"),
    "a recipe twice": (["--recipes", "caption-contest,caption-contest"], 2, "twice"),
    "an empty name": (["--recipes", "caption-contest,"], 2, "--recipes"),
    "seeds that are none": (["--seeds", "a"], 2, "--seeds"),
    "one recipe beside several": (["--recipes", "caption-contest", "--recipe", "x"], 2, "--recipe x"),
    "scores of several models": (["--seeds", "0", "--write-back", "s"], 2, "--write-back"),
    "ranked rows of one run": (["--held-out", TEST], 2, "--recipes A,B"),
}


@pytest.mark.parametrize("case", COMMANDS.values(), ids=COMMANDS)
def test_wrong_words_are_told(case, table, model, capsys, tmp_path):
    words, expected, said = case
    code, found, _ = run(capsys, table.uri, "--model", model, "--out", tmp_path / "out", *words, verb="train")

    assert code == expected
    assert said in found["error"]["message"] + (found["error"]["hint"] or "")
    assert not (tmp_path / "out").exists()


def test_what_is_about_columns_is_refused_where_runs_are_compared(ranking, table, folder, capsys):
    code, found, _ = run(
        capsys, table.uri, "--runs", folder, "--by", "split", "--fail-if", "mean.low < 0", verb="compare"
    )

    assert (code, found["error"]["message"]) == (2, "compare: --by, --fail-if: about columns, and runs are compared")


class Interrupting(Told):
    """Is interrupted as the third run begins."""

    def say(self, text):
        super().say(text)
        if text.startswith("run 3 of 3"):
            raise KeyboardInterrupt


def test_a_list_of_trainings_that_was_killed_or_interrupted_goes_on_with_what_is_missing(
    ranking, table, encoder, model, tmp_path
):
    """A real process, killed in its second run; then an interrupted one; the third goes to the end."""
    whole, out = tmp_path / "whole", tmp_path / "out"
    plain = {"one": config(steps=24, checkpoint_every_steps=4)}
    words = ["-m", "clipdata", "train", table.uri, "-m", str(model), "--out", str(out)]
    fields = {name: value for name, value in plain["one"].to_json().items() if name not in ("recipe", "seed")}
    (tmp_path / "one.json").write_text(json.dumps(fields))
    words += ["--recipes", str(tmp_path / "one.json"), "--seeds", "0,1,2", "--held-out", TEST]
    begun = Forked(words)
    deadline = time.monotonic() + 300
    while begun.poll() is None and not list((out / "one-seed1" / "checkpoints").glob("step-*")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    begun.send_signal(signal.SIGKILL)
    assert begun.wait() == -signal.SIGKILL
    assert not (out / "one-seed2").exists()

    told, options = Interrupting(), {"seeds": (0, 1, 2), "held_out": TEST}
    with pytest.raises(KeyboardInterrupt):
        cd.train_recipes(table, encoder, plain, out=out, **options, progress=told)
    assert f"1 of 3 runs in {out} are finished already" in told.said
    assert told.said[-1] == f"2 of 3 runs in {out} are finished; the same command goes on"

    found = cd.train_recipes(table, encoder, plain, out=out, **options)
    at_once = cd.train_recipes(table, encoder, plain, out=whole, seeds=[1], held_out=TEST)
    assert found.best.standing.by_seed[1] == at_once.best.standing.by_seed[0]
    weights = [
        (folder / "one-seed1" / "export" / "open_clip_model.safetensors").read_bytes() for folder in (out, whole)
    ]
    assert weights[0] == weights[1]
