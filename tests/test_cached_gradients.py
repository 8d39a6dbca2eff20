"""A batch that goes through the trunks some rows at a time: loss, gradients and random numbers of the batch at once."""

from __future__ import annotations

import pytest
import torch

from clipdata.encoder import Encoder, export, load_encoder
from clipdata.errors import UsageError
from clipdata.lance_io.table import Table
from clipdata.training.cached_gradients import InChunks
from clipdata.training.config import TrainConfig
from clipdata.training.fine_tuning import train
from clipdata.training.gradients import Gradients, WholeBatch
from clipdata.training.learner import Learner
from clipdata.training.objectives import Choice
from clipdata.training.processes import Processes
from tests.contests import contest_table
from tests.contracts.objectives import CASES, biased_encoder, objective_table
from tests.contracts.test_objectives import Stopped, StopsAt, learner_and_batches, moved, weights
from tests.tiny_models import tiny_dual_encoder

WHOLE = 0


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return biased_encoder()


@pytest.fixture(scope="module")
def with_dropout(tmp_path_factory) -> Encoder:
    """A model whose text tower and image tower draw random numbers, with BatchNorm."""
    return tiny_dual_encoder(tmp_path_factory.mktemp("dual"), vision_cfg={"timm_drop": 0.2, "timm_drop_path": 0.2})


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Table:
    return objective_table(tmp_path_factory.mktemp("objectives"))


def config(**changes) -> TrainConfig:
    return TrainConfig(**{"epochs": 2, "batch_size": 8, "lr": 1e-3, "train": "all", "evaluate_where": None, **changes})


def gradients_of(learner: Learner, given: TrainConfig, batches, chunk: int, seed: int = 0):
    """Loss of a step and the gradient of each trained weight, and the random state afterwards."""
    passes = (
        InChunks(learner.forward, learner.autocast, chunk) if chunk else WholeBatch(learner.forward, learner.autocast)
    )
    gradients = Gradients(passes, given.objective, scale=lambda loss: loss, processes=Processes())
    learner.model.zero_grad(set_to_none=True)
    torch.manual_seed(seed)
    loss = gradients.of(batches, learner.device).loss
    found = {n: p.grad.clone() for n, p in learner.model.named_parameters() if p.grad is not None}
    return loss, found, torch.get_rng_state()


def assert_equal_gradients(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    # The gradient of a key's bias is 0 but for rounding, and has no relative error.
    least = 1e-3 * max(float(gradient.norm()) for gradient in expected.values())
    for name, gradient in expected.items():
        assert (found[name] - gradient).norm() <= 1e-5 * max(float(gradient.norm()), least), name


@pytest.mark.parametrize("case", CASES, ids=str)
def test_loss_and_gradients_are_those_of_the_batch_at_once(table, encoder, case):
    given = config(objective=case.objective)
    learner, batches = learner_and_batches(table, encoder, given)
    expected_loss, expected, _ = gradients_of(learner, given, batches[:2], WHOLE)

    loss, found, _ = gradients_of(learner, given, batches[:2], 3)

    assert loss == pytest.approx(expected_loss, rel=1e-6)
    assert_equal_gradients(found, expected)
    assert "logit_scale" in found or case.objective.kind == "soft_target"
    assert "logit_bias" in found or case.objective.kind != "siglip"


@pytest.mark.parametrize("part", ["projections", "last_blocks", "text"])
def test_what_trains_in_part_has_the_gradients_of_the_batch_at_once(table, encoder, part):
    given = config(train=part)
    learner, batches = learner_and_batches(table, encoder, given)
    _, expected, _ = gradients_of(learner, given, batches[:1], WHOLE)

    _, found, _ = gradients_of(learner, given, batches[:1], 3)

    assert_equal_gradients(found, expected)


def test_dropout_draws_the_same_both_times(table, with_dropout):
    """One chunk of all rows draws as the whole batch does, so that nothing but the second time could differ."""
    given = config()
    learner, batches = learner_and_batches(table, with_dropout, given)
    _, expected, stands = gradients_of(learner, given, batches[:1], WHOLE)
    _, drawn_otherwise, _ = gradients_of(learner, given, batches[:1], WHOLE, seed=1)

    _, found, stands_then = gradients_of(learner, given, batches[:1], 100)

    assert_equal_gradients(found, expected)
    assert torch.equal(stands_then, stands)
    with pytest.raises(AssertionError):
        assert_equal_gradients(drawn_otherwise, expected)


def test_chunks_with_dropout_have_the_gradients_of_one_graph_over_the_same_chunks(table, with_dropout):
    given = config()
    learner, batches = learner_and_batches(table, with_dropout, given)
    forward, inputs = learner.forward, learner.forward.inputs(batches[0])
    torch.manual_seed(0)
    image_BW = torch.cat([forward.image_trunk(chunk) for chunk in inputs.images.split(3)])
    text_TW = torch.cat([forward.text_trunk(chunk) for chunk in inputs.texts.split(3)])
    given.objective.loss(forward.features(image_BW, text_TW), inputs.facts).backward()
    expected = {n: p.grad.clone() for n, p in learner.model.named_parameters() if p.grad is not None}

    _, found, _ = gradients_of(learner, given, batches[:1], 3)

    assert_equal_gradients(found, expected)


@pytest.mark.parametrize(("part", "times"), [("projections", 1), ("all", 2)])
def test_each_distinct_text_and_each_picture_is_encoded_once_and_again_only_for_gradients(table, encoder, part, times):
    given = config(train=part)
    learner, batches = learner_and_batches(table, encoder, given)
    seen = {"pictures": 0, "texts": 0}

    def count(what: str, dimension: int):
        return lambda _module, given: seen.__setitem__(what, seen[what] + given[0].shape[dimension])

    learner.model.visual.conv1.register_forward_pre_hook(count("pictures", 0))
    learner.model.token_embedding.register_forward_pre_hook(count("texts", 0))

    gradients_of(learner, given, batches[:1], 3)

    distinct = {text for row in batches[0]["text_index"].split(1) for text in row.tolist()}
    assert seen == {"pictures": 8 * times, "texts": len(distinct) * times}


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_reaches_every_weight(table, encoder, precision):
    given = config(precision=precision)
    learner, batches = learner_and_batches(table, encoder, given)
    _, expected, _ = gradients_of(learner, given, batches[:1], WHOLE)

    _, found, _ = gradients_of(learner, given, batches[:1], 3)

    assert found.keys() == expected.keys()
    laid = [torch.cat([gradient.flatten() for _, gradient in sorted(one.items())]) for one in (found, expected)]
    assert torch.nn.functional.cosine_similarity(*laid, dim=0) > 0.99


def test_a_step_of_several_batches_moves_the_weights_as_without(table, encoder):
    """With the pull and with clipping: all that comes after the gradients sees the same."""
    steps = {}
    for chunk in (0, 3):
        given = config(grad_cache_chunk=chunk, accumulate=2, optimizer="sgd", momentum=0.0, lr=0.1, pull=1.0)
        learner, batches = learner_and_batches(table, encoder, given)
        steps[chunk] = learner.step(batches[:2], 1.0), moved(learner, encoder)

    (done, found), (whole, expected) = steps[3], steps[0]
    assert (done.loss, done.grad_norm) == pytest.approx((whole.loss, whole.grad_norm), rel=1e-5)
    assert (found - expected).norm() <= 1e-5 * expected.norm()


def test_statistics_of_some_rows_are_refused_with_what_to_type(tmp_path, with_dropout):
    table = contest_table(tmp_path)

    with pytest.raises(UsageError, match="BatchNorm layers would make their statistics of 4 rows") as refused:
        train(table, with_dropout, config(freeze_batchnorm=False, grad_cache_chunk=4), out=tmp_path / "run")

    assert "--set freeze_batchnorm=true" in refused.value.hint
    assert "--set grad_cache_chunk=0" in refused.value.hint


def test_a_run_that_is_cut_short_goes_on_bit_for_bit(tmp_path, with_dropout):
    table, given = contest_table(tmp_path, 16), config(epochs=2, grad_cache_chunk=5, checkpoint_every_steps=1)
    model = export(with_dropout.model, with_dropout, tmp_path / "model")
    whole = train(table, load_encoder(model, device="cpu"), given, out=tmp_path / "whole")
    with pytest.raises(Stopped):
        train(table, load_encoder(model, device="cpu"), given, out=tmp_path / "parts", progress=StopsAt(3))

    parts = train(table, load_encoder(model, device="cpu"), given, out=tmp_path / "parts")

    assert [line["loss"] for line in parts.metrics] == [line["loss"] for line in whole.metrics]
    assert all(torch.equal(tensor, weights(whole)[name]) for name, tensor in weights(parts).items())


def test_a_batch_smaller_than_a_chunk_is_one_chunk(table, encoder):
    given = config(objective=Choice(), grad_cache_chunk=1000)
    learner, batches = learner_and_batches(table, encoder, given)

    assert learner.step(batches[-1:], 1.0).num_rows == len(batches[-1]["offsets"])
