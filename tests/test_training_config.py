"""Everything that decides how a model is trained, as a value."""

import json

import pytest

from clipdata.errors import ConfigError
from clipdata.training import recipes
from clipdata.training.config import TrainConfig
from clipdata.training.objectives import Choice, ClassPrompts, Contrastive, SigLip


def test_a_wrong_config_names_all_its_faults_at_once():
    with pytest.raises(ConfigError) as caught:
        TrainConfig(epochs=0, lr=-1, betas=(0.9, 1.0), grad_clip=0)

    assert [problem.split(" is ")[0] for problem in caught.value.problems] == ["epochs", "lr", "betas", "grad_clip"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", "5"),
        ("epochs", True),
        ("lr", None),
        ("lr", float("nan")),
        ("optimizer", "lion"),
        ("betas", (0.9,)),
        ("train", "heads"),
        ("num_threads", 0),
        ("warmup_steps", -1),
        ("learn_logit_scale", 1),
        ("evaluate_where", 3),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(field, value):
    with pytest.raises(ConfigError, match=field):
        TrainConfig(**{field: value})


def test_trunk_features_cannot_train_more_than_projections():
    with pytest.raises(ConfigError, match="can only train what lies behind them"):
        TrainConfig(image_trunk="trunk", train="all")


def test_an_objective_is_named_and_its_fields_stand_beside_those_of_the_config():
    config = TrainConfig().with_settings(
        {"objective": "contrastive", "text": "title", "captions": "longest", "lr": "1"}
    )

    assert config == TrainConfig(objective=Contrastive("title", captions="longest"), lr=1.0)
    assert TrainConfig.from_json({"objective": "siglip", "text": "title"}).objective == SigLip("title")
    assert TrainConfig(objective="class_prompts").objective == ClassPrompts()
    assert recipes.caption_contest(choices="captions").objective == Choice("captions")


def test_a_template_may_hold_commas_and_several_are_a_json_list():
    one = TrainConfig().with_settings({"objective": "class_prompts", "templates": "a photo of {}, a type of pet"})
    two = TrainConfig().with_settings({"objective": "class_prompts", "templates": '["a {}", "the {}, drawn"]'})

    assert one.objective.templates == ("a photo of {}, a type of pet",)
    assert two.objective.templates == ("a {}", "the {}, drawn")


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"objective": "contrastiv"}, "no objective 'contrastiv'; did you mean contrastive"),
        ({"objective": "contrastive", "choices": "c"}, "no field 'choices'"),
        ({"objective": {"kind": "contrastive", "captions": "shortest"}}, "captions is 'shortest'; expected 'first'"),
        ({"objective": {"text": "c"}}, "expected the name of one"),
        ({"objective": {"kind": "class_prompts", "templates": ["a photo"]}}, "has no braces"),
        ({"objective": {"kind": "class_prompts", "classes": ["cat", "cat"]}}, "classes names cat twice"),
        ({"best": "accuracy", "evaluate_where": None}, "no row is measured"),
        ({"init_logit_scale": 101.0}, "init_logit_scale is 101.0; expected a number above 0 up to 100"),
    ],
)
def test_an_objective_that_is_none_is_refused(given, found):
    with pytest.raises(ConfigError) as caught:
        TrainConfig.from_json(given)

    assert found in "\n".join(caught.value.problems)


def test_settings_are_read_as_the_types_of_their_fields():
    config = TrainConfig().with_settings(
        {
            "lr": "1e-4",
            "epochs": "7",
            "betas": "0.9, 0.99",
            "learn_logit_scale": "no",
            "grad_clip": "none",
            "image_trunk": "trunk",
            "num_threads": "3",
            "evaluate_where": "split = 'test'",
        }
    )

    assert (config.lr, config.epochs, config.betas, config.learn_logit_scale) == (1e-4, 7, (0.9, 0.99), False)
    assert (config.grad_clip, config.image_trunk, config.num_threads) == (None, "trunk", 3)
    assert config.evaluate_where == "split = 'test'"


def test_settings_keep_the_fields_they_do_not_name():
    assert TrainConfig(epochs=9).with_settings({"lr": "0.5"}) == TrainConfig(epochs=9, lr=0.5)


def test_wrong_settings_name_near_fields_and_every_fault():
    with pytest.raises(ConfigError) as caught:
        TrainConfig().with_settings({"learning_rate": "1", "epoch": "3", "lr": "fast", "learn_logit_scale": "maybe"})

    listed = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 4
    assert "no field 'epoch'; did you mean epochs" in listed
    assert "lr is 'fast'; expected a number" in listed
    assert "learn_logit_scale is 'maybe'; expected true or false" in listed


def test_settings_out_of_range_are_refused_like_any_other():
    with pytest.raises(ConfigError, match="epochs is 0; expected at least 1"):
        TrainConfig().with_settings({"epochs": "0"})


def test_json_gives_the_same_config_back():
    config = TrainConfig(lr=3e-4, betas=(0.8, 0.9), grad_clip=None, image_trunk="trunk", evaluate_where="a = 1")

    assert TrainConfig.from_json(json.dumps(config.to_json())) == config


def test_whole_numbers_in_json_are_floats_where_floats_are_meant():
    config = TrainConfig.from_json('{"lr": 1, "weight_decay": 0}')

    assert isinstance(config.lr, float)
    assert config == TrainConfig(lr=1.0, weight_decay=0.0)


@pytest.mark.parametrize("text", ["{", "[1]", '"a"', '{"learning_rate": 1}', '{"epochs": "3"}'])
def test_json_that_is_no_config_is_refused(text):
    with pytest.raises(ConfigError):
        TrainConfig.from_json(text)


def test_a_recipe_is_a_config_that_can_be_overridden():
    assert recipes.caption_contest(epochs=2) == recipes.caption_contest().with_settings({"epochs": "2"})


def test_a_wrong_override_of_a_recipe_is_a_config_error():
    with pytest.raises(ConfigError, match="did you mean epochs"):
        recipes.caption_contest(epoch=2)


def test_a_recipe_goes_by_the_size_of_the_table():
    config = recipes.caption_contest()

    assert (config.num_steps(1), config.num_steps(67)) == (200, 335)
    assert config.pull > 0


def test_a_recipe_gives_its_rate_and_its_pull_to_projections_alone():
    found = {part: recipes.caption_contest(train=part) for part in ("projections", "last_blocks", "all")}

    assert {part: (config.lr, config.pull, config.min_steps) for part, config in found.items()} == {
        "projections": (1e-3, 1.0, 200), "last_blocks": (2e-4, 0.0, 0), "all": (2e-4, 0.0, 0),
    }  # fmt: skip
    assert recipes.caption_contest(train="all", lr=1e-5).lr == 1e-5
