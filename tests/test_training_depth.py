"""How deep a training goes: last blocks, rates by layer, blocks computed again, compiled code; and going on with it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from clipdata.encoder import Encoder, adapters, lock, new_encoder, split
from clipdata.encoder.checkpointing import checkpoint_blocks
from clipdata.encoder.towers import distances
from clipdata.errors import UsageError
from clipdata.training.config import TrainConfig
from clipdata.training.feasibility import check_feasible
from clipdata.training.fine_tuning import train
from clipdata.training.learner import Learner
from clipdata.training.optimisers import parameter_groups
from tests.contests import contest_table
from tests.test_towers import ARCHITECTURES, TEXTS, image_batch
from tests.tiny_models import tiny_config, tiny_dual_encoder, tiny_encoder


@pytest.fixture(params=["clip", "resnet", "timm linear", "timm's own classifier", "coca", "hugging face"])
def encoder(request: pytest.FixtureRequest, tmp_path: Path) -> Encoder:
    if request.param == "hugging face":
        return tiny_dual_encoder(tmp_path)
    return new_encoder(copy.deepcopy(ARCHITECTURES[request.param]), device="cpu")


# Rates by layer


def test_layers_are_those_of_timms_own_layer_decay(tmp_path):
    from timm.optim import param_groups_layer_decay

    for name in ("timm linear", "timm's own classifier"):
        encoder = new_encoder(copy.deepcopy(ARCHITECTURES[name]), device="cpu")
        config = TrainConfig(train="all", lr=1.0, layer_decay=0.5)
        trunk = encoder.model.visual.trunk
        groups = parameter_groups(encoder.model, encoder.towers, config)
        ours = {id(one): group["peak_lr"] for group in groups for one in group["params"]}
        theirs = {
            id(one): group["lr_scale"]
            for group in param_groups_layer_decay(trunk, layer_decay=0.5)
            for one in group["params"]
        }
        headless = name == "timm linear"  # its head is open_clip's, of which timm knows nothing

        assert len(theirs) > 10
        for parameter_name, parameter in trunk.named_parameters():
            assert ours[id(parameter)] == theirs[id(parameter)] * (0.5 if headless else 1), parameter_name


def test_rates_fall_from_the_head_to_the_embeddings_of_every_kind_of_tower(encoder):
    found = distances(encoder.model)

    towers = split(encoder.model)
    heads = {*towers.image_head_names, *towers.text_head_names, "logit_scale", "logit_bias"}
    assert {name for name, distance in found.items() if distance == 0 and "text_decoder" not in name} <= heads
    for side in ("image", "text"):
        names = {n: d for n, d in found.items() if (side == "image") == n.startswith("visual.") and d}
        assert set(names.values()) == set(range(1, max(names.values()) + 1))
        first = [n for n in names if "embed" in n or "conv1" in n or "stem" in n]
        assert max(names.values()) in {names[n] for n in first}
    lock(encoder.model, "last_blocks", num_blocks=1)
    last = {n for n, p in encoder.model.named_parameters() if p.requires_grad}
    assert {name for name, distance in found.items() if distance == 1} == last - {n for n in last if found[n] == 0}


def test_blocks_says_how_many_of_each_tower_train():
    encoder = tiny_encoder()
    trained = {
        blocks: set(Learner(encoder, TrainConfig(train="last_blocks", blocks=blocks), 8).tensors()) for blocks in (1, 2)
    }

    assert not any("resblocks.0" in name for name in trained[1])
    assert trained[2] - trained[1] == {n for n in trained[2] if "resblocks.0" in n}


# Blocks computed again, and compiled code


def test_blocks_computed_again_give_the_same_gradients_and_statistics_and_keep_less(encoder):
    models = [copy.deepcopy(encoder.model).train() for _ in range(2)]
    checkpoint_blocks(models[1])
    models[1] = copy.deepcopy(models[1])

    kept = [backward(encoder, model) for model in models]

    assert kept[1] < 0.6 * kept[0]
    for (name, plain), again in zip(models[0].named_parameters(), models[1].parameters(), strict=True):
        assert (plain.grad is None) == (again.grad is None), name
        if plain.grad is not None:
            torch.testing.assert_close(again.grad, plain.grad, atol=1e-6, rtol=1e-6)
    assert all(map(torch.equal, models[0].buffers(), models[1].buffers()))


def backward(encoder: Encoder, model: torch.nn.Module) -> int:
    """Differentiate, dropout and batch statistics included; returns how many numbers the forward kept for it."""
    torch.manual_seed(3)
    numbers = []
    with torch.autograd.graph.saved_tensors_hooks(lambda one: numbers.append(one.numel()) or one, lambda one: one):
        towers = split(model)
        images = towers.image_head(towers.image_trunk(encoder.normalise(image_batch(encoder, 4))))
        texts = towers.text_head(towers.text_trunk(encoder.tokenize(TEXTS)))
        loss = images.square().mean() + texts.square().mean()
    kept = sum(numbers)
    loss.backward()
    return kept


@pytest.fixture
def one_compiler():
    """torch starts a process a core to compile in, each of which imports torch."""
    import torch._inductor.config as inductor

    with inductor.patch(compile_threads=1):
        yield


@pytest.mark.slow
def test_a_compiled_trunk_gives_the_features_and_gradients_of_a_plain_one_for_any_number_of_rows(one_compiler):
    config = tiny_config(vision_cfg={"layers": 1}, text_cfg={"layers": 1})
    encoder = new_encoder(config, device="cpu")
    learners = [
        Learner(encoder, TrainConfig(train="lora", lora_dropout=0.0, compile=made), 8) for made in (False, True)
    ]

    for num_rows in (4, 3):
        found = []
        for learner in learners:
            for added in adapters.additions(learner.model):
                torch.nn.init.constant_(added.b, 0.1)
            features_BT = learner.forward.towers.image_trunk(encoder.normalise(image_batch(encoder, num_rows)))
            features_BT.square().sum().backward()
            gradients = [p.grad for p in learner.model.parameters() if p.grad is not None]
            found.append([features_BT.detach(), *(gradient.clone() for gradient in gradients)])
            learner.model.zero_grad()

        assert len(found[0]) == 7
        torch.testing.assert_close(found[1], found[0], atol=1e-4, rtol=1e-4)
    assert learners[1].tensors().keys() == learners[0].tensors().keys()
    assert list(learners[1].model.state_dict()) == list(encoder.model.state_dict())


def test_without_a_compiler_compiling_is_refused_with_what_to_type(one_compiler):
    import torch._inductor.config as inductor

    encoder = new_encoder(ARCHITECTURES["clip"], device="cpu")

    with (
        inductor.patch({"cpp.cxx": ("/nowhere/g++",)}),
        pytest.raises(UsageError, match=r"torch\.compile makes no code for cpu here") as caught,
    ):
        check_feasible(encoder, TrainConfig(compile=True))
    assert "--set compile=false" in str(caught.value.hint)


# Going on


class Killed(Exception):
    pass


class KilledAt:
    """A progress that ends the process's part of a run after so many steps, before anything can be tidied up."""

    def __init__(self, step: int) -> None:
        self.left = step

    def task(self, label: str, total: int, unit: str = "rows") -> Any:
        self.counts = label == "train"
        return self

    def __enter__(self) -> KilledAt:
        return self

    def __exit__(self, *_: object) -> None: ...

    def advance(self, num: int = 1) -> None:
        self.left -= num * self.counts
        if self.left == 0 and num:
            raise Killed

    def say(self, text: str) -> None: ...


@pytest.mark.parametrize(
    "changes",
    [
        {"train": "lora", "lora_dropout": 0.5, "pull": 2.0, "ema": 0.8, "gradient_checkpointing": True},
        {"train": "all", "layer_decay": 0.7, "freeze_batchnorm": False, "ema": 0.8},
    ],
    ids=["lora", "layer decay"],
)
def test_a_run_that_was_killed_ends_bit_for_bit_as_one_that_was_not(tmp_path, changes):
    """The tower of texts has dropout of its own, the one of pictures batch statistics."""
    encoder, table = tiny_dual_encoder(tmp_path / "dual"), contest_table(tmp_path, 16)
    config = TrainConfig(
        **{"steps": 7, "batch_size": 4, "lr": 1e-3, "checkpoint_every_steps": 2, "evaluate_where": "true", **changes}
    )
    whole = train(table, encoder, config, out=tmp_path / "whole")

    with pytest.raises(Killed):
        train(table, encoder, config, out=tmp_path / "parts", progress=KilledAt(3))
    parts = train(table, encoder, config, out=tmp_path / "parts")

    assert [line["loss"] for line in parts.metrics] == [line["loss"] for line in whole.metrics]
    assert [line["held_out_loss"] for line in parts.epochs] == [line["held_out_loss"] for line in whole.epochs]
    found, expected = parts.encoder().model.state_dict(), whole.encoder().model.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_gradient_checkpointing_may_be_switched_on_for_the_rest_of_a_run(tmp_path):
    encoder, table = tiny_encoder(), contest_table(tmp_path, 16)
    config = {"train": "last_blocks", "steps": 4, "batch_size": 8, "checkpoint_every_steps": 1}
    whole = train(table, encoder, TrainConfig(**config), out=tmp_path / "whole")
    with pytest.raises(Killed):
        train(table, encoder, TrainConfig(**config), out=tmp_path / "parts", progress=KilledAt(2))

    parts = train(table, encoder, TrainConfig(**config, gradient_checkpointing=True), out=tmp_path / "parts")

    assert [line["loss"] for line in parts.metrics] == [line["loss"] for line in whole.metrics]
