"""What a training needs of memory: counted, held against what is free, and told in place of a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import clipdata as cd
from clipdata.encoder import Encoder, export, new_encoder
from clipdata.free_memory import processor_memory
from clipdata.training.config import TrainConfig
from clipdata.training.memory import MemoryNeed, measure
from clipdata.training.memory_growth import growth_of, peak_of
from clipdata.training.memory_outlook import MemoryOutlook, outlook
from clipdata.training.plan import TrainingPlan
from tests.contests import contest_table
from tests.contracts.objectives import CASES, objective_table
from tests.contracts.test_objectives import learner_and_batches
from tests.tiny_models import tiny_config, tiny_dual_encoder, tiny_encoder

GB = 10**9


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    """A model whose pictures are many patches, so that what rows take is more than what weights do."""
    tiny = tiny_config(vision_cfg={"image_size": 64, "patch_size": 4, "layers": 4})
    return new_encoder(tiny | {"init_logit_bias": -10.0}, seed=0, name="tiny with a bias", device="cpu")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return objective_table(tmp_path_factory.mktemp("objectives"))


def config(**changes) -> TrainConfig:
    return TrainConfig(**{"epochs": 1, "batch_size": 8, "train": "all", "evaluate_where": None, **changes})


def test_what_rows_take_is_counted_tensor_by_tensor():
    """A layer by hand: rows of 4 KB make a product, which is freed once what follows is made of it."""
    weight = torch.nn.Parameter(torch.ones(1000))

    def compute(rows_BN: torch.Tensor) -> torch.Tensor:
        product_BN = rows_BN * weight  # keeps rows and weight, makes 4 KB a row
        return product_BN.exp().sum(dim=1)  # keeps what exp made, 4 KB a row; 4 bytes a row of sums

    growth = growth_of(compute, torch.zeros(5, 1000), [weight])

    assert growth.of(10).kept == 10 * (4000 + 4)  # the product is freed once exp is there
    assert growth.of(10).forward_S.max() == 10 * (4000 + 4000 + 4)
    assert growth.of(10).gradients_S.max() == 4000
    assert weight.grad is None


def test_growth_is_that_of_any_number_of_rows(table, encoder):
    given = config()
    learner, batches = learner_and_batches(table, encoder, given)
    images = learner.forward.inputs(batches[0]).images
    trained = [p for p in learner.model.parameters() if p.requires_grad]

    growth = growth_of(learner.forward.image_trunk, images, trained)

    rows = images.repeat(3, 1, 1, 1)
    counted = peak_of(lambda: learner.forward.image_trunk(rows))
    learner.model.zero_grad(set_to_none=True)
    assert growth.of(24).peak() == pytest.approx(counted, rel=0.02)


@pytest.mark.parametrize("chunk", [0, 2])
@pytest.mark.parametrize("case", [CASES[0], CASES[1], CASES[5], CASES[-1]], ids=str)
def test_the_need_of_a_step_is_within_a_quarter_of_what_it_takes(table, encoder, case, chunk):
    given = config(objective=case.objective, grad_cache_chunk=chunk)
    learner, batches = learner_and_batches(table, encoder, given)

    measured = measure(learner, batches[0], encoder.model, evaluates=False)

    passes, objective = learner._passes(), given.objective

    def step() -> torch.Tensor:
        passed = passes(batches[0])
        objective.loss(passed.features, passed.facts).backward()
        for carry_on in passed.behind:
            carry_on()
        return torch.zeros(())

    counted, need = peak_of(step), measured.need(chunk)
    assert measured.in_passes(chunk, 8) == pytest.approx(counted, rel=0.25)
    assert need.gradients == sum(p.nbytes for p in learner.model.parameters())
    assert need.optimizer == 2 * need.gradients
    assert need.rows_at_once == (chunk or 8)


def test_measuring_leaves_weights_statistics_and_random_state_as_they_were(tmp_path):
    encoder, table = tiny_dual_encoder(tmp_path / "dual"), contest_table(tmp_path)
    learner, batches = learner_and_batches(table, encoder, config(freeze_batchnorm=False))
    before = {name: tensor.clone() for name, tensor in learner.model.state_dict().items()}
    stands = torch.get_rng_state()

    measure(learner, batches[0], encoder.model, evaluates=True)

    assert all(torch.equal(tensor, before[name]) for name, tensor in learner.model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), stands)
    assert all(parameter.grad is None for parameter in learner.model.parameters())


def test_heads_alone_and_fewer_rows_at_once_need_less(table, encoder):
    learner, batches = learner_and_batches(table, encoder, config())

    measured = measure(learner, batches[0], encoder.model, evaluates=False)

    heads = measured.heads_alone().need(0)
    assert measured.in_passes(1, 8) < measured.in_passes(4, 8) < measured.in_passes(0, 8)
    assert measured.need(1).total <= measured.need(4).total < measured.need(0).total
    assert heads.gradients == sum(
        p.nbytes for n, p in learner.model.named_parameters() if n in {*learner.forward.towers.image_head_names,
        *learner.forward.towers.text_head_names, "logit_scale", "logit_bias"})  # fmt: skip
    assert heads.total < measured.need(0).total


@pytest.mark.parametrize(
    ("part", "free", "change"),
    [
        ("whole", 1.5, None),
        ("whole", 1.1, "--set grad_cache_chunk="),
        ("heads", 1.5, "--set train=projections"),
        ("nothing", 0.0, None),
    ],
)
def test_what_is_near_the_free_memory_names_the_smallest_change(table, encoder, monkeypatch, part, free, change):
    learner, batches = learner_and_batches(table, encoder, config())
    measured = measure(learner, batches[0], encoder.model, evaluates=False)
    needs = {"whole": measured.need(0), "heads": measured.heads_alone().need(0), "nothing": measured.need(0)}
    monkeypatch.setattr("clipdata.training.memory_outlook.free_on", lambda _device: int(free * needs[part].to_come))

    found = outlook(learner, batches[0], encoder.model, evaluates=False)

    assert found.is_near == (part != "whole" or free < 1.25)
    assert (found.change or "").startswith(change or "")
    assert (found.change is None) == (change is None)


def test_the_warning_says_what_needs_how_much_and_what_to_type():
    need = MemoryNeed(600_000_000, 0, 600_000_000, 1_200_000_000, 8_200_000_000, 64)

    over = MemoryOutlook(need, 8 * GB, "--set grad_cache_chunk=8", "all weights at batch 64")

    assert over.is_over
    assert over.warning == "all weights at batch 64 need about 10 GB here, and 8 GB are free: --set grad_cache_chunk=8"
    assert "a smaller model" in MemoryOutlook(need, 8 * GB, None, "all weights at batch 64").warning
    assert not MemoryOutlook(need, None, None, "all weights at batch 64").is_near


def test_a_dry_run_says_what_the_training_needs(tmp_path):
    table = contest_table(tmp_path)

    plan = cd.train(table, tiny_encoder(), config(grad_cache_chunk=2), out=tmp_path / "run", dry_run=True)

    assert isinstance(plan, TrainingPlan)
    told = plan.to_dict()["plan"]["memory"]
    assert told["rows_at_once"] == 2
    assert told["total_bytes"] == sum(
        told[f"{n}_bytes"] for n in ("weights", "copies", "gradients", "optimizer", "rows")
    )
    assert "memory: about" in str(plan)
    assert "2 rows at once" in str(plan)


def test_free_memory_is_no_more_than_the_machine_has():
    found = processor_memory()

    assert found is not None
    assert 0 < found.free <= found.total


SCRIPT = """
import json, resource, sys
import torch
from clipdata.encoder import load_encoder
from clipdata.errors import ClipdataError
from clipdata.lance_io.table import open_table
from clipdata.training.config import TrainConfig
from clipdata.training.fine_tuning import train

table, model, out, config = sys.argv[1:]

class Limits:
    def say(self, text): print(text, flush=True)
    def task(self, label, total, unit="rows"):
        from clipdata.progress import Silent
        if label == "train":
            taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (taken + 400_000_000, resource.RLIM_INFINITY))
        return Silent().task(label, total, unit)

if __name__ == "__main__":
    torch.set_num_threads(1)
    given = TrainConfig.from_json(config)
    try:
        train(open_table(table), load_encoder(model, device="cpu"), given, out=out, progress=Limits())
    except ClipdataError as error:
        print(type(error).__name__, error, flush=True)
"""


def test_a_step_that_the_memory_does_not_hold_is_told_with_what_to_change(tmp_path: Path):
    """A process with a limit of its own, and a batch beyond it: 64 rows of 1024 patches each."""
    made = tiny_encoder(vision_cfg={"image_size": 128, "patch_size": 4, "width": 256, "layers": 4})
    model = export(made.model, made, tmp_path / "model")
    given = config(batch_size=64, objective={"kind": "choice"}, canary=False)
    script = tmp_path / "limited.py"
    script.write_text(SCRIPT)
    table = contest_table(tmp_path, 64)
    command = [sys.executable, script, table.uri, model, tmp_path / "run", json.dumps(given.to_json())]
    environment = {**os.environ, "PYTHONPATH": str(Path(cd.__file__).parents[1])}

    done = subprocess.run(
        [*map(str, command)], env=environment, capture_output=True, text=True, timeout=300, check=False
    )

    assert "ClipdataError step 1: there was too little memory" in done.stdout, done.stdout + done.stderr
    assert "--set grad_cache_chunk=32" in done.stdout
    assert "Traceback" not in done.stderr
