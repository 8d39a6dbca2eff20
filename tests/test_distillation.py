"""Learning from a teacher's columns: which of its embeddings a step takes, who may teach, and what is told of it."""

from __future__ import annotations

import lance
import pyarrow as pa
import pytest
import torch

from clipdata.encoder import Encoder
from clipdata.errors import ConfigError, LineageMismatchError, SchemaError
from clipdata.lance_io import rows
from clipdata.lance_io.table import Table, open_table
from clipdata.mapping import map_column
from clipdata.progress import Silent
from clipdata.schema import key_field
from clipdata.steps import ImageEmbedding, ImageTrunk, TextEmbedding
from clipdata.stream import Stream
from clipdata.training.config import TrainConfig
from clipdata.training.fine_tuning import train
from clipdata.training.learner import Learner
from clipdata.training.objectives import Distillation, MultiPositive
from clipdata.training.usable_rows import choose_rows
from tests.contests import COLOURS, contest_rows
from tests.telling import Told
from tests.tiny_models import tiny_encoder

NAMES = list(COLOURS)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return tiny_encoder()


@pytest.fixture(scope="module")
def teacher() -> Encoder:
    return tiny_encoder(seed=1, embed_dim=16)


def captioned(folder, num_rows: int = 12) -> Table:
    made = contest_rows(num_rows).select(["path", "image", "sha256"])
    captions = [[f"a {NAMES[(n + k) % 8]} square" for k in range(1 + n % 3)] for n in range(num_rows)]
    made = made.append_column("captions", pa.array(captions, pa.list_(pa.string())))
    made = made.append_column("caption", pa.array([one[0] for one in captions]))
    schema = pa.schema([key_field("path"), *list(made.schema)[1:]])
    rows.upsert(rows.create_table(folder / "t.lance", schema), made.cast(schema))
    return open_table(folder / "t.lance")


@pytest.fixture(scope="module")
def table(tmp_path_factory, teacher, encoder) -> Table:
    """Rows with one to three captions, and what another model of another size makes of them."""
    table = captioned(tmp_path_factory.mktemp("taught"))
    map_column(table, ImageEmbedding(teacher), "teacher_image")
    map_column(table, TextEmbedding(teacher, "captions", lists=True), "teacher_text")
    map_column(table, ImageTrunk(encoder), "trunk")
    return table


def config(**changes) -> TrainConfig:
    given = {"objective": Distillation("captions"), "epochs": 2, "batch_size": 4, "evaluate_where": None}
    return TrainConfig(**{**given, **changes})


def test_a_list_of_captions_gets_a_list_of_the_vectors_that_each_has_alone(table, teacher):
    read = table.to_table(["captions", "teacher_text"]).to_pydict()

    for captions, vectors in zip(read["captions"], read["teacher_text"], strict=True):
        torch.testing.assert_close(torch.tensor(vectors), teacher.encode_texts(captions), rtol=1e-5, atol=1e-6)


def test_lists_without_a_text_have_reasons_and_empty_ones_no_vectors(teacher):
    step = TextEmbedding(teacher, "captions", lists=True)
    batch = pa.record_batch({"captions": pa.array([["a", None], None, [], ["b", "c"]], pa.list_(pa.string()))})

    values, reasons = step.compute(batch, None)

    assert values.type == step.returns == pa.list_(pa.list_(pa.float32(), 16))
    assert reasons == ["no text", "no text", None, None]
    assert [one and len(one) for one in values.to_pylist()] == [None, None, [], 2]
    assert step.compute(batch.slice(2, 1), None)[0].to_pylist() == [[]]


def test_texts_and_lists_of_them_are_not_taken_for_each_other(table, teacher):
    with pytest.raises(SchemaError, match="expected one text a row") as lists:
        map_column(table, TextEmbedding(teacher, "captions"), "other")
    with pytest.raises(SchemaError, match="expected a list of texts a row"):
        map_column(table, TextEmbedding(teacher, "caption", lists=True), "other")

    assert "lists=true" in str(lists.value.hint)


@pytest.mark.parametrize("once", [True, False], ids=["encoded once", "encoded in the step"])
@pytest.mark.parametrize("captions", ["all", "random", "longest"])
def test_a_step_takes_the_teachers_embeddings_of_the_captions_that_it_takes(table, encoder, teacher, captions, once):
    asked = config(objective=Distillation("captions", captions=captions))
    chosen = choose_rows(table, asked.objective, max_texts=100)
    learner = Learner(encoder, asked, len(chosen.offsets))
    if once:
        learner.forward.encode_once(chosen.texts, Silent())
    stream = Stream(table, rows=chosen.offsets, batch_size=5, shuffle=False, **learner.forward.request())

    for batch in stream:
        features, facts = learner.forward(batch)

        # The student's own features tell which texts were taken.
        texts = sorted(chosen.texts)
        student_TD = encoder.encode_texts(texts)
        taken_K = (features.text_TD.detach()[facts.text_index_K] @ student_TD.T).argmax(dim=1).tolist()
        expected_KE = teacher.encode_texts([texts[at] for at in taken_K])
        torch.testing.assert_close(facts.columns_of_texts["teacher_text"], expected_KE, rtol=1e-5, atol=1e-6)
        assert len(expected_KE) == int(facts.text_counts_B.sum())


def test_features_computed_once_are_taught_as_pictures_are(tmp_path, table, encoder):
    plain = config(text_cache=0, fidelity="exact")
    pictures = train(table, encoder, plain, out=tmp_path / "pictures")
    features = train(table, encoder, config(image_trunk="trunk"), out=tmp_path / "features")

    for one, other in zip(pictures.metrics, features.metrics, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)


def test_the_loss_is_the_teachers_and_as_much_of_the_tasks_own_as_is_asked(tmp_path, table, encoder):
    def first_loss(name: str, objective) -> float:
        once = config(objective=objective, epochs=1, batch_size=12, image_trunk="trunk")
        return train(table, encoder, once, out=tmp_path / name).metrics[0]["loss"]

    alone = first_loss("alone", Distillation("captions", captions="all", weight=0.0))
    own = first_loss("own", MultiPositive("captions", captions="all"))
    both = first_loss("both", Distillation("captions", captions="all", weight=0.5))

    assert both == pytest.approx(alone + 0.5 * own, rel=1e-5)


def test_the_teacher_is_told_and_recorded(tmp_path, table, encoder, teacher):
    told = Told()

    run = train(table, encoder, config(epochs=1), out=tmp_path / "run", progress=told)

    assert any("the teacher is" in line and "tiny-1" in line and teacher.identity[:12] in line for line in told.said)
    models = run.record["table"]["models"]
    assert models["teacher_image"] == models["teacher_text"] == {"name": teacher.name, "identity": teacher.identity}


def test_a_teacher_that_nobody_knows_is_told_to_be_such(tmp_path, encoder):
    table = captioned(tmp_path)
    brought = table.to_table().append_column("teacher_image", pa.array([[1.0, 0.0]] * 12, pa.list_(pa.float32(), 2)))
    brought = brought.append_column("teacher_text", pa.array([[0.0, 1.0]] * 12, pa.list_(pa.float32(), 2)))
    rows.upsert(rows.create_table(tmp_path / "brought.lance", brought.schema), brought)
    told = Told()

    taught = config(objective=Distillation("caption"), epochs=1)
    train(open_table(tmp_path / "brought.lance"), encoder, taught, out=tmp_path / "run", progress=told)

    assert any("nobody knows which model made 'teacher_image' and 'teacher_text'" in line for line in told.said)


def test_a_student_knows_the_rows_that_its_teacher_was_trained_on(tmp_path, encoder):
    table = captioned(tmp_path)
    taught = config(objective=MultiPositive("captions"), epochs=1)
    tuned = train(table, encoder, taught, out=tmp_path / "teacher", where="path < '00004.png'").encoder()
    map_column(table, ImageEmbedding(tuned), "teacher_image")
    map_column(table, TextEmbedding(tuned, "captions", lists=True), "teacher_text")

    run = train(table, encoder, config(epochs=1), out=tmp_path / "student", where="path > '00006.png'")

    assert {one.where for one in run.encoder().trained_on} == {"path < '00004.png'", "path > '00006.png'"}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory, encoder, teacher) -> Table:
    """Columns of two teachers, of one caption and of several."""
    table, other = captioned(tmp_path_factory.mktemp("mixed"), 3), tiny_encoder(seed=2, embed_dim=16)
    map_column(table, ImageEmbedding(teacher), "teacher_image")
    map_column(table, ImageEmbedding(other), "of_another")
    map_column(table, TextEmbedding(teacher, "captions", lists=True), "teacher_text")
    map_column(table, TextEmbedding(other), "caption_of_another")
    map_column(table, TextEmbedding(teacher), "of_caption")
    map_column(table, ImageTrunk(encoder), "trunk")
    lance.dataset(table.uri).add_columns({"title": "caption"})
    return open_table(table.uri)


@pytest.mark.parametrize(
    ("objective", "error", "named"),
    [
        (Distillation("captions", teacher_image="of_another"), LineageMismatchError, "expected one teacher for both"),
        (Distillation("captions", teacher_text="of_caption"), SchemaError, "a list of vectors of one size"),
        (Distillation("caption", teacher_text="caption_of_another"), LineageMismatchError, "'caption_of_another' by"),
        (Distillation("title", teacher_text="of_caption"), LineageMismatchError, "was made of caption"),
        (Distillation("captions", teacher_image="trunk"), SchemaError, "64 numbers and 'teacher_text' of 16"),
    ],
)
def test_columns_of_another_teacher_or_of_other_captions_are_refused(mixed, objective, error, named):
    with pytest.raises(error, match=named) as refused:
        objective.check(mixed)

    assert "clipdata map" in str(refused.value.hint)


def test_fields_out_of_range_are_refused_together():
    with pytest.raises(ConfigError, match="teacher_scale is 0") as refused:
        Distillation(teacher_scale=0, weight=-1, teacher_text="teacher_image")

    assert "weight is -1" in str(refused.value)
    assert "expected two columns" in str(refused.value)
