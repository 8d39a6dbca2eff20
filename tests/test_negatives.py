"""Captions of other pictures as negatives: which of a column's texts are taken, whatever encodes them."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.nn import functional

from clipdata.lance_io import rows
from clipdata.lance_io.table import Table, open_table
from clipdata.progress import Silent
from clipdata.schema import key_field
from clipdata.stream import Stream
from clipdata.training.config import TrainConfig
from clipdata.training.fine_tuning import train
from clipdata.training.forward import PictureIds
from clipdata.training.learner import Learner
from clipdata.training.objectives import Contrastive, MultiPositive, Objective
from clipdata.training.usable_rows import choose_rows
from tests.contests import contest_rows
from tests.tiny_models import tiny_encoder

CHOICES = [
    ["a red square", "a blue square", "a green square"],
    ["a blue square", "a pink square", "a red square"],
    ["a brown square", "a pink square"],
    [],
]
CAPTIONS = [
    ["a red square", "red"],
    ["a blue square"],
    ["a green square", "a brown square"],
    ["a white square"],
]


@pytest.fixture(scope="module")
def encoder():
    return tiny_encoder()


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Table:
    """Four pictures; of the third, a negative is a caption of its own that a step may not take."""
    made = contest_rows(4).select(["path", "image", "sha256"])
    made = made.append_column("captions", pa.array(CAPTIONS, pa.list_(pa.string())))
    made = made.append_column("choices", pa.array(CHOICES, pa.list_(pa.string())))
    folder = tmp_path_factory.mktemp("negatives")
    fields = [key_field("path"), *list(made.schema)[1:]]
    rows.upsert(rows.create_table(folder / "t.lance", pa.schema(fields)), made.cast(pa.schema(fields)))
    return open_table(folder / "t.lance")


def loss_of(table: Table, encoder, objective: Objective, *, once: bool) -> float:
    config = TrainConfig(objective=objective, batch_size=4, evaluate_where=None)
    chosen = choose_rows(table, objective, max_texts=100)
    learner = Learner(encoder, config, len(chosen.offsets), PictureIds(chosen.offsets, chosen.pictures_N))
    if once:
        learner.forward.encode_once(chosen.texts, Silent())
    stream = Stream(table, rows=chosen.offsets, batch_size=4, shuffle=False, **learner.forward.request())
    features, facts = learner.forward(next(iter(stream)))
    return float(objective.loss(features, facts).detach())


def plain_loss(table: Table, encoder, texts: list[str], negatives: list[list[str]]) -> float:
    """Each picture's own caption among all taken and its own list of negatives; each caption's picture among all."""
    images = table.to_table(["image"]).column(0).to_pylist()
    arrays = [cv2.imdecode(np.frombuffer(one, np.uint8), cv2.IMREAD_COLOR_RGB) for one in images]
    pixels = torch.stack([encoder.prepare.with_fidelity("fast")(one) for one in arrays])
    scale = encoder.logit_scale
    with torch.no_grad():
        image = encoder.encode_images(pixels)
        logits = scale * image @ encoder.encode_texts(texts).T
        told = 0.0
        for row, wrong in enumerate(negatives):
            among = logits[row]
            if wrong:
                among = torch.cat([among, scale * image[row] @ encoder.encode_texts(wrong).T])
            told += float(functional.cross_entropy(among[None], torch.tensor([row]))) / len(texts)
        return (told + float(functional.cross_entropy(logits.T, torch.arange(len(texts))))) / 2


@pytest.mark.parametrize("once", [True, False], ids=["encoded once", "encoded in the step"])
@pytest.mark.parametrize("kind", [Contrastive, MultiPositive])
def test_every_picture_is_told_from_the_negatives_of_all_rows_that_are_no_captions_of_its_own(
    table, encoder, kind, once
):
    """Texts that the batch takes as captions are compared anyway, and "brown" is a caption of the third picture."""
    found = loss_of(table, encoder, kind("captions", captions="first", negatives="choices"), once=once)

    others = ["a pink square", "a brown square"]
    taken = ["a red square", "a blue square", "a green square", "a white square"]
    expected = plain_loss(table, encoder, taken, [others, others, ["a pink square"], others])
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_list_that_is_unknown_leaves_its_row_out_and_an_empty_one_does_not(table, tmp_path):
    made = table.to_table()
    choices = pa.array([None, *CHOICES[1:]], pa.list_(pa.string()))
    rows.upsert(
        rows.create_table(tmp_path / "t.lance", made.schema), made.set_column(made.num_columns - 1, "choices", choices)
    )

    chosen = choose_rows(open_table(tmp_path / "t.lance"), Contrastive("captions", negatives="choices"))

    assert dict(chosen.refused) == {"no choices": 1}
    assert len(chosen.offsets) == 3


def test_a_run_that_was_begun_before_there_were_negatives_goes_on(table, encoder, tmp_path):
    config = TrainConfig(objective=Contrastive("captions"), epochs=1, batch_size=4, evaluate_where=None)
    run = train(table, encoder, config, out=tmp_path / "run")
    record = json.loads((run.path / "config.json").read_text())
    del record["config"]["objective"]["negatives"]
    (run.path / "config.json").write_text(json.dumps(record))

    again = train(table, encoder, config, out=tmp_path / "run")

    assert again.is_finished
