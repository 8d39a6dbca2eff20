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


def test_all_decay_where_that_is_asked_for():
    model, groups = groups_of(TrainConfig(train="all", weight_decay=0.3, decay_all=True))

    assert {group["weight_decay"] for group in groups} == {0.3}
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


def test_multipliers_give_the_towers_and_the_heads_three_rates():
    config = TrainConfig(train="all", lr=1e-3, image_lr_multiplier=0.1, text_lr_multiplier=0.01)
    _, groups = groups_of(config)

    rates = {group["name"].split(",")[0]: group["peak_lr"] for group in groups}

    assert rates == pytest.approx({"image": 1e-4, "text": 1e-5, "head": 1e-3}, rel=1e-12)


@pytest.mark.parametrize(
    ("changes", "plain"),
    [
        (
            {"optimizer": "adam", "betas": (0.9, 0.98), "eps": 1e-6, "weight_decay": 1e-3},
            lambda p: torch.optim.Adam(p, lr=1e-2, betas=(0.9, 0.98), eps=1e-6, weight_decay=1e-3),
        ),
        (
            {"optimizer": "adamw", "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.05},
            lambda p: torch.optim.AdamW(p, lr=1e-2, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05),
        ),
        (
            {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.05},
            lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9, weight_decay=0.05),
        ),
        ({"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0}, lambda p: torch.optim.SGD(p, lr=1e-2)),
    ],
)
def test_with_all_decaying_the_weights_after_steps_are_those_of_a_plain_optimizer_of_torch(changes, plain):
    config = TrainConfig(train="all", lr=1e-2, decay_all=True, **changes)
    encoder, other, begun = (tiny_encoder(text_cfg={"vocab_size": 50}) for _ in range(3))
    model, other = encoder.model, other.model
    ours = build_optimizer(parameter_groups(model, encoder.towers, config), config)
    set_rate(ours, 1.0)
    theirs = plain(other.parameters())
    random = torch.Generator().manual_seed(0)

    for _ in range(20):
        for mine, its in zip(model.parameters(), other.parameters(), strict=True):
            mine.grad = torch.randn(mine.shape, generator=random)
            its.grad = mine.grad.clone()
        ours.step()
        theirs.step()

    for (name, mine), its in zip(model.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, its), name
        assert not torch.equal(mine, begun.model.get_parameter(name)), name


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_without_a_gradient_only_what_decays_moves_by_decay(optimizer):
    config = TrainConfig(train="all", optimizer=optimizer, lr=1e-2, weight_decay=0.5)
    model, groups = groups_of(config)
    begun = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    built = build_optimizer(groups, config)
    set_rate(built, 1.0)

    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    built.step()

    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, begun[name])}
    assert moved == {name for name, parameter in model.named_parameters() if parameter.ndim >= 2}


@pytest.mark.parametrize(("name", "kind"), [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam)])
def test_the_optimizer_is_the_one_that_is_named(name, kind):
    _, groups = groups_of(TrainConfig())

    optimizer = build_optimizer(groups, TrainConfig(optimizer=name, betas=(0.7, 0.8), eps=1e-3))

    assert type(optimizer) is kind
    assert optimizer.param_groups[0]["betas"] == (0.7, 0.8)
    assert optimizer.param_groups[0]["eps"] == 1e-3


def test_momentum_is_that_of_sgd():
    _, groups = groups_of(TrainConfig())

    optimizer = build_optimizer(groups, TrainConfig(optimizer="sgd", momentum=0.7))

    assert type(optimizer) is torch.optim.SGD
    assert {group["momentum"] for group in optimizer.param_groups} == {0.7}
    assert not any(group["nesterov"] for group in optimizer.param_groups)


def test_a_rate_is_a_part_of_each_groups_own_peak():
    _, groups = groups_of(TrainConfig(train="all", lr=1.0, image_lr_multiplier=0.5))
    optimizer = build_optimizer(groups, TrainConfig())

    set_rate(optimizer, 0.1)

    assert {group["name"].split(",")[0]: group["lr"] for group in optimizer.param_groups} == {
        "head": pytest.approx(0.1),
        "image": pytest.approx(0.05),
        "text": pytest.approx(0.1),
    }


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


def test_the_logit_scale_is_clamped_from_above_only():
    model = tiny_encoder().model
    before = float(model.logit_scale.detach())
    clamp_logit_scale(model)
    assert float(model.logit_scale.detach()) == before

    torch.nn.init.constant_(model.logit_scale, 9.0)
    clamp_logit_scale(model)
    assert float(model.logit_scale.detach()) == pytest.approx(math.log(100))
