"""The tutorial's path through DataChain, and ours: the same merged rows, and the same probabilities from one model.

DataChain drops the transparency of a picture, which uncovers whatever colour lies under it; here a picture stands on
white. So both sides are given the sample's pictures already put on white.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import clipdata as cd
import ingest
from clipdata.encoder import Encoder, load_encoder
from clipdata.lance_io.table import Table
from clipdata.steps import ChoiceScores
from pipelines import sample
from tests.tiny_models import tiny_encoder

NUM_PICTURES = 12
QUESTIONS_PER_PICTURE = 3
Preprocess = Callable[[Image.Image], torch.Tensor]


@pytest.fixture(autouse=True)
def datachain_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """DataChain's database in a folder of the test, and no telemetry."""
    monkeypatch.setenv("DATACHAIN_NO_ANALYTICS", "1")
    monkeypatch.setenv("DATACHAIN_ROOT_DIR", str(tmp_path / "datachain"))
    (tmp_path / "datachain").mkdir()
    from datachain.query.session import Session

    Session.cleanup_for_tests()
    yield
    Session.cleanup_for_tests()


@pytest.fixture
def contest(tmp_path: Path) -> Path:
    """A folder with `images/`, one picture of it never asked about, and `questions.parquet`, one asked in vain."""
    questions = pq.read_table(sample.questions_path())
    names = questions["filename"].unique().to_pylist()
    step = len(names) // NUM_PICTURES
    asked = names[::step][:NUM_PICTURES]
    found = {picture.name: picture for picture in sample.images_path().rglob("*.png")}
    (tmp_path / "images").mkdir()
    for name in [*asked, names[1]]:
        drawn = Image.open(found[name]).convert("RGBA")
        white = Image.new("RGBA", drawn.size, "white")
        Image.alpha_composite(white, drawn).convert("RGB").save(tmp_path / "images" / name)
    kept = questions.filter(pc.is_in(questions["filename"], pa.array([*asked, names[2]])))
    pq.write_table(kept, tmp_path / "questions.parquet")
    return tmp_path


def by_datachain(folder: Path) -> Any:
    """The tutorial's merged chain. Its plain `merge` keeps pictures without questions; ours never does."""
    import datachain
    from datachain import C
    from datachain.func import path

    left = datachain.read_storage(str(folder / "images"), type="image", update=True)
    left = left.mutate(filename=path.name(C("file.path")))
    return left.merge(
        datachain.read_parquet(str(folder / "questions.parquet"), source=False), on="filename", inner=True
    )


def by_clipdata(folder: Path) -> Table:
    images = ingest.from_images(folder / "images", into=folder / "images.lance")
    questions = ingest.from_parquet(folder / "questions.parquet", into=folder / "questions.lance")
    return ingest.merge(images.table, questions.table, into=folder / "contest.lance")


def open_clips_preprocessing(encoder: Encoder) -> Preprocess:
    """The transform that `open_clip.create_model_and_transforms` would return."""
    from open_clip.transform import PreprocessCfg, image_transform_v2

    return image_transform_v2(PreprocessCfg(**encoder.prepare.to_config()), is_train=False)


def our_preprocessing(encoder: Encoder) -> Preprocess:
    return lambda picture: encoder.normalise(encoder.prepare(np.array(picture))[None])[0]


def scores_by_datachain(folder: Path, encoder: Encoder, preprocess: Preprocess) -> dict[tuple[str, ...], list[float]]:
    """File name and choices of each row → what the tutorial's `map` makes of it."""
    from datachain.torch import clip_similarity_scores

    model = encoder.model.eval()

    def scores(file: Any, caption_choices: list[str]) -> list[float]:
        picture = file.read()
        return clip_similarity_scores(picture, caption_choices, model, preprocess, encoder.tokenize, prob=True)[0]

    scored = (
        by_datachain(folder)
        .settings(prefetch=0)
        .map(scores, params=["file", "caption_choices"], output={"scores": list[float]})
    )
    rows = scored.to_list("file.path", "caption_choices", "scores")
    return {(Path(path).name, *choices): values for path, choices, values in rows}


def scores_by_clipdata(folder: Path, encoder: Encoder) -> dict[tuple[str, ...], list[float]]:
    table = by_clipdata(folder)
    cd.map_column(table, ChoiceScores(encoder, scale=100.0), "scores")
    rows = table.to_table(["filename", "caption_choices", "scores"]).to_pylist()
    return {(row["filename"], *row["caption_choices"]): row["scores"] for row in rows}


def farthest(ours: dict[tuple[str, ...], list[float]], theirs: dict[tuple[str, ...], list[float]]) -> float:
    """Largest difference of two probabilities."""
    assert len(ours) == NUM_PICTURES * QUESTIONS_PER_PICTURE
    assert ours.keys() == theirs.keys()
    assert max(max(scores) - min(scores) for scores in ours.values()) > 0.01, "the model tells no choices apart"
    return max(abs(a - b) for key in ours for a, b in zip(ours[key], theirs[key], strict=True))


def test_merging_gives_the_rows_of_the_tutorials_merge(contest: Path) -> None:
    columns = ["filename", "caption_choices", "label"]
    ours = Counter(
        (row["path"], row["filename"], tuple(row["caption_choices"]), row["label"])
        for row in by_clipdata(contest).to_table(["path", *columns]).to_pylist()
    )
    chain = by_datachain(contest).to_list("file.path", *columns)
    theirs = Counter((Path(path).name, name, tuple(choices), label) for path, name, choices, label in chain)
    # A key is one row's own, so that a picture's second question is called "<file>#1".
    assert Counter((path.split("#")[0], *rest) for path, *rest in ours.elements()) == theirs
    assert sum(ours.values()) == NUM_PICTURES * QUESTIONS_PER_PICTURE == len(ours)


def test_choice_scores_are_the_tutorials_probabilities(contest: Path) -> None:
    encoder = tiny_encoder()
    theirs = scores_by_datachain(contest, encoder, open_clips_preprocessing(encoder))
    assert farthest(scores_by_clipdata(contest, encoder), theirs) < 1e-4


@pytest.mark.slow
def test_choice_scores_of_the_starter_are_the_tutorials_probabilities(contest: Path) -> None:
    encoder = load_encoder("starter", device="cpu")
    ours = scores_by_clipdata(contest, encoder)
    assert farthest(ours, scores_by_datachain(contest, encoder, our_preprocessing(encoder))) < 1e-4
    # PIL rounds one pixel in 250 to the level beside ours, which this model and a scale of 100 make visible.
    assert farthest(ours, scores_by_datachain(contest, encoder, open_clips_preprocessing(encoder))) < 1e-2
