"""The dual encoder on tables of another tool: what it reads, trains and writes, and what it says."""

from __future__ import annotations

import json
from dataclasses import replace
from html import unescape
from pathlib import Path

import lance
import pytest

import clipdata as cd
from clipdata.errors import ClipdataError
from pipelines.cli.app import main
from pipelines.dual_encoder import DualEncoder, DualEncoderSettings, run_dual_encoder
from pipelines.results import PipelineResult
from tests.captioned import drawings, flickr_like
from tests.tiny_models import tiny_bert, tiny_encoder

TRAINING = {"epochs": "2", "min_steps": "0", "batch_size": "8"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model to begin with."""
    folder = tmp_path_factory.mktemp("model")
    tiny_encoder(folder)
    return str(folder / "tiny-0")


def settings(model: str, folder: Path) -> DualEncoderSettings:
    """A table as Lance's example writes it, and little training."""
    return DualEncoderSettings(
        table=flickr_like(folder / "flickr8k.lance", drawings(48)),
        model=model,
        out=str(folder / "out"),
        training=TRAINING,
        search=("a red square",),
        device="cpu",
    )


@pytest.fixture
def asked(model: str, tmp_path: Path) -> DualEncoderSettings:
    """What a test changes."""
    return settings(model, tmp_path)


@pytest.fixture(scope="module")
def done(model: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[DualEncoderSettings, PipelineResult, list[str]]:
    """One run, and the files of the table before it."""
    asked = settings(model, tmp_path_factory.mktemp("done"))
    before = files_of(asked)
    return asked, run_dual_encoder(asked), before


def files_of(asked: DualEncoderSettings) -> list[str]:
    """The first data file of each fragment: that of the columns that came with the table."""
    return [fragment.metadata.files[0].path for fragment in lance.dataset(asked.table).get_fragments()]


Done = tuple[DualEncoderSettings, PipelineResult, list[str]]


def test_a_foreign_table_is_trained_on_as_it_lies_and_gets_columns(done: Done) -> None:
    asked, result, before = done

    assert result.table.uri == asked.table
    assert files_of(asked) == before
    assert result.table.num_rows == 48
    read = result.table.to_table(["captions", "captions_clean", "split"]).to_pylist()
    assert all(text.endswith("\n") for row in read for text in row["captions"])
    assert all(text == text.strip() for row in read for text in row["captions_clean"])
    assert {row["split"] for row in read} == {"train", "test"}
    assert not list(Path(asked.out).glob("*.lance"))


def test_what_it_finds_is_before_and_after_on_both_sides_with_search(done: Done) -> None:
    _, result, _ = done

    found = json.loads(json.dumps(result.to_dict()))["evaluations"]
    rows = [(row["set"], row["when"]) for row in found["recall"]["rows"]]
    assert rows[:2] == [("held out", "before"), ("held out", "after")]
    assert rows[-2:] == [("trained on", "before"), ("trained on", "after")]
    sizes = {row["set"]: row["more"]["image_to_text_queries"] for row in found["recall"]["rows"]}
    assert sizes["held out"] == sizes["trained on"] == result.table.count_rows("split = 'test'")
    for row in found["recall"]["rows"]:
        assert {"text_to_image_recall@1", "image_to_text_recall@5", "image_to_text_recall@10"} <= set(row["metrics"])
        assert row["more"]["text_to_image_chance@1"] < 0.5
    assert found["captions"]["captions"] == 3 * result.table.count_rows("split = 'train'") - _repeated(result)
    query = found["search"]["queries"][0]
    assert query["text"] == "a red square"
    assert len(query["hits"]) == 5
    assert [hit["score"] for hit in query["hits"]] == sorted((hit["score"] for hit in query["hits"]), reverse=True)


def test_the_page_shows_the_recall_of_both_sides(done: Done) -> None:
    _, result, _ = done

    assert result.report is not None
    page = unescape(Path(result.report).read_text(encoding="utf-8"))
    for name, told in result.evaluations.items():
        assert str(told) in page, name


def _repeated(result: PipelineResult) -> int:
    rows = result.table.to_table(["captions_clean"], where="split = 'train'").column(0).to_pylist()
    texts = [text for row in rows for text in row]
    return len(texts) - len(set(texts))


def test_the_same_again_changes_nothing_and_says_the_same(done: Done) -> None:
    asked, first, _ = done
    version = cd.open_table(asked.table).version

    again = run_dual_encoder(asked)

    assert not again.changed
    assert str(again) == str(first)
    assert cd.open_table(asked.table).version == version


def test_captions_seen_in_training_are_not_asked_about(done: Done) -> None:
    _, result, _ = done

    rows = result.table.to_table(["split", "captions_clean", "captions_unseen", "choices"]).to_pylist()
    trained = {text for row in rows if row["split"] == "train" for text in row["captions_clean"]}
    asked_about = [row for row in rows if row["choices"] is not None]
    assert asked_about
    assert all(row["split"] == "test" for row in asked_about)
    assert not trained & {text for row in asked_about for text in row["choices"]}
    assert all(row["captions_unseen"] is None for row in rows if row["split"] == "train")
    assert result.comparison.accuracy is not None
    assert result.comparison.accuracy.chance == pytest.approx(1 / 5)


def test_a_second_table_is_measured_on_and_the_first_is_all_trained_on(
    asked: DualEncoderSettings, tmp_path: Path
) -> None:
    test = flickr_like(tmp_path / "test.lance", drawings(72)[48:])

    result = run_dual_encoder(replace(asked, test_table=test))

    assert result.run.record["table"]["num_rows"] == 48
    assert result.table.uri == test
    assert result.comparison.mean.num_rows <= 24
    assert "image_embedding_fine_tune" in cd.open_table(asked.table).schema.names
    assert "choice_prob" not in cd.open_table(asked.table).schema.names
    assert not run_dual_encoder(replace(asked, test_table=test)).changed


def test_a_split_of_the_tables_own_is_kept(asked: DualEncoderSettings, tmp_path: Path) -> None:
    split = ["test" if number % 4 == 0 else "train" for number in range(48)]
    table = flickr_like(tmp_path / "split.lance", drawings(48), split=split)

    result = run_dual_encoder(replace(asked, table=table))

    assert result.table.to_table(["split"]).column(0).to_pylist() == split
    assert result.run.record["table"]["num_rows"] == 36


def test_a_part_is_trained_on_and_a_part_of_the_rest_is_measured(asked: DualEncoderSettings) -> None:
    result = run_dual_encoder(replace(asked, sample=10, held_out=6))

    assert result.run.record["table"]["num_rows"] == 10
    assert result.table.num_rows == 6
    assert result.comparison.mean.num_rows <= 6


@pytest.mark.parametrize(
    ("loss", "captions", "picks"),
    [("soft_target", "longest", "longest"), ("multi_positive", "each", "all"), ("contrastive", None, "random")],
)
def test_losses_and_captions_are_chosen_by_name(
    asked: DualEncoderSettings, loss: str, captions: str | None, picks: str
) -> None:
    result = run_dual_encoder(replace(asked, loss=loss, captions=captions))  # type: ignore[arg-type]

    config = result.run.config
    assert (config.objective.kind, config.objective.picks) == (loss, picks)
    assert config.objective.texts == "captions_clean"


def test_the_documents_settings_are_those_of_the_example(asked: DualEncoderSettings) -> None:
    pipeline = DualEncoder(replace(asked, config="document", training={}))
    pipeline.open()
    config = pipeline.config

    assert (config.objective.kind, config.objective.picks, config.objective.normalises) == (
        "soft_target",
        "longest",
        False,
    )
    rates = [config.lr, config.lr * config.image_lr_multiplier, config.lr * config.text_lr_multiplier]
    assert rates == pytest.approx([1e-3, 1e-4, 1e-5])
    assert (config.batch_size, config.epochs, config.shuffle, config.drop_last) == (32, 2, False, False)
    assert (config.optimizer, config.weight_decay, config.schedule) == ("adam", 0.0, "constant")
    assert (config.min_steps, config.warmup_ratio, config.warmup_steps, config.grad_clip) == (0, 0.0, 0, None)
    mended = DualEncoder(replace(asked, config="document", loss="multi_positive", training={}))
    mended.open()
    assert (mended.config.objective.kind, mended.config.objective.normalises) == ("multi_positive", True)
    assert mended.config.objective.picks == "longest"


def test_backbones_of_their_own_get_the_examples_heads(asked: DualEncoderSettings, tmp_path: Path) -> None:
    bert = tiny_bert(tmp_path / "bert")
    named = replace(
        asked,
        model="new",
        image_model="resnet10t",
        image_weights="random",
        text_model=str(bert),
        text_weights="random",
        image_size=32,
        embed_dim=16,
    )

    encoder = DualEncoder(named)
    encoder.open()
    made = encoder.load()

    assert made.prepare.to_config()["resize_mode"] == "squash"
    assert (made.prepare.size, made.prepare.mean, made.prepare.std) == ((32, 32), (0.5,) * 3, (0.5,) * 3)
    assert made.context_length == 18
    heads = {name for name, _ in made.model.named_parameters() if ".head." in name}
    assert {f"{side}.head.{layer}" for side in ("visual", "text") for layer in
            ("projection.weight", "fc.weight", "layer_norm.weight")} <= heads  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"table": "nowhere.lance"}, "nowhere.lance"),
        ({"captions_column": "text"}, "column 'text' is not there"),
        ({"image_column": "captions"}, "holds no bytes of pictures"),
        (
            {"model": "new", "image_model": "resnet5000", "image_weights": "random", "text_model": "nowhere/"},
            "resnet5000",
        ),
        ({"loss": "soft_target", "captions": "each"}, "captions"),
        ({"choices": 100}, "a question takes 100"),
        ({"training": {"epoch": "1"}}, "did you mean epochs"),
    ],
    ids=lambda case: next(iter(case)) if isinstance(case, dict) else None,
)
def test_what_is_wrong_is_said_in_one_error(asked: DualEncoderSettings, change: dict, said: str) -> None:
    with pytest.raises(ClipdataError, match=said):
        run_dual_encoder(replace(asked, **change))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"table": None, "test_table": "t.lance"}, "--test-table is given without --table"),
        ({"image_model": "resnet50"}, "--model .* is given and --image-model"),
        ({"model": "new", "text_weights": "random"}, "--text-weights is given without --text-model"),
        ({"search": (" ",)}, "a text to search for is empty"),
        ({"test_share": 1.0}, "test_share is 1.0"),
        ({"choices": 1}, "choices is 1"),
    ],
)
def test_settings_that_exclude_each_other_are_refused(asked: DualEncoderSettings, change: dict, said: str) -> None:
    with pytest.raises(ClipdataError, match=said):
        replace(asked, **change)


def test_a_column_of_the_tables_own_is_never_replaced(asked: DualEncoderSettings, tmp_path: Path) -> None:
    table = flickr_like(tmp_path / "own.lance", drawings(48), choices=[["x"]] * 48)

    with pytest.raises(ClipdataError, match="has a column 'choices' of its own"):
        run_dual_encoder(replace(asked, table=table))
    assert cd.open_table(table).version == 1


def test_a_second_table_may_call_its_rows_validation(asked: DualEncoderSettings, tmp_path: Path) -> None:
    train = flickr_like(tmp_path / "train.lance", drawings(24))
    val = flickr_like(tmp_path / "val.lance", drawings(48)[24:], split=["val"] * 24)

    result = run_dual_encoder(replace(asked, table=train, test_table=val))

    assert result.evaluations["recall"].to_dict()
    assert 0 < result.comparison.mean.num_rows <= 24


def test_a_table_without_held_out_rows_or_captions_is_said(asked: DualEncoderSettings, tmp_path: Path) -> None:
    alone = flickr_like(tmp_path / "alone.lance", drawings(8), split=["train"] * 8)
    blank = flickr_like(tmp_path / "blank.lance", [{**row, "captions": ["", " "]} for row in drawings(8)])

    with pytest.raises(ClipdataError, match="expected rows 'train' to train on and rows 'test'"):
        run_dual_encoder(replace(asked, table=alone))
    with pytest.raises(ClipdataError, match="gives no row"):
        run_dual_encoder(replace(asked, table=blank))


def test_a_table_is_not_measured_by_itself(asked: DualEncoderSettings) -> None:
    with pytest.raises(ClipdataError, match="name the same table"):
        run_dual_encoder(replace(asked, test_table=f"{asked.table}/../flickr8k.lance"))


def test_a_picture_that_cannot_be_decoded_and_a_row_without_captions_are_left_out(
    asked: DualEncoderSettings, tmp_path: Path
) -> None:
    rows = drawings(64)
    rows[3] = {**rows[3], "image": b"no picture"}
    rows[4] = {**rows[4], "captions": []}
    split = ["test" if number % 4 == 0 else "train" for number in range(64)]

    result = run_dual_encoder(replace(asked, table=flickr_like(tmp_path / "bad.lance", rows, split=split)))

    assert sum(result.run.to_dict()["left_out"].values()) == 1
    assert result.table.count_rows("image_embedding_fine_tune IS NULL") == 1
    assert result.table.count_rows("captions_clean IS NULL") == 1


def test_the_command_prints_recall_and_search(asked: DualEncoderSettings, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "dual-encoder", "--table", str(asked.table), "--model", asked.model, "--out", asked.out]
    words += [part for pair in TRAINING.items() for part in ("--set", "=".join(pair))]

    assert main([*words, "--search", "a red square", "--captions", "longest", "--device", "cpu"]) == 0

    out = capsys.readouterr().out
    assert "caption → picture, after" in out
    assert "search by text among 48 pictures" in out
    assert "a red square" in out
