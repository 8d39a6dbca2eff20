"""Recall and embedding steps: each image decoded and encoded once, no state of what was never computed, no NaN."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

import clipdata as cd
from clipdata.encoder import Encoder, export, load_encoder
from clipdata.errors import SchemaError
from clipdata.lance_io import rows
from clipdata.schema import image_schema
from clipdata.step_protocol import check_types
from clipdata.steps.recall import NOT_FINITE, ImageRecall, TextRecall, finite_or_reason
from clipdata.trained_rows import TrainedRows
from tests.pictures import encoded
from tests.tiny_models import tiny_encoder


@pytest.fixture
def encoder() -> Encoder:
    return tiny_encoder()


def column(*values: bytes | None) -> pa.Array:
    return pa.array(values, pa.large_binary())


def captioned(folder: Path, num: int = 6) -> cd.Table:
    table = rows.create_table(folder / "captioned.lance", image_schema([pa.field("caption", pa.string())]))
    paths = [f"{n:03d}" for n in range(num)]
    images = [encoded(number) for number in range(num)]
    rows.upsert(table, pa.table({"path": paths, "image": images, "caption": [f"caption {n}" for n in range(num)]}))
    return cd.open_table(table.uri)


def values(table: cd.Table, name: str) -> list:
    return cd.open_table(table.uri).to_table([name])[name].to_pylist()


def test_features_of_rows_follow_their_images_and_say_why_there_are_none(encoder: Encoder) -> None:
    recall = ImageRecall(encoder, encoder.encode_images)

    features_BD, reasons = recall.features(recall.prepare(column(encoded(1), None, encoded(2), encoded(1), b"x")))

    assert reasons[:4] == [None, "no image", None, None]
    assert str(reasons[4]).startswith("not_an_image")
    assert np.array_equal(features_BD[0], features_BD[3])
    assert not np.array_equal(features_BD[0], features_BD[2])
    assert not features_BD[[1, 4]].any()


def test_an_image_is_decoded_once_also_when_the_next_batch_is_prepared_before_it_was_encoded(encoder: Encoder) -> None:
    asked: list[int] = []
    prepare = encoder.prepare

    def counted(pixels: np.ndarray) -> torch.Tensor:
        asked.append(len(pixels))
        return prepare(pixels)

    encoder.prepare = counted  # type: ignore[assignment]
    recall = ImageRecall(encoder, encoder.encode_images)
    encoder.prepare = prepare
    first, second = (recall.prepare(column(encoded(1), encoded(number))) for number in (2, 3))
    late = recall.features(second)[0]
    early = recall.features(first)[0]
    again = recall.features(recall.prepare(column(encoded(3), encoded(2))))[0]

    assert len(asked) == 3
    assert np.array_equal(early[0], late[0])
    assert np.array_equal(again, [late[1], early[1]])


def test_what_was_prepared_and_never_computed_leaves_no_trace(encoder: Encoder) -> None:
    recall = ImageRecall(encoder, encoder.encode_images)
    recall.prepare(column(encoded(1), encoded(2), b"broken"))
    gc.collect()

    features_BD, reasons = recall.features(recall.prepare(column(encoded(1), encoded(2))))

    assert reasons == [None, None]
    assert features_BD.any(axis=1).all()


@pytest.mark.parametrize("kind", ["image", "scores"])
def test_a_step_serves_again_after_an_interrupted_map(
    kind: str, tmp_path: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = captioned(tmp_path)
    step = cd.steps.ImageEmbedding(encoder) if kind == "image" else cd.steps.PairScore(encoder)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(step, "compute", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cd.map_column(table, step, "value", batch_rows=2)
    monkeypatch.undo()

    assert cd.map_column(table, step, "value", batch_rows=2).computed == 6
    assert None not in values(table, "value")


def broken(encoder: Encoder, part: str, value: float) -> Encoder:
    with torch.no_grad():
        encoder.model.get_parameter(part)[0].fill_(value)
    return encoder


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("step_class", [cd.steps.ImageEmbedding, cd.steps.ImageTrunk, cd.steps.PairScore])
def test_a_model_that_gives_nan_stores_nothing_and_is_said(
    step_class: type, value: float, tmp_path: Path, encoder: Encoder
) -> None:
    table = captioned(tmp_path)

    done = cd.map_column(table, step_class(broken(encoder, "visual.ln_post.weight", value)), "made")

    assert done.failed == {NOT_FINITE: 6}
    assert values(table, "made") == [None] * 6
    assert values(table, "made__error") == [NOT_FINITE] * 6


def test_a_text_tower_that_gives_nan_stores_no_embedding(tmp_path: Path, encoder: Encoder) -> None:
    table = captioned(tmp_path)

    done = cd.map_column(table, cd.steps.TextEmbedding(broken(encoder, "ln_final.weight", float("nan"))), "made")

    assert done.failed == {NOT_FINITE: 6}
    assert values(table, "made") == [None] * 6


def test_a_trunk_column_that_holds_nan_gives_a_reason_and_no_score(encoder: Encoder) -> None:
    step = cd.steps.PairScore(encoder, trunk="trunk")
    trunk_BT = np.ones((2, encoder.trunk_dim), np.float32)
    trunk_BT[1, 3] = np.nan
    held = pa.FixedSizeListArray.from_arrays(pa.array(trunk_BT.ravel()), encoder.trunk_dim)

    _, reasons = step.image_features(pa.record_batch({"trunk": held}), None)

    assert reasons == [None, NOT_FINITE]


def test_reasons_that_are_there_stay_beside_values_that_are_no_numbers() -> None:
    assert finite_or_reason(np.array([1.0, np.nan, np.inf, np.nan]), [None, None, None, "no text"]) == [
        None,
        NOT_FINITE,
        NOT_FINITE,
        "no text",
    ]


def test_each_text_is_encoded_once(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    encode = encoder.encode_texts
    monkeypatch.setattr(encoder, "encode_texts", lambda texts: (asked.extend(texts), encode(texts))[1])
    recall = TextRecall(encoder)

    first = recall.features(["a", "b", "a"])
    recall.features(["b", "c"])

    assert asked == ["a", "b", "c"]
    assert np.array_equal(first[0], first[2])


def test_steps_refuse_columns_of_other_types_and_take_every_spelling_of_theirs(encoder: Encoder) -> None:
    image, text = cd.steps.ImageEmbedding(encoder), cd.steps.TextEmbedding(encoder)
    scores = cd.steps.PairScore(encoder, trunk="trunk")

    def of(name: str, kind: pa.DataType, **others: pa.DataType) -> pa.Schema:
        return pa.schema({name: kind, **others})

    for kind in (pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())):
        check_types(text, of("caption", kind))
    for kind in (pa.binary(), pa.large_binary()):
        check_types(image, of("image", kind))
    with pytest.raises(SchemaError, match="expected texts"):
        check_types(text, of("caption", pa.int64()))
    with pytest.raises(SchemaError, match="expected texts"):
        check_types(scores, of("trunk", pa.list_(pa.float32(), 8), caption=pa.list_(pa.string())))
    with pytest.raises(SchemaError, match="expected bytes of pictures"):
        check_types(image, of("image", pa.string()))
    with pytest.raises(SchemaError, match="expected lists of numbers"):
        check_types(scores, of("trunk", pa.large_binary(), caption=pa.string()))


def test_steps_say_the_models_name_and_what_it_was_trained_on(tmp_path: Path, encoder: Encoder) -> None:
    seen = TrainedRows("a.lance", 1, None, 1, np.array([7], np.uint64), np.empty(0, np.uint64), 0, 1)
    tuned = load_encoder(export(encoder.model, encoder, tmp_path / "tuned", trained_on=(seen,)), device="cpu")

    for step in (cd.steps.ImageEmbedding(tuned), cd.steps.ImageTrunk(tuned), cd.steps.TextEmbedding(tuned)):
        assert [rows.digest for rows in step.trained_on] == [seen.digest]
        assert step.model_name == tuned.name
    assert cd.steps.PairScore(tuned).trained_on == tuned.trained_on
    assert cd.steps.PairScore(encoder).trained_on == ()
