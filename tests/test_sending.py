"""An encoder on its way to another process."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

import clipdata as cd
from clipdata.encoder.sending import loaded_there, made_there, packed
from clipdata.errors import LineageMismatchError, NotFoundError
from tests.tiny_models import tiny_encoder


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> cd.Encoder:
    return tiny_encoder(tmp_path_factory.mktemp("tiny"))


def test_a_model_of_this_machine_takes_its_weights_along(exported: cd.Encoder, tmp_path: Path) -> None:
    data = pickle.dumps(exported)
    again = pickle.loads(data)
    assert len(data) > sum(tensor.nbytes for tensor in exported.model.state_dict().values())
    assert (again.identity, again.name, again.trained_on) == (exported.identity, exported.name, exported.trained_on)
    texts = ["a cat", "a dog"]
    assert torch.equal(again.encode_texts(texts), exported.encode_texts(texts))


def test_a_published_model_travels_as_its_name_and_its_identity(exported: cd.Encoder) -> None:
    named = cd.load_encoder(exported.name, device="cpu").named_for_all()
    data = pickle.dumps(named)
    assert len(data) < 1000
    assert pickle.loads(data).identity == exported.identity


def test_weights_that_changed_since_they_were_loaded_travel_themselves(exported: cd.Encoder) -> None:
    tuned = cd.load_encoder(exported.name, device="cpu").named_for_all()
    with torch.no_grad():
        next(iter(tuned.model.parameters())).add_(1.0)
    assert not tuned.is_known_by_name
    again = pickle.loads(pickle.dumps(tuned))
    assert again.identity == tuned.identity != exported.identity


def test_other_weights_under_the_name_are_refused_where_they_arrive(exported: cd.Encoder, tmp_path: Path) -> None:
    other = tiny_encoder(tmp_path, seed=2)
    with pytest.raises(LineageMismatchError, match=f"{other.identity[:12]}.*expected {exported.identity[:12]}"):
        loaded_there(other.name, "fp32", exported.identity)
    _, (model, parts, _) = packed(other)
    with pytest.raises(LineageMismatchError, match="weights, preprocessing or tokenizer differ"):
        made_there(model, parts, exported.identity)
    with pytest.raises(NotFoundError):
        loaded_there(str(tmp_path / "gone"), "fp32", exported.identity)


def test_a_step_forgets_what_it_met_on_its_way(exported: cd.Encoder) -> None:
    step = cd.steps.TextEmbedding(exported, "caption")
    import pyarrow as pa

    batch = pa.record_batch({"caption": ["a cat", "word " * 400]})
    step.compute(batch, None)
    again = pickle.loads(pickle.dumps(step))
    assert sorted(step.tally().values()) == [1, 2], "a text that was read whole, and one that was cut"
    assert again.tally() == {}
    again.compute(pa.record_batch({"caption": ["a dog", "word " * 400]}), None)
    step.add(again.tally())
    assert step.notes()["texts cut"].startswith("1 of 3 (33.3%)"), "the text that both met counts once"
