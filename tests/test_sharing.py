"""A model in training stands beside the one it began with: what does not move is in memory once."""

import pytest
import torch

from clipdata.encoder import Encoder
from clipdata.encoder.identity import mutation_count
from clipdata.encoder.sharing import own_tensors, sharing_copy
from clipdata.training.config import TrainConfig
from clipdata.training.learner import Learner
from clipdata.training.objectives import ClassPrompts
from tests.tiny_models import tiny_dual_encoder, tiny_encoder


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return tiny_encoder()


def places(model: torch.nn.Module) -> dict[str, int]:
    return {name: tensor.untyped_storage().data_ptr() for name, tensor in model.state_dict(keep_vars=True).items()}


def config(**changes) -> TrainConfig:
    return TrainConfig(**{"objective": ClassPrompts(classes=("cat", "dog")), "lr": 0.1, **changes})


def batch(encoder: Encoder) -> dict:
    size = encoder.image_size
    return {"image": torch.randint(0, 255, (4, 3, size, size), dtype=torch.uint8), "class_name": ["cat", "dog"] * 2}


@pytest.mark.parametrize("part", ["projections", "last_blocks", "text", "all"])
def test_what_does_not_train_is_the_encoders_own_memory(encoder, part):
    learner = Learner(encoder, config(train=part), 4)

    before, now, trained = places(encoder.model), places(learner.model), learner.tensors()
    assert before.keys() == now.keys()
    assert {name for name in now if now[name] != before[name]} - {"logit_scale"} == set(trained) - {"logit_scale"}
    assert now["logit_scale"] != before["logit_scale"]


@pytest.mark.parametrize("learns_scale", [True, False])
def test_training_writes_nothing_into_the_encoder(encoder, learns_scale):
    identity, counts = encoder.identity, mutation_count(encoder.model)
    values = {name: tensor.clone() for name, tensor in encoder.model.state_dict().items()}
    learner = Learner(encoder, config(init_logit_scale=50.0, learn_logit_scale=learns_scale), 4)

    learner.step([batch(encoder)], 1.0)

    assert mutation_count(encoder.model) == counts
    assert all(torch.equal(tensor, values[name]) for name, tensor in encoder.model.state_dict().items())
    assert encoder.identity == identity
    assert all(parameter.requires_grad and parameter.grad is None for parameter in encoder.model.parameters())
    assert learner.model.logit_scale.exp().item() != pytest.approx(encoder.logit_scale)


def test_statistics_that_move_are_the_copys_own(tmp_path):
    dual = tiny_dual_encoder(tmp_path)
    before = {name: buffer.clone() for name, buffer in dual.model.named_buffers()}
    learner = Learner(dual, config(train="all", freeze_batchnorm=False), 4)

    learner.step([batch(dual)], 1.0)

    assert all(torch.equal(buffer, before[name]) for name, buffer in dual.model.named_buffers())
    moved = [name for name, b in learner.model.named_buffers() if not torch.equal(b, before[name])]
    assert any(name.endswith("running_mean") for name in moved)


def test_weights_made_in_inference_mode_are_copied_and_tied_ones_stay_tied():
    with torch.inference_mode():
        model = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 2, bias=False))
    model[1].weight = model[0].weight

    copied = sharing_copy(model)
    own_tensors(copied, ["0.weight"])
    copied(torch.ones(1, 2)).sum().backward()

    assert copied[0].weight is copied[1].weight
    assert copied[0].weight.grad is not None
