"""The learning rate of a step, beside the schedulers of torch and transformers."""

import pytest
import torch
from transformers import (
    get_constant_schedule_with_warmup,
    get_cosine_schedule_with_warmup,
    get_linear_schedule_with_warmup,
)

from clipdata.training.config import TrainConfig
from clipdata.training.schedules import rate_factor, warmup_steps


def trace(num_steps: int, config: TrainConfig, steps_per_epoch: int = 1) -> list[float]:
    return [rate_factor(step, num_steps, steps_per_epoch, config) for step in range(num_steps)]


def trace_of(make_scheduler, num_steps: int, steps_per_call: int = 1) -> list[float]:
    """Rates of every step by a scheduler of torch, which is stepped after each `steps_per_call` of them."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, rates = make_scheduler(optimizer), []
    for step in range(num_steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if (step + 1) % steps_per_call == 0:
            scheduler.step()
    return rates


@pytest.mark.parametrize("num_warmup", [0, 1, 7, 40])
@pytest.mark.parametrize(
    ("schedule", "theirs"),
    [
        ("linear", get_linear_schedule_with_warmup),
        ("cosine", get_cosine_schedule_with_warmup),
        ("constant", lambda optimizer, num_warmup, _: get_constant_schedule_with_warmup(optimizer, num_warmup)),
    ],
)
def test_rates_that_begin_at_zero_are_those_of_transformers(schedule, theirs, num_warmup):
    config = TrainConfig(schedule=schedule, warmup_steps=num_warmup, warmup_from_zero=True)

    assert trace(31, config) == pytest.approx(trace_of(lambda o: theirs(o, num_warmup, 31), 31), abs=1e-12)


@pytest.mark.parametrize(("step_epochs", "gamma", "steps_per_epoch"), [(10, 0.1, 3), (1, 0.5, 4), (3, 0.9, 1)])
def test_the_step_schedule_is_step_lr_stepped_after_every_epoch(step_epochs, gamma, steps_per_epoch):
    config = TrainConfig(schedule="step", step_epochs=step_epochs, step_gamma=gamma)
    theirs = trace_of(lambda o: torch.optim.lr_scheduler.StepLR(o, step_epochs, gamma), 70, steps_per_epoch)

    assert trace(70, config, steps_per_epoch) == pytest.approx(theirs, abs=1e-12)


def test_the_step_schedule_drops_behind_the_tenth_epoch():
    factors = trace(44, TrainConfig(schedule="step"), steps_per_epoch=2)

    assert factors == pytest.approx([1.0] * 20 + [0.1] * 20 + [0.01] * 4)


def test_a_warm_up_is_multiplied_with_the_step_schedule():
    config = TrainConfig(schedule="step", warmup_steps=4, step_epochs=1, step_gamma=0.5)

    assert trace(6, config, steps_per_epoch=2) == pytest.approx([0.25, 0.5, 0.375, 0.5, 0.25, 0.25])


@pytest.mark.parametrize(
    ("config", "num_steps", "expected"),
    [
        (TrainConfig(warmup_ratio=0.1), 100, 10),
        (TrainConfig(warmup_ratio=0.1), 101, 11),
        (TrainConfig(warmup_ratio=0.01), 3, 1),
        (TrainConfig(warmup_ratio=1.0), 5, 5),
        (TrainConfig(warmup_ratio=0.0), 5, 0),
        (TrainConfig(warmup_ratio=0.5, warmup_steps=3), 100, 3),
    ],
)
def test_a_ratio_of_warm_up_is_rounded_up_and_steps_come_before_it(config, num_steps, expected):
    assert warmup_steps(num_steps, config) == expected


def test_a_ratio_of_warm_up_warms_up():
    assert trace(8, TrainConfig(schedule="constant", warmup_ratio=0.5)) == [0.25, 0.5, 0.75, 1, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("num_warmup", "num_steps", "expected"),
    [
        (0, 1, [1.0]),
        (0, 4, [1.0, 0.8536, 0.5, 0.1464]),  # a rate of zero in the last step would waste it
        (1, 3, [1.0, 1.0, 0.5]),
        (2, 6, [0.5, 1.0, 1.0, 0.8536, 0.5, 0.1464]),
        (4, 4, [0.25, 0.5, 0.75, 1.0]),
        (10, 4, [0.1, 0.2, 0.3, 0.4]),
    ],
)
def test_every_step_of_a_run_has_its_rate(num_warmup, num_steps, expected):
    assert trace(num_steps, TrainConfig(warmup_steps=num_warmup)) == pytest.approx(expected, abs=1e-4)


def test_a_warm_up_begins_above_zero_and_reaches_the_peak():
    assert trace(10, TrainConfig(warmup_steps=4))[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_the_cosine_falls_from_the_peak_towards_zero():
    factors = trace(100, TrainConfig())

    assert factors[0] == 1
    assert factors[50] == pytest.approx(0.5)
    assert 0 < factors[-1] < 0.001
    assert factors == sorted(factors, reverse=True)


def test_the_line_falls_from_the_peak_towards_zero_in_equal_parts():
    assert trace(5, TrainConfig(schedule="linear")) == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2])


def test_a_constant_rate_stays():
    assert set(trace(9, TrainConfig(schedule="constant"))) == {1.0}
