"""The tutorial's own path, in DataChain, beside ours: the same merged rows and the same probabilities.

The pictures are a part of the built-in sample drawn on white, because DataChain hands the model what lies under
transparent pixels, and clipdata a white ground. The tutorial's own pictures are JPEGs.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from PIL import Image

import clipdata as cd
import ingest
from pipelines import configs, sample
from pipelines.caption_contest import ContestSettings, run_caption_contest
from tests.tiny_models import tiny_encoder

NUM_PICTURES = 12
COLUMNS = ("filename", "caption_choices", "label")


pytestmark = pytest.mark.usefixtures("datachain_root")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """`images/` with thirteen pictures, and `meta.parquet` with three questions about each but the last."""
    chosen = sorted(sample.images_path().rglob("*.png"))[:: 1800 // NUM_PICTURES][: NUM_PICTURES + 1]
    extra = sorted(sample.images_path().rglob("*.png"))[1]
    (tmp_path / "images").mkdir()
    for path in [*chosen, extra]:
        drawn = Image.open(io.BytesIO(path.read_bytes())).convert("RGBA")
        ground = Image.new("RGBA", drawn.size, "white")
        Image.alpha_composite(ground, drawn).convert("RGB").save(tmp_path / "images" / path.name)
    questions = pq.read_table(sample.questions_path())
    asked = questions.filter(pc.is_in(questions["filename"], pa.array([path.name for path in chosen])))
    pq.write_table(asked.select(COLUMNS), tmp_path / "meta.parquet")
    return tmp_path


def merged_chain(source: Path, *, inner: bool = True) -> Any:
    """The tutorial's first listing, in the names DataChain uses today."""
    import datachain
    from datachain import C
    from datachain.func import path

    images = datachain.read_storage(str(source / "images"), type="image").mutate(filename=path.name(C("file.path")))
    return images.merge(datachain.read_parquet(str(source / "meta.parquet")), on="filename", inner=inner)


def contest_table(source: Path) -> cd.Table:
    """Ours."""
    ingest.from_images(source / "images", into=source / "images.lance")
    ingest.from_parquet(source / "meta.parquet", into=source / "meta.lance")
    return ingest.merge(source / "images.lance", source / "meta.lance", on="filename", into=source / "contest.lance")


def key_of(filename: str, choices: list[str], label: str) -> tuple[str, tuple[str, ...], str]:
    return filename, tuple(choices), label


def rows_of(table: cd.Table, *more: str) -> dict[tuple[str, tuple[str, ...], str], tuple[Any, ...]]:
    """Columns of each row, by what the question is."""
    read = cd.open_table(table.uri).to_table([*COLUMNS, *more])
    return {key_of(*(row[name] for name in COLUMNS)): tuple(row[name] for name in more) for row in read.to_pylist()}


def test_the_merged_rows_are_those_of_the_tutorial(source: Path) -> None:
    ours = rows_of(contest_table(source), "path", "bytes", "image")
    chain = merged_chain(source).settings(prefetch=0)
    theirs = {
        key_of(*values): (Path(file.path).name, file.size, file.read_bytes())
        for file, *values in chain.to_iter("file", *COLUMNS)
    }
    assert len(ours) == 3 * NUM_PICTURES
    assert theirs == ours


def test_a_picture_without_questions_is_a_row_of_nulls_there_and_counted_here(source: Path) -> None:
    contest_table(source)
    report = ingest.merge_report(source / "images.lance", source / "meta.lance", into=source / "contest.lance")
    rest = [
        Path(file.path).name
        for file, choices in merged_chain(source, inner=False).settings(prefetch=0).to_iter("file", "caption_choices")
        if not choices
    ]
    assert report.num_rows == 3 * NUM_PICTURES
    assert rest == list(report.unmatched_images)
    assert len(rest) == 1


def test_scores_labels_and_probabilities_are_those_of_the_tutorial(source: Path) -> None:
    import string

    from datachain.lib.clip import clip_similarity_scores
    from open_clip.transform import PreprocessCfg, image_transform_v2

    encoder = tiny_encoder()
    model, tokenizer = encoder.model.eval(), encoder.tokenize  # DataChain leaves a model in the mode it finds it in
    preprocess = image_transform_v2(PreprocessCfg(**encoder.prepare.to_config()), is_train=False)

    def scores(file: Any, choices: list[str]) -> list[float]:
        return clip_similarity_scores(file.read(), choices, model, preprocess, tokenizer, prob=True)[0]

    def label_ind(label: str) -> int:
        return string.ascii_uppercase.index(label)

    def label_prob(scores: list[float], label_ind: int) -> float:
        return scores[label_ind]

    chain = (
        merged_chain(source)
        .settings(prefetch=0)
        .map(scores, params=["file", "caption_choices"], output={"scores": list[float]})
        .map(label_ind, params=["label"], output={"label_ind": int})
        .map(label_prob, params=["scores", "label_ind"], output={"label_prob": float})
    )
    names = [*COLUMNS, "scores", "label_ind", "label_prob"]
    theirs = {key_of(*row[:3]): row[3:] for row in chain.to_iter(*names)}

    table = contest_table(source)
    cd.map_column(table, cd.steps.ChoiceScores(encoder, scale=100.0), "scores")
    cd.map_column(table, cd.steps.LabelIndex("label"), "label_ind")
    cd.map_column(table, cd.steps.Pick("scores", "label_ind"), "label_prob")
    ours = rows_of(table, "scores", "label_ind", "label_prob")

    assert ours.keys() == theirs.keys()
    for key, (our_scores, our_index, our_probability) in ours.items():
        their_scores, their_index, their_probability = theirs[key]
        assert our_scores == pytest.approx(their_scores, abs=1e-4)
        assert our_index == their_index
        assert our_probability == pytest.approx(their_probability, abs=1e-4)
    spread = [max(found[0]) - min(found[0]) for found in ours.values()]
    assert max(spread) > 0.1  # scores that are all alike would prove nothing


def test_the_tutorials_ten_rows_go_in_as_a_chain_are_learned_and_come_back_as_one(source: Path, tmp_path: Path) -> None:
    """The whole tutorial: ten rows of the chain, its own label index, all weights, and the averages at the end."""
    import string

    def label_ind(label: str) -> int:
        return string.ascii_uppercase.index(label)

    train_dc = merged_chain(source).shuffle().limit(10).save("caption_contest_train").settings(prefetch=0)
    train_dc = train_dc.map(label_ind, params=["label"], output={"label_ind": int})

    table = ingest.from_chain(train_dc, into=source / "train.lance").table
    encoder = tiny_encoder(tmp_path)
    cd.map_column(table, cd.steps.ChoiceScores(encoder, scale=100.0), "scores")
    cd.map_column(table, cd.steps.Pick("scores", "label_ind"), "label_prob")
    config = cd.TrainConfig.from_json({**configs.read("document", "caption-contest"), "lr": 1e-3, "epochs": 4})
    tuned = cd.train(table, encoder, config, out=source / "run").encoder(device="cpu")
    cd.map_column(table, cd.steps.ChoiceScores(tuned), "scores_fine_tune")
    cd.map_column(table, cd.steps.Pick("scores_fine_tune", "label_ind"), "label_prob_fine_tune")

    back = cd.to_datachain(table, ["filename", "label_prob", "label_prob_fine_tune"], name="caption_contest_tuned")
    assert back.count() == 10
    assert back.avg("label_prob_fine_tune") > back.avg("label_prob")
    expected = rows_of(table, "label_prob_fine_tune").values()
    assert sorted(back.to_values("label_prob_fine_tune")) == pytest.approx(sorted(value for (value,) in expected))


def test_a_table_from_a_chain_is_a_contest_of_its_own(source: Path, tmp_path: Path) -> None:
    chain = merged_chain(source).settings(prefetch=0).select("file", "caption_choices", "label")
    table = ingest.from_chain(chain, into=source / "questions.lance").table
    tiny_encoder(tmp_path)
    asked = ContestSettings(
        table=table.uri,
        model=str(tmp_path / "tiny-0"),
        out=str(tmp_path / "work"),
        training={"steps": "2"},
        device="cpu",
    )

    result = run_caption_contest(asked)

    assert result.table.uri == table.uri
    assert result.table.count_rows("label_prob_fine_tune IS NOT NULL") == 3 * NUM_PICTURES
    assert not run_caption_contest(asked).changed
    back = cd.to_datachain(result.table, ["split", "label_prob", "label_prob_fine_tune"])
    assert back.count() == 3 * NUM_PICTURES
