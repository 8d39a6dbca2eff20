"""What pipelines share: a part of the rows in a table of its own, config files, and the figures beside each other."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import lance
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import clipdata as cd
from clipdata.errors import ClipdataError, UsageError
from pipelines import configs
from pipelines.caption_contest import CaptionContest, ContestSettings, run_caption_contest
from pipelines.results import PipelineResult
from pipelines.settings import PipelineSettings
from tests.contests import contest_rows
from tests.tiny_models import tiny_encoder


@pytest.fixture(scope="module")
def contest(tmp_path_factory: pytest.TempPathFactory) -> ContestSettings:
    """Pictures, questions and a model."""
    folder = tmp_path_factory.mktemp("contest")
    rows = contest_rows(40)
    (folder / "images").mkdir()
    for name, data in zip(rows["path"].to_pylist(), rows["image"].to_pylist(), strict=True):
        (folder / "images" / name).write_bytes(data)
    questions = rows.select(["caption_choices", "label_ind", "split"]).append_column("filename", rows["path"])
    pq.write_table(questions.rename_columns(["caption_choices", "label", "split", "filename"]), folder / "meta.parquet")
    tiny_encoder(folder)
    return ContestSettings(
        images=str(folder / "images"),
        metadata=str(folder / "meta.parquet"),
        model=str(folder / "tiny-0"),
        device="cpu",
    )


@pytest.fixture(scope="module")
def of_a_part(
    contest: ContestSettings, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ContestSettings, PipelineResult]:
    """Ten rows learned by heart as the tutorial does, four others measured."""
    asked = replace(contest, out=str(tmp_path_factory.mktemp("part")), sample=10, held_out=4, config="document")
    return asked, run_caption_contest(asked)


def test_a_part_is_computed_in_a_table_of_its_own_and_the_rest_is_left_alone(
    of_a_part: tuple[ContestSettings, PipelineResult],
) -> None:
    asked, result = of_a_part

    assert sorted(result.table.to_table(["split"])["split"].to_pylist()) == ["test"] * 4 + ["train"] * 10
    assert result.table.count_rows("label_prob_fine_tune IS NOT NULL") == 14
    assert "scores" not in cd.open_table(f"{asked.out}/contest.lance").schema.names
    assert result.run.record["table"]["num_rows"] == 10


def test_what_was_learned_by_heart_stands_beside_what_it_is_worth(
    of_a_part: tuple[ContestSettings, PipelineResult],
) -> None:
    _, result = of_a_part

    assert result.trained is not None
    assert result.trained.mean.num_rows == 10
    assert result.comparison.mean.num_rows == 4
    found = str(result)
    assert f"trained on  {result.trained.mean.before:.3f} → {result.trained.mean.after:.3f}  (10 rows: " in found
    assert f"held out    {result.comparison.mean.before:.3f} → " in found
    assert result.to_dict()["trained"]["mean"]["num_rows"] == 10


def test_scores_are_at_the_scale_that_the_run_holds(of_a_part: tuple[ContestSettings, PipelineResult]) -> None:
    _, result = of_a_part

    for column in ("scores", "scores_fine_tune"):
        lineage = result.table.lineage(column)
        assert lineage is not None
        assert lineage.parameters["scale"] == pytest.approx(100)


def test_the_same_part_is_taken_again_and_another_beside_it(of_a_part: tuple[ContestSettings, PipelineResult]) -> None:
    asked, result = of_a_part

    again = run_caption_contest(asked)

    assert not again.changed
    assert str(again) == str(result)
    other = run_caption_contest(replace(asked, sample=None, limit=3, training={"epochs": "1"}))
    assert other.table.uri != result.table.uri
    assert other.table.count_rows("split = 'train'") == 3


def test_a_config_file_gives_fields_and_what_is_typed_wins_over_it(contest: ContestSettings, tmp_path: Path) -> None:
    (tmp_path / "own.json").write_text(json.dumps({"lr": 0.5, "betas": [0.8, 0.9], "grad_clip": None}))

    asked = replace(contest, config=str(tmp_path / "own.json"), training={"lr": "0.25"})
    config = CaptionContest(asked).config

    assert (config.lr, config.betas, config.grad_clip) == (0.25, (0.8, 0.9), None)
    assert config.min_steps == cd.recipes.caption_contest().min_steps


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"epoch": 3}', "there is no field 'epoch'; did you mean epochs"),
        ('{"lr": "fast"}', "lr is 'fast'; expected a number"),
        ("[1]", "holds a list; expected a JSON object"),
        ("{lr: 1}", "is not JSON"),
        (None, "there is no config file .*own.json"),
    ],
)
def test_a_config_file_that_cannot_be_used_is_said(
    contest: ContestSettings, tmp_path: Path, text: str | None, said: str
) -> None:
    if text is not None:
        (tmp_path / "own.json").write_text(text)

    with pytest.raises(ClipdataError, match=said):
        _ = CaptionContest(replace(contest, config=str(tmp_path / "own.json"))).config


def test_the_documents_own_settings_are_those_of_the_tutorial(contest: ContestSettings) -> None:
    config = CaptionContest(replace(contest, config="document")).config

    assert (config.train, config.optimizer, config.lr, config.batch_size, config.epochs) == ("all", "adam", 1e-4, 2, 5)
    assert (config.betas, config.eps, config.weight_decay) == ((0.9, 0.999), 1e-8, 0.0)
    assert (config.schedule, config.grad_clip, config.warmup_steps, config.pull) == ("constant", None, 0, 0.0)
    assert (config.shuffle, config.drop_last, config.num_steps(5)) == (False, False, 25)
    assert (config.init_logit_scale, config.learn_logit_scale) == (100.0, False)


@pytest.mark.parametrize("name", sorted(path.stem for path in Path(configs.__file__).parent.glob("*.json")))
def test_every_documents_config_is_a_training_config(name: str) -> None:
    given = configs.read("document", name)

    read = cd.TrainConfig.from_json(given).to_json()

    assert {field: read[field] for field in given if field in read and field != "objective"} == {
        field: value for field, value in given.items() if field in read and field != "objective"
    }


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"limit": 3, "sample": 3}, "--limit and --sample are both given"),
        ({"sample": 0}, "sample is 0; expected at least 1"),
        ({"held_out": -1}, "held_out is -1"),
        ({"out": "gs://bucket/x"}, "the tables go to gs://bucket/x"),
    ],
)
def test_settings_that_exclude_each_other_are_refused(wrong: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        PipelineSettings(**wrong)


@pytest.mark.parametrize("kind", ["text", "number"])
def test_a_part_of_another_tools_table_is_taken_by_its_key(contest: ContestSettings, tmp_path: Path, kind: str) -> None:
    rows = contest_rows(20)
    keys = pa.array(range(20), pa.int64()) if kind == "number" else pa.array([f"it's {n}" for n in range(20)])
    field = pa.field("number", keys.type, nullable=False, metadata={"lance-schema:unenforced-primary-key": "true"})
    plain = rows.drop_columns(["path", "sha256"]).append_column(field, keys).rename_columns({"label_ind": "label"})
    lance.write_dataset(plain, str(tmp_path / "theirs.lance"))
    asked = replace(
        contest, images=None, metadata=None, table=str(tmp_path / "theirs.lance"), out=str(tmp_path / "out")
    )

    result = run_caption_contest(replace(asked, sample=5, training={"steps": "1"}))

    assert Counter(result.table.to_table(["split"])["split"].to_pylist()) == {"train": 5, "test": 4}
    assert result.table.count_rows("label_prob_fine_tune IS NOT NULL") == 9


def test_columns_that_a_table_came_with_stay_as_they_are(contest: ContestSettings, tmp_path: Path) -> None:
    """A chain may have scored before, and a table may call the places of its answers as we do."""
    rows = contest_rows(20).append_column("scores", pa.array(["theirs"] * 20)).append_column("label_prob", [[0.5] * 20])
    lance.write_dataset(rows, str(tmp_path / "theirs.lance"))
    asked = replace(contest, images=None, metadata=None, table=str(tmp_path / "theirs.lance"), label="label_ind")

    result = run_caption_contest(replace(asked, out=str(tmp_path / "out"), training={"steps": "1"}))

    read = result.table.to_table([*rows.schema.names, "label_ind_2", "label_prob_2", "label_prob_fine_tune"])
    assert read.select(rows.schema.names).sort_by("path").to_pylist() == rows.sort_by("path").to_pylist()
    assert read["label_ind_2"].to_pylist() == read["label_ind"].to_pylist()
    assert (result.comparison.before.column, result.comparison.after.column) == ("label_prob_2", "label_prob_fine_tune")
    assert result.run.config.objective.to_json()["label"] == "label_ind_2"
    assert not run_caption_contest(replace(asked, out=str(tmp_path / "out"), training={"steps": "1"})).changed


def test_a_part_of_a_table_without_a_key_is_refused_with_what_to_do(contest: ContestSettings, tmp_path: Path) -> None:
    lance.write_dataset(contest_rows(8).drop_columns(["path"]).replace_schema_metadata(), str(tmp_path / "t.lance"))
    asked = replace(contest, images=None, metadata=None, table=str(tmp_path / "t.lance"), out=str(tmp_path / "out"))

    with pytest.raises(UsageError, match="declares no key"):
        run_caption_contest(replace(asked, sample=2, label="label_ind", test_share=0.5))
