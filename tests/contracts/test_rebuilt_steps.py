"""What every step must keep: the column that it made says enough to make the very same step again."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import clipdata as cd
from clipdata.engines.fill import compute_part
from clipdata.errors import LineageMismatchError, NotFoundError, UsageError
from clipdata.lance_io import rows
from clipdata.lance_io.filling import Filling
from clipdata.origin import lineage_of
from clipdata.schema import image_schema
from clipdata.steps.rebuilding import Models, newer_code, rebuild, step_classes
from tests.pictures import encoded
from tests.tiny_models import tiny_encoder

CHOICES = ["a red circle", "a blue square"]
MORE = [
    pa.field("caption", pa.string()),
    pa.field("captions", pa.list_(pa.string())),
    pa.field("caption_choices", pa.list_(pa.string())),
    pa.field("label", pa.string()),
    pa.field("label_ind", pa.int32()),
    pa.field("split", pa.string()),
    pa.field("group", pa.string()),
    pa.field("values", pa.list_(pa.float32())),
]

Made = Callable[[cd.Table, "cd.Encoder"], cd.Step]
# Every step as a person may make it, with arguments that are not the usual ones among them.
STEPS: dict[str, list[Made]] = {
    "ChoiceScores": [
        lambda _, e: cd.steps.ChoiceScores(e),
        lambda _, e: cd.steps.ChoiceScores(e, "captions", trunk="trunk", probabilities=False),
        lambda _, e: cd.steps.ChoiceScores(e, scale=7.5),
    ],
    "ClassScores": [
        lambda _, e: cd.steps.ClassScores(e, ["cat", "dog"], ["a {}", "the {}"]),
        lambda _, e: cd.steps.ClassScores(e, ["cat", "dog"], trunk="trunk", scale=3.0),
    ],
    "PairScore": [lambda _, e: cd.steps.PairScore(e), lambda _, e: cd.steps.PairScore(e, "label", trunk="trunk")],
    "ImageTrunk": [lambda _, e: cd.steps.ImageTrunk(e)],
    "ImageEmbedding": [lambda _, e: cd.steps.ImageEmbedding(e)],
    "PreparedPixels": [
        lambda _, e: cd.steps.PreparedPixels(e),
        lambda _, e: cd.steps.PreparedPixels(e.prepare, "jpeg", 40, 80),
    ],
    "TextEmbedding": [
        lambda _, e: cd.steps.TextEmbedding(e, "label"),
        lambda _, e: cd.steps.TextEmbedding(e, "captions", lists=True),
    ],
    "LabelIndex": [
        lambda *_: cd.steps.LabelIndex(),
        lambda *_: cd.steps.LabelIndex("caption", choices="captions"),
        lambda *_: cd.steps.LabelIndex("caption", classes=["a", "b"], choices="captions"),
    ],
    "Pick": [lambda *_: cd.steps.Pick("values", "label_ind")],
    "Prompt": [lambda *_: cd.steps.Prompt("{label} {caption}"), lambda *_: cd.steps.Prompt(["{label}", "{path}"])],
    "ClassPrompt": [lambda *_: cd.steps.ClassPrompt("label_ind", ["cat", "dog"], ["a {}", "the {}"])],
    "CleanCaptions": [lambda *_: cd.steps.CleanCaptions("caption")],
    "UnseenCaptions": [
        lambda t, _: cd.steps.UnseenCaptions(t, "caption", trained_where="split = 'a'"),
        lambda t, _: cd.steps.UnseenCaptions([t.uri, other(t)], "caption", trained_where="split = 'a'"),
    ],
    "PictureDigest": [lambda *_: cd.steps.PictureDigest()],
    "ImageQuality": [lambda *_: cd.steps.ImageQuality()],
    "DrawnChoices": [
        lambda t, _: cd.steps.DrawnChoices(t, num_choices=3, seed=4, where="split = 'a'"),
        lambda t, _: cd.steps.DrawnChoices(t, "label", num_choices=2, picture="group", key="caption"),
    ],
    "PixelDigest": [lambda *_: cd.steps.PixelDigest()],
    "PerceptualHash": [lambda *_: cd.steps.PerceptualHash(mirrored=False)],
    "NearDuplicates": [lambda t, _: cd.steps.NearDuplicates(t, "hash", radius=3, column="made")],
    "EmbeddingDuplicates": [lambda t, _: cd.steps.EmbeddingDuplicates(t, "trunk", least_cosine=0.9, column="made")],
    "SemanticDeduplication": [
        lambda t, _: cd.steps.SemanticDeduplication(t, "trunk", cells=2, least_cosine=0.8, column="made"),
        lambda t, _: cd.steps.SemanticDeduplication(t, "trunk", "caption", column="made"),
    ],
    "BestOfCluster": [
        lambda t, _: cd.steps.BestOfCluster(t, "group", column="made"),
        lambda t, _: cd.steps.BestOfCluster(t, "group", "caption", "label_ind", rule="highest", column="made"),
        lambda t, _: cd.steps.BestOfCluster(t, "group", rule="first", column="made"),
    ],
    "LeakProofSplit": [
        lambda t, _: cd.steps.LeakProofSplit(t, ["group", "caption"], column="made"),
        lambda t, _: cd.steps.LeakProofSplit(t, "group", "label", shares="a=0.5,b=0.5", seed=2, column="made"),
    ],
    "CaptionQuality": [lambda *_: cd.steps.CaptionQuality("captions")],
    "CaptionCount": [lambda t, _: cd.steps.CaptionCount(t, "captions")],
    "CaptionLanguage": [lambda *_: installed("py3langid") and cd.steps.CaptionLanguage(among=["en", "de"], sure=0.1)],
    "ConceptBalance": [
        lambda t, _: cd.steps.ConceptBalance(t, ["cat", "dog"], cap=2, seed=1),
        lambda t, _: cd.steps.ConceptBalance(t, ["cat", "dog"], "captions", row="caption"),
    ],
    "ChoiceNoise": [lambda t, _: cd.steps.ChoiceNoise(t, "values")],
    "LabelNoise": [
        lambda t, _: cd.steps.LabelNoise(t, scores="values"),
        lambda t, _: cd.steps.LabelNoise(t, "label", embedding="trunk", picture="path", folds=3, seed=2),
    ],
    "Head": [lambda *_: cd.steps.Head("head.npz", "trunk", normalise=False)],
    "HeadScores": [
        lambda *_: cd.steps.HeadScores("head"),
        lambda *_: cd.steps.HeadScores("head", "embedding", output="label"),
    ],
    "DrawnPlace": [lambda *_: cd.steps.DrawnPlace("captions")],
    "GroupSplit": [lambda t, _: cd.steps.GroupSplit(t, picture="group", column="made", test_share=0.3, seed=5)],
    "PairSplit": [lambda t, _: cd.steps.PairSplit(t, "caption", picture="group", column="made")],
    "ClassSplit": [lambda t, _: cd.steps.ClassSplit(t, column="made", seed=3)],
}
CASES = [(name, place) for name, made in STEPS.items() for place in range(len(made))]


def other(table: cd.Table) -> str:
    """Another table beside it."""
    return table.uri.replace("contest.lance", "other.lance")


def installed(module: str) -> bool:
    """Whether an optional library is there; where it is not, the test is skipped."""
    return bool(pytest.importorskip(module))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> cd.Encoder:
    return tiny_encoder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory, encoder: cd.Encoder) -> cd.Table:
    folder = tmp_path_factory.mktemp("steps")
    data = [encoded(number) for number in range(3)]
    for name in ("contest.lance", "other.lance"):
        made = rows.create_table(folder / name, image_schema(MORE))
        values = {
            "path": list("abc"), "image": data, "bytes": [len(d) for d in data], "sha256": list("xyz"),
            "caption": ["a cat", "a dog", "a fox"], "captions": [CHOICES] * 3, "caption_choices": [CHOICES] * 3,
            "label": ["A", "B", "A"], "label_ind": pa.array([0, 1, 0], pa.int32()), "split": ["a", "b", "a"],
            "width": pa.array([4, 5, 6], pa.int32()), "height": pa.array([4, 5, 6], pa.int32()), "group": list("ppq"),
            "values": pa.array([[0.5, 1.0]] * 3, pa.list_(pa.float32())),
        }  # fmt: skip
        rows.upsert(made, pa.table(values))
    opened = cd.open_table(folder / "contest.lance")
    cd.map_column(opened, cd.steps.ImageTrunk(encoder), "trunk")
    cd.map_column(opened, cd.steps.ImageEmbedding(encoder), "embedding")
    cd.fit_head(opened, encoder, label="label").save(folder / "head")
    cd.map_column(opened, cd.steps.PerceptualHash(), "hash")
    np.savez(folder / "head.npz", coef_=np.ones(encoder.trunk_dim), intercept_=np.array(0.5))
    return opened


def test_every_step_is_among_them() -> None:
    assert set(STEPS) == set(step_classes()), "each step is made here as a person may make it, optional columns and all"


@pytest.mark.parametrize(("name", "place"), CASES)
def test_a_step_is_made_again_from_the_lineage_of_its_column(
    table: cd.Table, encoder: cd.Encoder, monkeypatch: pytest.MonkeyPatch, name: str, place: int
) -> None:
    monkeypatch.chdir(Path(table.uri).parent)
    step = STEPS[name][place](table, encoder)
    cd.map_column(table, step, "made", overwrite=True)

    again = rebuild(table, "made", Models(given=[encoder]))

    assert type(again) is type(step)
    assert lineage_of(table, again).fingerprint == table.lineage("made").fingerprint
    assert (again.returns, again.tables) == (step.returns, step.tables)
    assert newer_code(table, "made") is None
    values = table.to_table(["made"])
    cd.map_column(table, again, "made", overwrite=True)
    assert table.to_table(["made"]).equals(values)


@pytest.mark.parametrize(("name", "place"), CASES)
def test_a_step_goes_to_another_process_and_computes_there_what_it_computes_here(
    table: cd.Table, encoder: cd.Encoder, monkeypatch: pytest.MonkeyPatch, name: str, place: int
) -> None:
    monkeypatch.chdir(Path(table.uri).parent)
    step = STEPS[name][place](table, encoder)
    step.check(table.schema)
    table.move_to(table.latest())
    filling = Filling(table.pinned(), "elsewhere", tuple(step.reads), "sent")
    (_, batch), *_ = filling.read(0, np.empty(0, np.int64), batch_rows=3)
    expected = compute_part(step, np.arange(3), batch, step.prepare(batch), {})

    again = pickle.loads(pickle.dumps(step))

    found = compute_part(again, np.arange(3), batch, again.prepare(batch), {})
    assert found.values.equals(expected.values)
    assert found.reasons.equals(expected.reasons)
    assert lineage_of(table, again).fingerprint == lineage_of(table, step).fingerprint


def test_a_model_is_loaded_once_by_its_name_and_held_to_its_identity(tmp_path: Path, table: cd.Table) -> None:
    first = tiny_encoder(tmp_path, seed=1)
    told: list[str] = []
    for column in ("one", "two"):
        cd.map_column(table, cd.steps.TextEmbedding(first, "label"), column)
    models = Models(say=told.append)

    assert rebuild(table, "one", models).model == rebuild(table, "two", models).model == first.identity
    assert told == [f"loading {first.name}"]

    other_weights = tiny_encoder(tmp_path / "elsewhere", seed=2)
    folder = Path(first.name)
    (folder).rename(tmp_path / "moved")
    with pytest.raises(NotFoundError, match=f"{first.identity[:12]}.*not there any more"):
        rebuild(table, "one", Models())
    Path(other_weights.name).rename(folder)
    with pytest.raises(LineageMismatchError, match=f"(?s){first.identity[:12]}.*{other_weights.identity[:12]}"):
        rebuild(table, "one", Models())
    assert rebuild(table, "one", Models(given=[first])).model == first.identity


def test_a_function_has_to_be_given_and_a_column_of_the_data_has_no_step(table: cd.Table) -> None:
    num_words = cd.step(reads="caption", returns="int32", version="1")(_num_words)
    cd.map_column(table, num_words, "num_words")

    with pytest.raises(UsageError, match="function of your own") as refused:
        rebuild(table, "num_words", Models())
    assert "--step FILE.py:_num_words" in str(refused.value.hint)
    assert rebuild(table, "num_words", Models(), [num_words]) is num_words
    newer = cd.step(reads="caption", returns="int32", version="2")(_num_words)
    assert "version 2" in str(newer_code(table, "num_words", [newer]))
    with pytest.raises(LineageMismatchError, match="label"):
        rebuild(table, "num_words", Models(), [cd.step(reads="label", returns="int32", version="1")(_num_words)])
    with pytest.raises(UsageError, match="came with the data"):
        rebuild(table, "caption", Models())


def _num_words(text: str) -> int:
    return len(text.split())
