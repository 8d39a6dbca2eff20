"""Locked-image tuning on lists text,url,filename: pictures at hand or downloaded, towers with weights of their own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch

import clipdata as cd
from clipdata.errors import ClipdataError, TooManyRejectsError, UsageError
from pipelines.cli.app import main
from pipelines.locked_image import LockedImage, LockedImageSettings, run_locked_image
from pipelines.results import PipelineResult
from pipelines.train_arguments import TrainArguments
from tests.chinese_pairs import write_list, write_pairs
from tests.contests import contest_table
from tests.tiny_models import tiny_dual_encoder, tiny_encoder

SMALL = {"epochs": "2", "min_steps": "0", "batch_size": "8"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lists, pictures, and a small CLIP as an export."""
    folder = write_pairs(tmp_path_factory.mktemp("pairs"))
    tiny_encoder(folder)
    return folder


def settings(files: Path, out: Path, **changes) -> LockedImageSettings:
    return LockedImageSettings(
        **{
            "train_file": str(files / "train.csv"),
            "test_file": str(files / "test.csv"),
            "images": str(files / "images"),
            "model": str(files / "tiny-0"),
            "out": str(out),
            "layers": 1,
            "width": 32,
            "length": 16,
            "training": SMALL,
            "device": "cpu",
            **changes,
        }
    )


@pytest.fixture(scope="module")
def done(files: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[LockedImageSettings, PipelineResult]:
    """What was asked of a run, and what it found."""
    asked = settings(files, tmp_path_factory.mktemp("work"))
    return asked, run_locked_image(asked)


def test_the_text_tower_learns_from_a_column_and_the_image_trunk_stays_as_it_was(files: Path, done) -> None:
    _, result = done
    tuned = result.run.encoder(device="cpu")

    assert result.run.config.image_trunk == "image_trunk"
    assert tuned.trunk_identity == result.table.lineage("image_trunk").model
    before = cd.load_encoder(str(files / "tiny-0"), device="cpu").model.visual.state_dict()
    after = tuned.model.visual.state_dict()
    assert [name for name in after if not torch.equal(after[name], before[name])] == ["proj"]
    assert [line["rows"] for line in result.run.metrics] == [8, 8, 2] * 2, "the last, short batch is kept"


def test_held_out_rows_are_those_of_the_other_list_and_the_figures_say_how_good_guessing_is(done) -> None:
    _, result = done

    assert result.table.num_rows == result.comparison.mean.num_rows == 6
    assert result.comparison.accuracy.chance == pytest.approx(0.2)
    recall = result.evaluations["recall"].to_dict()["rows"]
    assert [row["when"] for row in recall][:2] == ["before", "after"]
    assert "text_to_image_recall@1" in recall[0]["more"]


def test_at_the_end_texts_and_pictures_are_compared_in_three_tables(done) -> None:
    _, result = done
    found = result.evaluations["similar"]

    assert list(found.tables) == ["image-text", "text-text", "image-image"]
    assert all("色" in text for text in found.texts)
    assert {Path(place).name for place in found.images} == {f"图-{number}.png" for number in range(3, 24, 4)}


def test_the_towers_open_alone_with_transformers_and_see_and_read_as_the_whole_does(done) -> None:
    from transformers import AutoTokenizer, BertModel, CLIPVisionModel

    asked, result = done
    tuned = result.run.encoder(device="cpu")
    texts, pixels_BCHW = ["红色方块", "黑色横条"], torch.randn(2, 3, 32, 32)
    vision = CLIPVisionModel.from_pretrained(str(asked.home / "towers" / "vision")).eval()
    bert = BertModel.from_pretrained(str(asked.home / "towers" / "text")).eval()
    ids = AutoTokenizer.from_pretrained(str(asked.home / "towers" / "text"))(texts, return_tensors="pt", padding=True)

    with torch.no_grad():
        seen = vision(pixel_values=pixels_BCHW).pooler_output
        read = bert(input_ids=ids["input_ids"], attention_mask=ids["attention_mask"]).pooler_output
        torch.testing.assert_close(tuned.towers.image_trunk(pixels_BCHW), seen, atol=1e-5, rtol=1e-5)
        tokens_BL = tuned.towers.trim_tokens(tuned.tokenize(texts))
        torch.testing.assert_close(tuned.towers.text_trunk(tokens_BL), read, atol=1e-5, rtol=1e-5)
    assert set(result.evaluations["towers"].opens) == {"vision", "text", "whole"}


def test_the_same_command_again_changes_nothing(done) -> None:
    asked, result = done

    again = run_locked_image(asked)

    assert not again.changed
    assert again.comparison.figures() == result.comparison.figures()


def test_an_earlier_run_is_gone_on_with_as_a_whole(files: Path, done, tmp_path: Path) -> None:
    _, first = done

    result = run_locked_image(settings(files, tmp_path, model=str(first.run.path), whole=True))

    assert result.run.record["encoder"]["identity"] == first.run.encoder(device="cpu").identity
    past = result.run.encoder(device="cpu").trained_on
    assert [one.digest for one in past] == [first.run.trained_rows.digest, result.run.trained_rows.digest]


def test_pictures_are_held_out_where_no_other_list_is_given(files: Path, tmp_path: Path) -> None:
    asked = settings(files, tmp_path, test_file=None, choices=2, test_share=0.3)

    result = run_locked_image(asked)

    sides = result.table.to_table(["split"]).column(0).to_pylist()
    assert result.table.num_rows == 18
    assert result.comparison.mean.num_rows == sides.count("test") > 0


@pytest.fixture
def server(files: Path) -> Iterator[str]:
    """Address of the pictures, as of any other web server."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(files / "images"))) as running:
        Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


def test_pictures_are_downloaded_and_bad_ones_are_listed_and_left_out(files, server: str, tmp_path: Path) -> None:
    write_pairs(tmp_path / "lists", base_url=server)
    (files / "images" / "no-picture.png").write_text("<html>gone</html>")
    bad = [("坏图", f"{server}/no-picture.png", "bad.png"), ("没有", f"{server}/none.png", "none.png")]
    bad += [("无地址", "", "empty.png"), ("路径", f"{server}/x.png", "../x.png")]
    with (tmp_path / "lists" / "train.csv").open("a", encoding="utf-8") as stream:
        stream.writelines(f"{','.join(row)}\n" for row in bad)
    lists = {side: str(tmp_path / "lists" / f"{side.partition('_')[0]}.csv") for side in ("train_file", "test_file")}

    result = run_locked_image(settings(files, tmp_path, images=None, allow_private=("127.0.0.1",), **lists))

    assert result.run.record["table"]["num_rows"] == 18
    rejects = cd.open_table(tmp_path / "train.rejects.lance").to_table(["reason"]).column(0).to_pylist()
    assert sorted(rejects) == ["bad_filename", "bad_url", "http_404", "not_an_image"]


def train_args(files: Path, out: Path, **changes) -> dict:
    return {
        "output_dir": str(out), "clip_pretrain_path": str(files / "tiny-0"), "bert_pretrain_path": "random",
        "load_from_bert_clip": False, "image_path": str(files / "images"), "train_file": str(files / "train.csv"),
        "test_file": str(files / "test.csv"), "num_train_epochs": 3, "max_steps": 5,
        "per_device_train_batch_size": 4, "per_device_eval_batch_size": 4, "learning_rate": 1e-3,
        "max_seq_length": 12, "logging_steps": 2, "save_steps": 2, "save_total_limit": 2,
        "lr_scheduler_type": "cosine", "warmup_steps": 2, "warmup_ratio": 0.1, "gradient_accumulation_steps": 2,
        "optim": "adamw_torch", "seed": 3, "fp16": True, "no_cuda": True, "dataloader_num_workers": 0,
        "save_strategy": "steps", "weight_decay": 0, "max_grad_norm": 1.0, **changes,
    }  # fmt: skip


def test_a_train_clip_json_says_all_there_is_to_say(files: Path, tmp_path: Path, capsys) -> None:
    path = tmp_path / "train_clip.json"
    path.write_text(json.dumps(train_args(files, tmp_path / "out")), encoding="utf-8")

    assert main(["run", "locked-image", "--train-args-file", str(path), "--width", "32", "--json"]) == 0

    said = capsys.readouterr()
    run = json.loads(said.out)["run"]
    config = run["config"]
    assert (config["batch_size"], config["accumulate"], config["steps"], config["lr"]) == (4, 2, 5, 1e-3)
    assert (config["train"], config["drop_last"], config["precision"]) == ("text", False, "fp32")
    assert config["objective"] == {**config["objective"], "kind": "contrastive", "same": "negatives"}
    assert run["path"].startswith(str(tmp_path / "out"))
    tuned = cd.load_encoder(run["path"], device="cpu")
    assert (tuned.context_length, len(list((Path(run["path"]) / "checkpoints").iterdir()))) == (12, 2)
    first, second, *_ = cd.open_run(run["path"]).metrics
    assert first["lr"] == 0.0, "the first step of Hugging Face's warm-up moves nothing"
    assert second["lr"] > 0
    assert "4 rows meet in a loss" in said.err, "accumulation adds no negatives, and is told as what it is"
    assert "computes in fp32" in said.err


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"warmup_step": 3}, "warmup_step.*did you mean warmup_steps"),
        ({"train_file": "none.csv"}, "none.csv"),
        ({"clip_pretrain_path": "./none"}, "none"),
        ({"bert_pretrain_path": "./none"}, "none"),
        ({"image_path": "./none"}, "none"),
    ],
)
def test_what_is_wrong_in_a_train_clip_json_is_named(
    files: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch, changes: dict, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train_clip.json").write_text(json.dumps(train_args(files, tmp_path / "out", **changes)))

    assert main(["run", "locked-image", "--train-args-file", "train_clip.json"]) in (2, 3)

    import re

    assert re.search(said, capsys.readouterr().err)


def test_what_is_typed_wins_over_the_file(files: Path, tmp_path: Path) -> None:
    arguments = TrainArguments.from_json(json.dumps(train_args(files, tmp_path / "said")))

    asked = LockedImageSettings(arguments=arguments, out="typed", length=7, training={"lr": "0.5"})

    assert (asked.out, asked.length, asked.device) == ("typed", 7, "cpu")
    assert (asked.images, asked.model) == (arguments.image_path, arguments.clip_pretrain_path)
    assert LockedImage(asked).config.lr == 0.5
    with pytest.raises(UsageError, match="both say how to train"):
        replace(asked, config="document")


def test_the_documents_own_settings_are_these(files: Path, tmp_path: Path) -> None:
    config = LockedImage(settings(files, tmp_path, config="document", training={})).config

    assert (config.batch_size, config.epochs, config.lr, config.warmup_steps) == (768, 50, 5e-5, 1000)
    assert (config.schedule, config.precision, config.train, config.drop_last) == ("cosine", "fp32", "text", False)
    assert (config.checkpoint_every_steps, config.keep_checkpoints, config.optimizer) == (500, 3, "adamw")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"text": "caption"}, "caption"),
        ({"filename": "file"}, "file"),
        ({"model": "startr"}, "did you mean starter"),
        ({"bert": "./none"}, "none"),
        ({"training": {"epoch": "1"}}, "did you mean epochs"),
        ({"train_file": None}, "without --train-file"),
        ({"test_file": "train"}, "expected two lists"),
        ({"whole": True, "bert": "./bert"}, "--bert names another"),
        ({"width": 33}, "multiple of 32"),
        ({"length": 2}, "at least 3"),
    ],
)
def test_what_is_wrong_with_the_request_is_said(files: Path, tmp_path: Path, changes: dict, said: str) -> None:
    if changes.get("test_file") == "train":
        changes = {"test_file": str(files / "train.csv")}
    with pytest.raises(ClipdataError, match=said):
        run_locked_image(settings(files, tmp_path, **changes))

    assert not (tmp_path / "runs").exists()


def test_lists_of_which_no_picture_is_there_end_with_the_reasons(files: Path, tmp_path: Path) -> None:
    write_list(tmp_path / "train.csv", [("某物", "https://pictures.example/a.png", "a.png")])
    with pytest.raises(ClipdataError, match=r"no captioned image|gives a pair"):
        run_locked_image(settings(files, tmp_path, train_file=str(tmp_path / "train.csv")))

    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"no picture")
    with pytest.raises(TooManyRejectsError, match="gives a pair: 1 "):
        run_locked_image(
            settings(files, tmp_path, train_file=str(tmp_path / "train.csv"), images=str(tmp_path / "images"))
        )


def chinese_bert(folder: Path, *, pooler: bool) -> Path:
    """The folder of a BertModel with a tokenizer, as transformers writes it; some have no pooler."""
    from transformers import BertConfig, BertModel

    from clipdata.encoder.characters import bert_of_characters

    bert_of_characters(["红绿蓝黄黑白粉棕色方块圆点横条"], folder, layers=1, width=32)
    torch.manual_seed(1)
    BertModel(BertConfig.from_pretrained(str(folder)), add_pooling_layer=pooler).save_pretrained(str(folder))
    return folder


@pytest.mark.parametrize("pooler", [True, False])
def test_a_pretrained_bert_is_read_through_its_own_pooler_where_it_has_one(
    files: Path, tmp_path: Path, pooler: bool
) -> None:
    from transformers import AutoTokenizer, BertModel

    bert = chinese_bert(tmp_path / "bert", pooler=pooler)
    encoder = LockedImage(settings(files, tmp_path, bert=str(bert))).load()

    ids = AutoTokenizer.from_pretrained(str(bert))(["红色方块"], return_tensors="pt")
    with torch.no_grad():
        found = BertModel.from_pretrained(str(bert)).eval()(**ids)
        trunk = encoder.towers.text_trunk(encoder.towers.trim_tokens(encoder.tokenize(["红色方块"])))
    expected = found.pooler_output if pooler else found.last_hidden_state[:, 0]
    torch.testing.assert_close(trunk, expected, atol=1e-5, rtol=1e-5)


def hugging_face_clip(folder: Path) -> Path:
    """The folder of a CLIPModel as transformers writes it."""
    from transformers import CLIPConfig, CLIPModel

    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision, text = {**shape, "image_size": 32, "patch_size": 16}, {**shape, "vocab_size": 99}
    torch.manual_seed(2)
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)).save_pretrained(str(folder))
    return folder


def test_the_image_tower_of_a_clip_brings_its_projection_and_its_scale(files: Path, tmp_path: Path) -> None:
    from transformers import CLIPModel

    clip = hugging_face_clip(tmp_path / "clip")
    bert = chinese_bert(tmp_path / "bert", pooler=True)
    encoder = LockedImage(settings(files, tmp_path, model=str(clip), bert=str(bert))).load()

    theirs = CLIPModel.from_pretrained(str(clip)).eval()
    pixels_BCHW = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        pooled = theirs.vision_model(pixel_values=pixels_BCHW).pooler_output
        expected = theirs.visual_projection(pooled)
        found = encoder.towers.image_head(encoder.towers.image_trunk(pixels_BCHW))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert encoder.logit_scale == pytest.approx(float(theirs.logit_scale.detach().exp()))


def test_a_whole_model_as_the_document_publishes_it_is_gone_on_with(files: Path, tmp_path: Path) -> None:
    """A folder with a CLIP's image tower and a BERT in one file, under the names of the document's class."""
    from safetensors.torch import load_file, save_file
    from transformers import BertConfig, BertModel

    clip = hugging_face_clip(tmp_path / "clip")
    bert = chinese_bert(tmp_path / "clip" / "bert", pooler=True)
    texts = BertModel.from_pretrained(str(bert)).eval()
    tensors = {name: t for name, t in load_file(clip / "model.safetensors").items() if not name.startswith("text_")}
    tensors |= {f"text_model.{name}": tensor for name, tensor in texts.state_dict().items()}
    tensors["text_projection.weight"] = torch.randn(24, 32)
    save_file(tensors, clip / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((clip / "config.json").read_text())
    (clip / "config.json").write_text(json.dumps(config | {"text_config": BertConfig.from_pretrained(bert).to_dict()}))
    for file in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        (clip / file).write_bytes((bert / file).read_bytes())

    encoder = LockedImage(settings(files, tmp_path, model=str(clip), whole=True)).load()

    ids = encoder.tokenize(["红色方块"])
    with torch.no_grad():
        pooled = texts(input_ids=ids, attention_mask=(ids != 0).long()).pooler_output
        expected = torch.nn.functional.normalize(pooled @ tensors["text_projection.weight"].T, dim=-1)
    torch.testing.assert_close(encoder.encode_texts(["红色方块"]), expected, atol=1e-5, rtol=1e-5)


def test_the_locked_tower_stays_still_in_training_with_its_batch_statistics_and_its_dropout(tmp_path: Path) -> None:
    encoder = tiny_dual_encoder(tmp_path)
    config = cd.recipes.locked_image(
        text="caption_choices", captions="first", steps=2, batch_size=8, evaluate_where=None
    )
    config = replace(config, freeze_batchnorm=False)

    run = cd.train(contest_table(tmp_path, 20), encoder, config, out=tmp_path / "run")

    before, after = encoder.model.state_dict(), run.encoder(device="cpu").model.state_dict()
    moved = {name for name in after if not torch.equal(before[name], after[name])}
    assert {name for name in moved if name.startswith("visual.")} == {"visual.head.proj.weight"}
    assert {"logit_scale", "text.proj.weight"} < moved
    assert any(name.startswith("text.transformer.") for name in moved)


def test_an_image_tower_alone_gets_a_projection_that_is_new(files: Path, tmp_path: Path) -> None:
    from transformers import CLIPVisionConfig, CLIPVisionModel

    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    tower = CLIPVisionModel(CLIPVisionConfig(**shape, image_size=32, patch_size=16)).eval()
    tower.save_pretrained(str(tmp_path / "vision"))
    bert = chinese_bert(tmp_path / "bert", pooler=True)

    encoder = LockedImage(settings(files, tmp_path, model=str(tmp_path / "vision"), bert=str(bert))).load()

    pixels_BCHW = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = tower(pixel_values=pixels_BCHW).pooler_output
        torch.testing.assert_close(encoder.towers.image_trunk(pixels_BCHW), expected, atol=1e-5, rtol=1e-5)
    assert encoder.embed_dim == 512
    assert encoder.logit_scale == pytest.approx(1 / 0.07)


def test_towers_that_cannot_be_reached_are_named_with_what_to_use_instead(files: Path, tmp_path: Path) -> None:
    for change in ({"model": "openai/no-such-clip"}, {"bert": "Langboat/no-such-bert"}):
        with pytest.raises(ClipdataError) as caught:
            run_locked_image(settings(files, tmp_path, **change))

        assert "no-such" in caught.value.message
        assert "which needs no hub" in caught.value.hint
        assert not list(tmp_path.glob("*.lance")), "before anything is written"
