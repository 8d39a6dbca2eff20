"""A run beside the loop that a person writes by hand in torch: the same losses and rates, step by step."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from transformers import get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup

from clipdata.encoder import Encoder
from clipdata.images import decode
from clipdata.lance_io.table import Table
from clipdata.training.config import TrainConfig
from clipdata.training.fine_tuning import train
from tests.contests import contest_table
from tests.tiny_models import tiny_encoder

NUM_EPOCHS = 5
WHOLE = {
    "epochs": NUM_EPOCHS,
    "batch_size": 8,  # all rows, so that both sides see the same batches
    "lr": 1e-3,
    "train": "all",
    "decay_all": True,
    "grad_clip": None,
    "fidelity": "exact",
    "evaluate_where": None,
    "checkpoint_every_epochs": 99,
}


def loop_by_hand(encoder: Encoder, table: Table, make_optimizer, make_scheduler) -> tuple[list[float], list[float]]:
    """Losses and rates of a loop over all rows at once, each row's own captions in a loop of its own."""
    model = encoder.model
    optimizer = make_optimizer(model.parameters())
    scheduler = make_scheduler(optimizer)
    found = table.to_table(["image", "caption_choices", "label_ind"])
    image_BCHW = torch.stack([encoder.prepare(decode(data)) for data in found["image"].to_pylist()])
    choices, labels = found["caption_choices"].to_pylist(), found["label_ind"].to_pylist()
    tokens_KL, counts = encoder.tokenize([text for texts in choices for text in texts]), [len(c) for c in choices]
    losses, rates = [], []
    for _ in range(NUM_EPOCHS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.zero_grad()
        text_KD = model.encode_text(tokens_KL, normalize=True)
        image_BD = model.encode_image(encoder.normalise(image_BCHW), normalize=True)
        loss = torch.zeros(())
        for image_D, text_ND, label in zip(image_BD, text_KD.split(counts), labels, strict=True):
            logits_N = model.logit_scale.exp() * text_ND @ image_D
            loss = loss + torch.nn.functional.cross_entropy(logits_N[None], torch.tensor([label])) / len(image_BD)
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(100))
        scheduler.step()
        losses.append(float(loss.detach()))
    return losses, rates


@pytest.mark.parametrize(
    ("changes", "make_optimizer", "make_scheduler"),
    [
        (
            {"optimizer": "adam", "betas": (0.9, 0.98), "eps": 1e-6, "weight_decay": 1e-3}
            | {"schedule": "step", "step_epochs": 2, "step_gamma": 0.1},
            lambda p: torch.optim.Adam(p, lr=1e-3, betas=(0.9, 0.98), eps=1e-6, weight_decay=1e-3),
            lambda o: torch.optim.lr_scheduler.StepLR(o, 2, 0.1),
        ),
        (
            {"optimizer": "adamw", "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
            | {"schedule": "cosine", "warmup_steps": 2, "warmup_from_zero": True},
            lambda p: torch.optim.AdamW(p, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0),
            lambda o: get_cosine_schedule_with_warmup(o, 2, NUM_EPOCHS),
        ),
        (
            {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.01}
            | {"schedule": "linear", "warmup_ratio": 0.3, "warmup_from_zero": True},
            lambda p: torch.optim.SGD(p, lr=1e-3, momentum=0.9, weight_decay=0.01),
            lambda o: get_linear_schedule_with_warmup(o, 2, NUM_EPOCHS),
        ),
    ],
)
def test_a_run_has_the_losses_and_rates_of_the_loop_by_hand(tmp_path: Path, changes, make_optimizer, make_scheduler):
    table = contest_table(tmp_path, 8)
    losses, rates = loop_by_hand(tiny_encoder(), table, make_optimizer, make_scheduler)

    run = train(table, tiny_encoder(), TrainConfig(**{**WHOLE, **changes}), out=tmp_path / "run")

    lines = [line for line in run.metrics if line["kind"] == "step"]
    assert [line["lr"] for line in lines] == pytest.approx(rates, abs=1e-12)
    assert [line["loss"] for line in lines] == pytest.approx(losses, rel=1e-4)
    assert losses[-1] != pytest.approx(losses[0], rel=1e-2)
