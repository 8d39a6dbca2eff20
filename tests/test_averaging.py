"""A moving average of the weights: its arithmetic, and where it stands in for what trains."""

import pytest
import torch
from torch import nn

from clipdata.stream import Stream
from clipdata.training.averaging import Average
from clipdata.training.config import TrainConfig
from clipdata.training.fine_tuning import train
from clipdata.training.learner import Learner
from tests.contests import contest_table
from tests.tiny_models import tiny_dual_encoder, tiny_encoder


def test_the_average_is_that_of_torchs_own_with_the_decays_of_the_warm_up():
    from torch.optim.swa_utils import AveragedModel

    model, random = nn.Linear(3, 2), torch.Generator().manual_seed(0)
    decays = [min(0.5, (1 + n) / (10 + n)) for n in range(30)]
    theirs = AveragedModel(model, avg_fn=lambda old, new, n: torch.lerp(old, new, 1 - decays[int(n) - 1]))
    theirs.update_parameters(model)  # it takes the first weights whole
    average = Average(dict(model.named_parameters()), 0.5)

    for _ in range(30):
        with torch.no_grad():
            model.weight.add_(torch.randn(2, 3, generator=random))
        average.update()
        theirs.update_parameters(model)

    torch.testing.assert_close(average.tensors["weight"], theirs.module.weight.detach())
    assert decays[0] == 0.1
    assert decays[-1] == 0.5


def test_averages_stand_in_for_a_while_and_what_trains_comes_back():
    model = nn.Linear(3, 2)
    average = Average(dict(model.named_parameters()), 0.9)
    begun = model.weight.detach().clone()
    with torch.no_grad():
        model.weight.add_(1.0)
    raw = model.weight.detach().clone()
    average.update()

    with average.in_place():
        torch.testing.assert_close(model.weight.detach(), 0.1 * begun + 0.9 * raw)
    assert torch.equal(model.weight, raw)
    with pytest.raises(KeyError), average.in_place():
        raise KeyError
    assert torch.equal(model.weight, raw)


def test_statistics_that_move_are_averaged_and_counts_are_taken():
    norm = nn.BatchNorm1d(2)
    average = Average(dict(norm.named_buffers()), 0.9)

    norm(torch.randn(8, 2))
    average.update()

    assert average.tensors["num_batches_tracked"] == 1
    torch.testing.assert_close(average.tensors["running_mean"], 0.9 * norm.running_mean)


def test_the_averages_are_measured_and_exported_and_the_raw_weights_go_on(tmp_path):
    encoder, table = tiny_encoder(), contest_table(tmp_path)
    about = {"train": "projections", "epochs": 2, "batch_size": 8, "lr": 3e-3}
    plain = train(table, encoder, TrainConfig(**about), out=tmp_path / "plain")

    averaged = train(table, encoder, TrainConfig(**about, ema=0.9), out=tmp_path / "averaged")

    assert [line["loss"] for line in averaged.metrics] == [line["loss"] for line in plain.metrics]
    begun, raw, found = (one.model.visual.proj.detach() for one in (encoder, plain.encoder(), averaged.encoder()))
    assert 0 < float((found - raw).norm()) < float((begun - raw).norm())


def test_the_average_of_a_learner_is_a_plain_recurrence_over_its_weights(tmp_path):
    encoder = tiny_dual_encoder(tmp_path)
    learner = Learner(encoder, TrainConfig(train="all", freeze_batchnorm=False, ema=0.3, lr=1e-2), 32)
    expected = {name: tensor.detach().clone() for name, tensor in learner.tensors().items()}

    batches = Stream(contest_table(tmp_path, 32), batch_size=8, shuffle=False, **learner.forward.request())
    for number, batch in enumerate(batches):
        learner.step([batch], 1.0)
        decay = min(0.3, (1 + number) / (10 + number))
        for name, tensor in learner.tensors().items():
            now = tensor.detach()
            expected[name] = decay * expected[name] + (1 - decay) * now if now.is_floating_point() else now.clone()

    with learner.measuring() as model:
        state = model.state_dict()
        assert any(name.endswith("running_var") for name in expected)
        for name, tensor in expected.items():
            torch.testing.assert_close(state[name], tensor, atol=1e-6, rtol=1e-5)
