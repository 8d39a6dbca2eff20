"""The pipeline: one run at a time in a folder, and figures that are those of its own models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import clipdata as cd
from clipdata.errors import ClipdataError, TransientError, UsageError
from clipdata.folder_lock import alone_in
from pipelines.caption_contest import ContestSettings, run_caption_contest
from tests.contests import contest_rows
from tests.tiny_models import tiny_encoder

TRAINING = {"epochs": "1", "batch_size": "8"}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures and questions of a small contest."""
    folder = tmp_path_factory.mktemp("sources")
    rows = contest_rows(40)
    (folder / "images").mkdir()
    for name, data in zip(rows["path"].to_pylist(), rows["image"].to_pylist(), strict=True):
        (folder / "images" / name).write_bytes(data)
    questions = rows.select(["caption_choices", "label_ind", "split"]).append_column("filename", rows["path"])
    pq.write_table(questions.rename_columns(["caption_choices", "label", "split", "filename"]), folder / "meta.parquet")
    for seed in (0, 1):
        tiny_encoder(folder, seed=seed)
    return folder


def settings(sources: Path, out: Path, *, seed: int = 0) -> ContestSettings:
    return ContestSettings(
        images=str(sources / "images"),
        metadata=str(sources / "meta.parquet"),
        model=str(sources / f"tiny-{seed}"),
        out=str(out),
        training=TRAINING,
        device="cpu",
    )


def test_a_second_run_in_the_same_folder_is_kept_out_before_it_writes(sources: Path, tmp_path: Path) -> None:
    with alone_in(tmp_path, "clipdata run caption-contest"), pytest.raises(TransientError, match="at work in"):
        run_caption_contest(settings(sources, tmp_path))
    assert not list(tmp_path.glob("*.lance"))


def test_another_model_in_the_same_folder_gives_its_own_figures_and_says_what_it_replaced(
    sources: Path, tmp_path: Path
) -> None:
    result = run_caption_contest(settings(sources, tmp_path / "alone", seed=1))
    alone = result.comparison.figures()
    assert str(result).endswith(f"report: {tmp_path}/alone/report.html")
    assert "The training" in (tmp_path / "alone/report.html").read_text(encoding="utf-8")
    first = run_caption_contest(settings(sources, tmp_path / "shared", seed=0)).comparison.figures()

    second = run_caption_contest(settings(sources, tmp_path / "shared", seed=1))

    assert second.comparison.figures() == alone != first
    assert len(list((tmp_path / "shared" / "runs").iterdir())) == 2
    again = run_caption_contest(settings(sources, tmp_path / "shared", seed=1))
    assert not again.changed


@pytest.mark.parametrize("trunk", [None, "image_trunk"])
def test_figures_of_another_runs_columns_are_refused(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trunk: str | None
) -> None:
    """Another machine, which no lock keeps out, maps the baseline again while this run trains."""
    other = cd.load_encoder(str(sources / "tiny-1"), device="cpu")
    train = cd.train

    def train_while_another_maps(table, *arguments, **options):
        done = train(table, *arguments, **options)
        theirs = table.latest()
        if trunk:
            cd.map_column(theirs, cd.steps.ImageTrunk(other), trunk, overwrite=True)
        scores = cd.steps.ChoiceScores(other, "caption_choices", trunk=trunk)
        cd.map_column(theirs, scores, "scores", overwrite=True)
        return done

    monkeypatch.setattr(cd, "train", train_while_another_maps)
    with pytest.raises(TransientError, match="another run writes to"):
        run_caption_contest(settings(sources, tmp_path))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"training": {"epoch": "1"}}, "there is no field 'epoch'; did you mean epochs"),
        ({"training": {"lr": "fast"}}, "lr is 'fast'; expected a number"),
        ({"label": "answer"}, "has no column 'answer'"),
        ({"choices": "captions"}, "has no column 'captions'"),
        ({"filename": "file_name"}, "has no column 'file_name' .did you mean filename"),
        ({"model": "startr"}, "did you mean starter"),
        ({"metadata": "none.parquet"}, "none.parquet"),
    ],
    ids=lambda case: next(iter(case)) if isinstance(case, dict) else None,
)
def test_what_is_wrong_with_the_request_is_said_before_anything_is_written(
    sources: Path, tmp_path: Path, change: dict, said: str
) -> None:
    with pytest.raises(ClipdataError, match=said):
        run_caption_contest(replace(settings(sources, tmp_path), **change))

    assert not list(tmp_path.glob("*.lance"))


def test_places_that_are_counted_from_one_are_refused(sources: Path, tmp_path: Path) -> None:
    table = pq.read_table(sources / "meta.parquet")
    from_one = pc.add(table["label"], 1)
    pq.write_table(table.set_column(1, "label", from_one), tmp_path / "one.parquet")

    with pytest.raises(ClipdataError, match="'label' seems to count from 1: no place is 0"):
        run_caption_contest(replace(settings(sources, tmp_path / "out"), metadata=str(tmp_path / "one.parquet")))


def called(column: pa.ChunkedArray, old: str, new: str) -> pa.ChunkedArray:
    return pc.if_else(pc.equal(column, old), new, column)


@pytest.mark.parametrize(
    ("split", "said"),
    [
        (lambda column: called(column, "test", "validation"), "8 'validation'; expected rows 'train'"),
        (lambda column: called(column, "train", "test"), "gives 40 'test'; expected rows 'train'"),
        (lambda column: pa.nulls(len(column), pa.string()), "gives 40 None"),
    ],
)
def test_a_split_without_rows_to_train_on_or_to_measure_is_said_before_a_picture_is_read(
    sources: Path, tmp_path: Path, split: Callable[[pa.ChunkedArray], pa.ChunkedArray], said: str
) -> None:
    questions = pq.read_table(sources / "meta.parquet")
    place = questions.schema.get_field_index("split")
    changed = questions.set_column(place, "split", split(questions["split"]))
    pq.write_table(changed, tmp_path / "meta.parquet")

    with pytest.raises(UsageError, match=said):
        run_caption_contest(replace(settings(sources, tmp_path / "out"), metadata=str(tmp_path / "meta.parquet")))

    assert not (tmp_path / "out" / "images.lance").exists()


def test_labels_of_no_use_and_pictures_of_one_side_alone_are_said_before_anything_is_scored(
    sources: Path, tmp_path: Path
) -> None:
    questions = pq.read_table(sources / "meta.parquet")
    place = questions.schema.get_field_index("label")
    pq.write_table(questions.set_column(place, "label", pa.array([99] * len(questions))), tmp_path / "labels.parquet")
    tested = pc.field("split") == "test"
    (tmp_path / "images").mkdir()
    for name in questions.filter(tested)["filename"].to_pylist():
        (tmp_path / "images" / name).write_bytes((sources / "images" / name).read_bytes())
    wrong = settings(sources, tmp_path / "a")

    for one, said in (
        (replace(wrong, metadata=str(tmp_path / "labels.parquet")), "usable label gives no row"),
        (replace(wrong, images=str(tmp_path / "images"), out=str(tmp_path / "b")), "gives 8 'test'"),
    ):
        with pytest.raises(UsageError, match=said):
            run_caption_contest(one)
        assert "scores" not in cd.open_table(f"{one.out}/contest.lance").schema.names
