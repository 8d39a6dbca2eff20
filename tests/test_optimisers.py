"""Which parameters move, and how fast."""

import math

import pytest
import torch

from clipdata.encoder import lock
from clipdata.training.config import TrainConfig
from clipdata.training.optimisers import (
    Pull,
    build_optimizer,
    clamp_logit_scale,
    parameter_groups,
    rate_factor,
    set_rate,
)
from tests.tiny_models import tiny_encoder


def groups_of(config: TrainConfig) -> tuple[torch.nn.Module, list[dict]]:
    encoder = tiny_encoder()
    lock(encoder.model, config.train)
    return encoder.model, parameter_groups(encoder.model, encoder.towers, config)


def test_only_matrices_decay_and_never_the_logit_scale():
    model, groups = groups_of(TrainConfig(train="all", weight_decay=0.3))

    decayed = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}

    for name, parameter in model.named_parameters():
        assert (id(parameter) in decayed) == (parameter.ndim >= 2), name
    assert {group["weight_decay"] for group in groups} == {0.0, 0.3}
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


def test_each_part_has_its_own_rate():
    config = TrainConfig(train="all", lr=1e-2, image_lr_multiplier=0.1, text_lr_multiplier=0.0)
    model, groups = groups_of(config)

    peak = {id(p): group["peak_lr"] for group in groups for p in group["params"]}

    assert peak[id(model.visual.proj)] == peak[id(model.text_projection)] == peak[id(model.logit_scale)] == 1e-2
    assert peak[id(model.visual.conv1.weight)] == pytest.approx(1e-3)
    assert peak[id(model.token_embedding.weight)] == 0


def test_only_what_trains_is_grouped():
    model, groups = groups_of(TrainConfig(train="projections"))

    found = {id(p) for group in groups for p in group["params"]}

    assert found == {id(model.visual.proj), id(model.text_projection), id(model.logit_scale)}


@pytest.mark.parametrize(("name", "kind"), [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam)])
def test_the_optimizer_is_the_one_that_is_named(name, kind):
    _, groups = groups_of(TrainConfig())

    optimizer = build_optimizer(groups, TrainConfig(optimizer=name, betas=(0.7, 0.8), eps=1e-3))

    assert type(optimizer) is kind
    assert optimizer.param_groups[0]["betas"] == (0.7, 0.8)
    assert optimizer.param_groups[0]["eps"] == 1e-3


def test_a_rate_is_a_part_of_each_groups_own_peak():
    _, groups = groups_of(TrainConfig(train="all", lr=1.0, image_lr_multiplier=0.5))
    optimizer = build_optimizer(groups, TrainConfig())

    set_rate(optimizer, 0.1)

    assert {group["name"].split(",")[0]: group["lr"] for group in optimizer.param_groups} == {
        "head": pytest.approx(0.1),
        "image": pytest.approx(0.05),
        "text": pytest.approx(0.1),
    }


@pytest.mark.parametrize(
    ("warmup_steps", "num_steps", "expected"),
    [
        (0, 1, [1.0]),
        (0, 4, [1.0, 0.8536, 0.5, 0.1464]),  # a rate of zero in the last step would waste it
        (1, 3, [1.0, 1.0, 0.5]),
        (2, 6, [0.5, 1.0, 1.0, 0.8536, 0.5, 0.1464]),
        (4, 4, [0.25, 0.5, 0.75, 1.0]),
        (10, 4, [0.1, 0.2, 0.3, 0.4]),
    ],
)
def test_every_step_of_a_run_has_its_rate(warmup_steps, num_steps, expected):
    config = TrainConfig(warmup_steps=warmup_steps)

    assert [rate_factor(step, num_steps, config) for step in range(num_steps)] == pytest.approx(expected, abs=1e-4)


def test_the_pull_is_the_squared_way_from_where_training_began_without_the_logit_scale():
    model = tiny_encoder().model
    lock(model, "projections")
    begun = model.visual.proj.detach().clone()
    pull = Pull(model, 0.5)
    with torch.no_grad():
        model.visual.proj[0, 0] += 3.0
        model.text_projection[1, 2] -= 4.0
        model.logit_scale += 1.0

    penalty = pull()
    penalty.backward()

    assert penalty.item() == pytest.approx(0.5 * (9 + 16))
    torch.testing.assert_close(model.visual.proj.grad, 2 * 0.5 * (model.visual.proj.detach() - begun))
    assert model.logit_scale.grad is None


def test_without_a_pull_there_is_no_penalty():
    model = tiny_encoder().model
    lock(model, "projections")

    assert Pull(model, 0.0)() is None


def test_a_warm_up_begins_above_zero_and_reaches_the_peak():
    config = TrainConfig(warmup_steps=4)

    assert [rate_factor(step, 10, config) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_the_cosine_falls_from_the_peak_towards_zero():
    factors = [rate_factor(step, 100, TrainConfig()) for step in range(100)]

    assert factors[0] == 1
    assert factors[50] == pytest.approx(0.5)
    assert 0 < factors[-1] < 0.001
    assert factors == sorted(factors, reverse=True)


def test_a_constant_rate_stays():
    assert {rate_factor(step, 9, TrainConfig(schedule="constant")) for step in range(9)} == {1.0}


def test_a_warm_up_longer_than_the_run_only_rises():
    config = TrainConfig(warmup_steps=50)

    assert [rate_factor(step, 3, config) for step in range(3)] == [0.02, 0.04, 0.06]


def test_the_logit_scale_is_clamped_from_above_only():
    model = tiny_encoder().model
    before = float(model.logit_scale.detach())
    clamp_logit_scale(model)
    assert float(model.logit_scale.detach()) == before

    torch.nn.init.constant_(model.logit_scale, 9.0)
    clamp_logit_scale(model)
    assert float(model.logit_scale.detach()) == pytest.approx(math.log(100))
