"""Which recipe is chosen: by counts and towers, by what the model answers before training, and by what is asked for."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

import clipdata as cd
from clipdata.lance_io import rows
from clipdata.training.recipe_choice import FLYP_FROM, LORA_FROM, Facts, choose
from tests.contests import contest_rows, contest_table
from tests.telling import Told
from tests.tiny_models import tiny_dual_encoder, tiny_encoder


@pytest.mark.parametrize(
    ("facts", "recipe", "because"),
    [
        (Facts(60), "projections", "learned by heart"),
        (Facts(4_000, num_pictures=60), "projections", "4,000 rows of 60 pictures"),
        (Facts(LORA_FROM, on_gpu=True), "lora", "adapters in both trunks"),
        (Facts(LORA_FROM, on_gpu=True, batchnorm=True), "projections", "BatchNorm takes no adapters"),
        (Facts(LORA_FROM, on_gpu=True, attention=False), "projections", "no attention"),
        (Facts(LORA_FROM), "projections", "hours on a CPU"),
        (Facts(FLYP_FROM, on_gpu=True, batchnorm=True), "flyp", "all weights"),
        (Facts(FLYP_FROM, on_gpu=True, heads_alone=True), "projections", "features of a column"),
        (Facts(60, reads=False), "projections", "learns to read from 300 pictures on"),
        (Facts(300, reads=False), "unread_texts", "no better than by guessing"),
        (Facts(300, reads=False, text_weights=11_000_000), "projections", "11 million weights learns to read on a GPU"),
        (Facts(300, reads=False, text_weights=11_000_000, on_gpu=True), "unread_texts", "to learn to read"),
        (Facts(300, reads=False, train="projections"), "projections", "train=projections is asked for"),
        (Facts(60, train="all"), "flyp", "train=all is asked for"),
    ],
)
def test_rows_pictures_towers_and_what_is_asked_for_choose(facts: Facts, recipe: str, because: str) -> None:
    chosen = choose(facts)

    assert chosen.name == recipe
    assert because in str(chosen)


def test_a_recipe_that_takes_long_is_named_with_what_to_type() -> None:
    assert "--recipe lora" in str(choose(Facts(LORA_FROM)))
    assert "--recipe flyp" in str(choose(Facts(FLYP_FROM)))
    assert "--recipe" not in str(choose(Facts(60)))


def test_the_pull_goes_by_distinct_pictures() -> None:
    alone, many = cd.recipes.auto(Facts(60)), cd.recipes.auto(Facts(600, num_pictures=60))

    assert many.pull / 600 == pytest.approx(alone.pull / 60)
    assert alone.recipe == "auto: projections"


def test_a_model_that_is_mostly_right_is_pulled_by_the_odds_of_it() -> None:
    pulls = [cd.recipes.auto(Facts(60, skill=skill)).pull for skill in (0.0, 0.5, 0.75, 0.9, 1.0)]

    assert pulls == pytest.approx([1, 1, 3, 9, 49])


def test_what_is_given_wins_over_what_is_chosen() -> None:
    config = cd.recipes.auto(Facts(60), lr=3e-5, pull=0.5, label="place")

    assert (config.lr, config.pull, config.objective) == (3e-5, 0.5, cd.objectives.Choice(label="place"))


def known_contest(folder, encoder: cd.Encoder, num_rows: int):
    """A contest whose right captions are those that the model itself takes."""
    held = contest_rows(num_rows)
    table = contest_table(folder, num_rows)
    cd.map_column(table, cd.steps.ChoiceScores(encoder), "own")
    taken = [int(np.argmax(scores)) for scores in table["own"].to_pylist()]
    answered = held.set_column(held.schema.get_field_index("label_ind"), "label_ind", pa.array(taken, pa.int32()))
    made = rows.create_table(folder / "known.lance", held.schema)
    rows.upsert(made, answered.cast(held.schema))
    return cd.open_table(folder / "known.lance")


def test_a_model_that_answers_like_one_that_guesses_is_to_learn_to_read(tmp_path) -> None:
    encoder, told = tiny_encoder(), Told()

    unread = cd.choose_recipe(contest_table(tmp_path, 300, name="unread.lance"), encoder, progress=told)
    known = cd.choose_recipe(known_contest(tmp_path, encoder, 60), encoder, progress=told)

    assert (unread.recipe, unread.train) == ("auto: unread_texts", "text")
    assert (known.recipe, known.train) == ("auto: projections", "projections")
    assert known.pull > 40
    assert "auto: unread_texts; 300 rows, which the model answers no better than by guessing" in told.said[0]
    assert "auto: projections; 60 rows: with fewer" in told.said[-2]


def test_of_too_few_rows_nobody_can_tell_and_the_safe_recipe_is_taken(tmp_path) -> None:
    for num_rows in (1, 4, 12):
        table = contest_table(tmp_path, num_rows, name=f"{num_rows}.lance")
        assert cd.choose_recipe(table, tiny_encoder()).recipe == "auto: projections"


def test_the_column_of_the_models_own_trunk_is_found_and_read(tmp_path) -> None:
    encoder, told = tiny_encoder(), Told()
    table = contest_table(tmp_path, 12)

    without = cd.choose_recipe(table, encoder, progress=told)
    cd.map_column(table, cd.steps.ImageTrunk(tiny_encoder(seed=1)), "another_models")
    cd.map_column(table, cd.steps.ImageTrunk(encoder), "seen")

    assert without.image_trunk is None
    assert "clipdata map" in "\n".join(told.said)
    assert cd.choose_recipe(table, encoder).image_trunk == "seen"
    assert cd.choose_recipe(table, encoder, image_trunk=None).image_trunk is None
    assert cd.choose_recipe(table, encoder, train="all").image_trunk is None


def test_training_without_a_config_trains_by_auto_and_says_so(tmp_path) -> None:
    encoder, told = tiny_encoder(), Told()
    table = contest_table(tmp_path, 12)
    cd.map_column(table, cd.steps.ImageTrunk(encoder), "seen")

    run = cd.train(table, encoder, out=tmp_path / "run", where="split = 'train'", progress=told)
    again = cd.train(table, encoder, out=tmp_path / "run", where="split = 'train'")

    assert (run.config.recipe, run.config.image_trunk) == ("auto: projections", "seen")
    assert len(again.metrics) == len(run.metrics)
    assert any(line.startswith("auto: projections; 10 rows") for line in told.said)


def test_a_tower_with_batchnorm_is_warned_of_when_all_of_it_trains_on_few_rows(tmp_path) -> None:
    encoder, all_of_it, head = tiny_dual_encoder(tmp_path), Told(), Told()
    table = contest_table(tmp_path, 12)

    few = {"steps": 1, "batch_size": 4}
    cd.train(table, encoder, cd.TrainConfig(train="all", **few), out=tmp_path / "all", progress=all_of_it)
    cd.train(table, encoder, cd.TrainConfig(**few), out=tmp_path / "head", progress=head)

    warned = "has BatchNorm, and 12 rows are few for train=all"
    assert warned in "\n".join(all_of_it.said)
    assert "has BatchNorm" not in "\n".join(head.said)
