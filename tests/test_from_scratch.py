"""Training from scratch on pairs of texts and paths, however these are written down, and on pictures of any mode."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import clipdata as cd
from clipdata.errors import ClipdataError, NotFoundError
from pipelines import configs
from pipelines.cli.app import main
from pipelines.from_scratch import FromScratch, FromScratchSettings, read_model_config, run_from_scratch
from pipelines.results import PipelineResult
from tests.captioned import drawings, pairs_csv
from tests.tiny_models import tiny_bert

TRAINING = {"epochs": "2", "min_steps": "0", "batch_size": "8"}
Done = tuple[FromScratchSettings, PipelineResult]


@pytest.fixture(scope="module")
def model_config(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model like the document's, that takes milliseconds."""
    folder = tmp_path_factory.mktemp("config")
    text = {"model_type": "distilbert", "n_layers": 1, "dim": 32, "n_heads": 2, "hidden_dim": 64}
    text |= {"vocab_size": 200, "max_position_embeddings": 32}
    config = {
        "image": {"kind": "vit", "layers": 1, "width": 32, "heads": 2, "patch_size": 8, "head": "linear+layernorm"},
        "text": {"kind": "hugging_face", "architecture": text, "pooling": "cls", "head": "linear+layernorm"},
        "embed_dim": 16,
        "context_length": 16,
        "logit_scale": 1 / 7,
        "preprocessing": {"size": 32},
        "tokenizer": str(tiny_bert(folder / "bert")),
    }
    (folder / "model.json").write_text(json.dumps(config))
    return str(folder / "model.json")


def settings(folder: Path, model_config: str) -> FromScratchSettings:
    """Pairs in a CSV, and little training."""
    return FromScratchSettings(
        pairs=str(pairs_csv(folder, drawings(40))),
        model_config=model_config,
        out=str(folder / "out"),
        training=TRAINING,
        device="cpu",
    )


@pytest.fixture
def asked(tmp_path: Path, model_config: str) -> FromScratchSettings:
    """What a test changes."""
    return settings(tmp_path, model_config)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, model_config: str) -> Done:
    """One run."""
    asked = settings(tmp_path_factory.mktemp("done"), model_config)
    return asked, run_from_scratch(asked)


def rows_of(settings: FromScratchSettings) -> list[dict]:
    """What became of the pairs."""
    pipeline = FromScratch(settings)
    pipeline.ingest()
    return pipeline.table.to_table(["filename", "captions"]).to_pylist()


def test_pairs_of_a_table_become_a_model_and_figures(done: Done) -> None:
    _, result = done

    assert result.table.num_rows == 40
    found = result.to_dict()["evaluations"]
    assert {row["set"] for row in found["recall"]["rows"]} >= {"held out", "trained on"}
    assert result.comparison.accuracy is not None
    assert result.comparison.accuracy.chance == pytest.approx(1 / 5)
    assert result.comparison.seen_after is not None
    assert len(found["search"]["queries"]) == 3


def test_the_scale_begins_where_the_config_says_and_is_learned(done: Done) -> None:
    _, result = done

    scales = [step["logit_scale"] for step in result.run.metrics]
    assert scales[0] == pytest.approx(1 / 7, rel=0.01)
    assert scales[-1] != scales[0]


def test_the_same_again_changes_nothing(done: Done) -> None:
    asked, first = done

    again = run_from_scratch(asked)

    assert not again.changed
    assert str(again) == str(first)


def test_lists_of_texts_and_paths_are_pairs(asked: FromScratchSettings, tmp_path: Path) -> None:
    paths = [str(path) for path in sorted((tmp_path / "images").iterdir())]
    texts = [f"picture {number}, with a comma" for number in range(len(paths))]
    (tmp_path / "texts.txt").write_text("\n".join(texts) + "\n")
    (tmp_path / "paths.txt").write_text("\n".join(paths) + "\n")
    in_files = replace(asked, pairs=None, texts=str(tmp_path / "texts.txt"), paths=str(tmp_path / "paths.txt"))
    as_lists = replace(asked, pairs=None, texts=texts, paths=paths, out=str(tmp_path / "lists"))

    found = rows_of(as_lists)

    assert rows_of(in_files) == found
    assert [row["captions"] for row in found] == [[text] for text in texts]


def test_pictures_that_lie_in_several_folders_are_found(asked: FromScratchSettings, tmp_path: Path) -> None:
    paths = sorted((tmp_path / "images").iterdir())[:2]
    moved = [tmp_path / "elsewhere" / "one" / "same.png", tmp_path / "elsewhere" / "two" / "same.png"]
    for old, new in zip(paths, moved, strict=True):
        new.parent.mkdir(parents=True)
        old.rename(new)

    found = rows_of(replace(asked, pairs=None, texts=["first", "second"], paths=[str(path) for path in moved]))

    assert [row["captions"] for row in found] == [["first"], ["second"]]


@pytest.mark.parametrize("absolute", [False, True])
def test_a_csv_elsewhere_leads_to_its_pictures(
    asked: FromScratchSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absolute: bool
) -> None:
    text = (tmp_path / "captions.csv").read_text()
    (tmp_path / "lists").mkdir()
    moved = tmp_path / "lists" / "captions.csv"
    moved.write_text(text.replace("images/", f"{tmp_path}/images/") if absolute else text)
    monkeypatch.chdir(tmp_path)

    assert len(rows_of(replace(asked, pairs=str(moved)))) == 40


def test_pairs_to_measure_may_lie_in_a_file_or_a_column_of_their_own(
    asked: FromScratchSettings, tmp_path: Path
) -> None:
    rows = drawings(40)
    train, test = pairs_csv(tmp_path, rows[:30], "train.csv"), pairs_csv(tmp_path, rows[30:], "test.csv")
    lines = ["caption,path,split"]
    lines += [
        f"{row['captions'][1]},images/{row['image_id']},{'train' if n < 30 else 'test'}" for n, row in enumerate(rows)
    ]
    (tmp_path / "split.csv").write_text("\n".join(lines))
    (tmp_path / "train.txt").write_text("\n".join(f"images/{row['image_id']}" for row in rows[:30]))
    (tmp_path / "test.txt").write_text("\n".join(f"images/{row['image_id']}" for row in rows[30:]))

    for number, one in enumerate(
        [
            replace(asked, pairs=str(train), test_pairs=str(test)),
            replace(asked, pairs=str(tmp_path / "split.csv")),
            replace(asked, splits={name: str(tmp_path / f"{name}.txt") for name in ("train", "test")}),
        ]
    ):
        pipeline = FromScratch(replace(one, out=str(tmp_path / f"out{number}")))
        pipeline.ingest()
        found = pipeline.table.to_table(["filename", "split"]).to_pylist()
        assert [row["split"] for row in found] == ["train"] * 30 + ["test"] * 10


def test_pictures_of_every_mode_are_trained_on(asked: FromScratchSettings, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    grey = random.integers(0, 255, (30, 40), np.uint8)
    colours = random.integers(0, 255, (30, 40, 4), np.uint8)
    modes = {
        "rgba.png": Image.fromarray(colours, "RGBA"),
        "grey.png": Image.fromarray(grey, "L"),
        "grey_alpha.png": Image.fromarray(grey, "L").convert("LA"),
        "palette.png": Image.fromarray(colours[:, :, :3], "RGB").quantize(16),
        "bilevel.png": Image.fromarray(grey, "L").convert("1"),
        "cmyk.jpg": Image.fromarray(colours[:, :, :3], "RGB").convert("CMYK"),
        "deep.png": Image.fromarray(grey.astype(np.uint16) * 257),
        "ycbcr.tif": Image.fromarray(colours[:, :, :3], "RGB"),
    }
    folder = tmp_path / "modes"
    folder.mkdir()
    for name, picture in modes.items():
        picture.save(folder / name)
    lines = [f"a picture called {name},modes/{name}" for name in modes]
    (tmp_path / "captions.csv").write_text((tmp_path / "captions.csv").read_text() + "\n".join(lines))

    result = run_from_scratch(replace(asked, training={**TRAINING, "epochs": "1"}))

    assert result.table.num_rows == 40 + len(modes)
    named = result.table.to_table(["filename", "image_embedding_fine_tune"]).to_pylist()
    assert all(row["image_embedding_fine_tune"] is not None for row in named)
    assert set(modes) <= {row["filename"] for row in named}


def test_a_picture_that_cannot_be_read_is_refused_and_counted(asked: FromScratchSettings, tmp_path: Path) -> None:
    (tmp_path / "images" / "0003.png").write_bytes(b"no picture")
    (tmp_path / "images" / "0004.png").unlink()
    pipeline = FromScratch(asked)

    pipeline.ingest()

    assert pipeline.table.num_rows == 38


def test_the_documents_model_is_as_large_as_the_document_says() -> None:
    config = read_model_config("document")

    section = config.to_json()
    assert section["image"] == {
        "kind": "vit", "layers": 8, "heads": 6, "head": {"kind": "linear+layernorm"},
    } or section["image"]["layers"] == 8  # fmt: skip
    assert config.logit_scale == pytest.approx(1 / 7)
    assert config.embed_dim == 256
    assert config.preprocessing["size"] == 224
    assert section["text"]["architecture"] == "distilbert"


def test_the_documents_training_takes_dot_products_and_every_other_pair_as_a_negative(
    asked: FromScratchSettings,
) -> None:
    config = FromScratch(replace(asked, config="document", training={})).config

    assert config.objective.to_json() == {
        "kind": "contrastive", "text": "captions_clean", "captions": "random", "negatives": None,
        "same": "negatives", "group": None,
        "normalise": False,
    }  # fmt: skip
    assert (config.shuffle, config.learn_logit_scale, config.init_logit_scale) == (True, True, None)
    assert (config.min_steps, config.warmup_ratio, config.grad_clip) == (0, 0.0, None)
    assert FromScratch(asked).config.objective.normalises


@pytest.mark.parametrize("name", ["small", "document"])
def test_configs_of_models_are_read_by_name(name: str) -> None:
    assert name not in configs.document("from-scratch")
    assert read_model_config(name).tokenizer is not None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pairs": "none.csv"}, "none.csv"),
        ({"model_config": "none.json"}, "there is no file none.json"),
        ({"path_column": "picture"}, "no file of captions"),
        ({"images": "nowhere/"}, "nowhere"),
        ({"pairs": None, "texts": ["one"], "paths": ["a.png", "b.png"]}, "there are 1 texts and 2 paths"),
        ({"training": {"normalize": "false"}}, "did you mean normalise"),
    ],
    ids=lambda case: next(iter(case)) if isinstance(case, dict) else None,
)
def test_what_is_wrong_is_said_in_one_error(asked: FromScratchSettings, change: dict, said: str) -> None:
    with pytest.raises(ClipdataError, match=said):
        run_from_scratch(replace(asked, **change))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pairs": None, "texts": "t.txt"}, "--texts is given without --paths"),
        ({"texts": "t.txt", "paths": "p.txt"}, "--pairs and --texts are both given"),
        ({"pairs": None, "images": "x/"}, "--images is given without --pairs"),
        ({"splits": {"dev": "x.txt"}}, "--split dev="),
    ],
)
def test_settings_that_exclude_each_other_are_refused(asked: FromScratchSettings, change: dict, said: str) -> None:
    with pytest.raises(ClipdataError, match=said):
        replace(asked, **change)


def test_paths_that_lead_nowhere_are_said_with_the_first_of_them(tmp_path: Path, model_config: str) -> None:
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "c.csv").write_text("caption,path\na,b.png\n")

    with pytest.raises(NotFoundError, match=r"names 'b.png', and there is no such file"):
        run_from_scratch(
            FromScratchSettings(
                pairs=str(tmp_path / "alone" / "c.csv"), model_config=model_config, out=str(tmp_path), device="cpu"
            )
        )


def test_the_command_runs_from_a_csv(
    asked: FromScratchSettings, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["run", "from-scratch", "--pairs", str(asked.pairs), "--model-config", asked.model_config]
    words += ["--out", str(tmp_path / "cli"), "--choices", "3", "--json", "--device", "cpu"]
    words += [part for pair in TRAINING.items() for part in ("--set", "=".join(pair))]

    assert main(words) == 0

    found = json.loads(capsys.readouterr().out)
    assert found["comparison"]["accuracy"]["chance"] == pytest.approx(1 / 3)
    assert cd.open_table(tmp_path / "cli" / "pairs.lance").lineage("choice_scores_fine_tune") is not None
