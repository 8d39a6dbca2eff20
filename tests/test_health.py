"""What goes wrong while a model trains is said once, with what to type; what goes well is not remarked on."""

import math
import random
import signal

import pytest
import torch
from torch.nn import functional

from clipdata.training.config import TrainConfig
from clipdata.training.features import BatchFacts, Features
from clipdata.training.fine_tuning import train
from clipdata.training.health import Health
from clipdata.training.metrics import read_metrics
from clipdata.training.objectives import Choice, Contrastive, SoftTarget
from clipdata.training.vitals import Vitals, look_at, mean_cosine
from tests.contests import contest_table
from tests.telling import Told
from tests.test_interruption import Signalling
from tests.tiny_models import tiny_encoder

LN8 = math.log(8)


def watched(losses, *, grads=None, cosines=None, flat=LN8, kind="contrastive") -> Health:
    """Health after so many steps."""
    health = Health(len(losses), 1e-3, kind)
    for step, loss in enumerate(losses, 1):
        cosine = 0.3 if cosines is None else cosines[step - 1]
        vitals = Vitals(cosine, flat) if health.is_due(step) else None
        health.see(step, loss, 1.0 if grads is None else grads[step - 1], vitals)
    return health


def names(health: Health) -> list[str]:
    return [one.name for one in health.warnings]


def noisy(mean, num: int, noise: float = 0.3) -> list[float]:
    draw = random.Random(0)
    return [max(mean(step / num) + draw.gauss(0, noise), 0.0) for step in range(num)]


# Pictures and texts


def facts_of(pictures: list[int], counts: list[int], labels: list[int] | None = None) -> BatchFacts:
    num_texts = sum(counts)
    return BatchFacts(
        torch.arange(num_texts),
        torch.tensor(counts),
        torch.arange(num_texts) + 1,
        torch.tensor(pictures),
        {"label_ind": torch.tensor(labels)} if labels else {},
    )


def features_of(num_rows: int, num_texts: int, seed: int = 0) -> Features:
    draw = torch.Generator().manual_seed(seed)
    image_BD, text_TD = torch.randn(num_rows, 16, generator=draw), torch.randn(num_texts, 16, generator=draw)
    return Features(image_BD, text_TD, torch.tensor(20.0)).normalised()


def test_the_mean_cosine_is_that_of_all_pairs_of_different_pictures():
    features = features_of(6, 6)
    pictures = torch.tensor([5, 5, 7, 0, 0, 8])  # two rows of one picture, and two that nobody knows

    found = mean_cosine(features.image_BD, pictures)

    kept = features.image_BD[[0, 2, 3, 4, 5]]
    pairs = [float(kept[i] @ kept[j]) for i in range(5) for j in range(5) if i != j]
    assert found == pytest.approx(sum(pairs) / len(pairs), abs=1e-6)
    assert mean_cosine(features.image_BD[:2], pictures[:2]) is None


def test_a_model_that_knows_nothing_has_the_logarithm_of_what_is_compared():
    choice = look_at(features_of(3, 9), facts_of([1, 2, 3], [2, 3, 4], [0, 2, 1]), Choice())
    pairs = look_at(features_of(8, 8), facts_of(list(range(1, 9)), [1] * 8), Contrastive())

    assert choice.flat_loss == pytest.approx((math.log(2) + math.log(3) + math.log(4)) / 3, abs=1e-6)
    assert pairs.flat_loss == pytest.approx(LN8, abs=1e-6)


def test_features_that_collapsed_have_the_loss_and_the_cosine_of_it():
    one = functional.normalize(torch.ones(8, 16), dim=-1)
    features = Features(one, one, torch.tensor(1.0))

    found = look_at(features, facts_of(list(range(1, 9)), [1] * 8), SoftTarget())

    assert found.flat_loss == pytest.approx(LN8, abs=1e-6)
    assert found.image_cosine == pytest.approx(1.0, abs=1e-6)


# Health


@pytest.mark.parametrize(
    "mean",
    [
        lambda part: 2.0 * math.exp(-3 * part),  # learns
        lambda part: 4.0 - 3 * part,  # begins above what a model has that knows nothing
        lambda part: 0.9,  # knows it already
        lambda part: LN8 - 0.6 * part,  # begins to learn slowly
        lambda part: 1.0 + 0.5 * math.sin(9 * part),  # swings
    ],
)
def test_a_training_that_goes_well_is_not_remarked_on(mean):
    assert names(watched(noisy(mean, 400))) == []
    assert names(watched(noisy(mean, 20, noise=0.1))) == []


def test_a_loss_far_above_its_start_is_told_once_with_a_lower_rate():
    health = watched(noisy(lambda part: 2.0 if part < 0.3 else 9.0, 400))

    assert names(health) == ["diverging"]
    assert 120 < health.warnings[0].step < 160
    assert "--set lr=0.0001" in health.warnings[0].text


def test_a_loss_that_stays_at_that_of_a_model_that_knows_nothing_is_told():
    health = watched(noisy(lambda part: LN8, 400, noise=0.02))

    assert names(health) == ["stuck"]
    assert "2.08" in health.warnings[0].text
    assert 200 <= health.warnings[0].step <= 280


def test_features_that_stay_the_same_are_told_and_those_that_spread_are_not():
    falling = noisy(lambda part: 2 - part, 400)
    collapsed = watched(falling, cosines=[0.5] * 200 + [0.999] * 200, kind="soft_target")
    spreading = watched(falling, cosines=[max(1 - 1e-4 * 1.05**step, 0.2) for step in range(400)])

    assert names(collapsed) == ["collapsing"]
    assert "--set objective=contrastive" in collapsed.warnings[0].text
    assert names(spreading) == []


def test_a_gradient_that_stays_0_is_told_and_one_that_is_0_once_is_not():
    losses = noisy(lambda part: 1.0, 40)

    assert names(watched(losses, grads=[0.0] * 40)) == ["unmoved"]
    assert names(watched(losses, grads=[float(step % 3) for step in range(40)])) == []


def test_health_goes_on_where_it_was_put_away():
    losses = noisy(lambda part: 2.0 if part < 0.3 else 9.0, 400)
    whole, first, second = (Health(400, 1e-3, "choice") for _ in range(3))
    for step, loss in enumerate(losses, 1):
        vitals = Vitals(0.99, LN8) if whole.is_due(step) else None
        whole.see(step, loss, 1.0, vitals)
        (first if step <= 130 else second).see(step, loss, 1.0, vitals)
        if step == 130:
            second.restore(first.state())

    assert second.warnings == whole.warnings
    assert second.state() == whole.state()


# Training


@pytest.fixture(scope="module")
def contest(tmp_path_factory):
    return contest_table(tmp_path_factory.mktemp("health"))


@pytest.mark.parametrize("part", ["projections", "all"])
def test_an_ordinary_training_has_no_warning_and_its_lines_tell_the_cosine(tmp_path, contest, part):
    config = TrainConfig(steps=20, batch_size=8, lr=3e-3 if part == "projections" else 3e-4, train=part)

    run = train(contest, tiny_encoder(), config, out=tmp_path / "run")

    assert run.to_dict()["warnings"] == []
    looked = [line["step"] for line in run.metrics if "image_cosine" in line]
    assert looked == list(range(1, 21))
    assert all(-1 <= line["image_cosine"] <= 1 for line in run.metrics if "image_cosine" in line)


def test_a_rate_a_thousand_times_too_high_is_told_while_it_trains_and_in_the_summary(tmp_path, contest):
    told, config = Told(), TrainConfig(steps=24, batch_size=8, lr=3.0, train="all", grad_clip=None)

    run = train(contest, tiny_encoder(), config, out=tmp_path / "run", progress=told)

    warned = run.to_dict()["warnings"]
    assert warned
    assert {one["name"] for one in warned} <= {"diverging", "collapsing", "stuck"}
    assert any(warned[0]["text"] in said for said in told.said)
    assert "## Warnings" in (run.export_path / "README.md").read_text()


def test_a_warning_is_not_said_again_after_a_training_went_on(tmp_path, contest):
    told, config = Told(), TrainConfig(steps=24, batch_size=8, lr=3.0, train="all", grad_clip=None)
    with pytest.raises(SystemExit):
        train(contest, tiny_encoder(), config, out=tmp_path / "run", progress=Signalling(20, signal.SIGTERM))
    warned = [line for line in read_metrics(tmp_path / "run/metrics.jsonl") if line["kind"] == "warning"]

    run = train(contest, tiny_encoder(), config, out=tmp_path / "run", progress=told)

    assert [one["name"] for one in warned] == ["collapsing", "stuck"]
    assert [one["name"] for one in run.to_dict()["warnings"]] == ["collapsing", "stuck"]
    assert not any("nearly the same" in said or "knows nothing" in said for said in told.said)
