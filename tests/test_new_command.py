"""`clipdata new`: a config or an architecture becomes a folder that every verb takes as its model."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from clipdata.encoder import load_encoder
from pipelines.cli.app import VERBS, main
from pipelines.cli.json_output import schema_of
from tests.json_schemas import check_schema
from tests.tiny_models import tiny_bert, tiny_config

CONFIG: dict[str, Any] = {
    "image": {"kind": "vit", "layers": 2, "width": 48, "heads": 6, "patch_size": 8, "head": "linear+layernorm"},
    "text": {
        "kind": "hugging_face",
        "architecture": {"model_type": "distilbert", "dim": 32, "n_heads": 2, "n_layers": 2, "hidden_dim": 64},
        "head": "linear+layernorm",
    },
    "embed_dim": 32,
    "preprocessing": {"size": 32},
    "context_length": 18,
    "logit_scale": 1 / 7,
    "name": "mine",
}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    tokenizer = tiny_bert(tmp_path / "tokenizer")
    path = tmp_path / "model.json"
    path.write_text(json.dumps(CONFIG | {"tokenizer": str(tokenizer)}))
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    return code, *capsys.readouterr()


def test_a_config_becomes_a_model_that_verbs_take(
    written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, "new", written, "--out", tmp_path / "mine", "--json")

    found = json.loads(out)
    check_schema(found, next(schema_of(one.words, one.found) for one in VERBS if one.words == "new"))
    encoder = load_encoder(found["model"], device="cpu")
    assert code == 0
    assert (found["identity"], found["name"]) == (encoder.identity, "mine")
    assert (found["image_trunk"], found["text_trunk"], found["embed_dim"]) == (48, 32, 32)
    assert found["logit_scale"] == pytest.approx(1 / 7)
    assert len(found["not_for_open_clip"]) == 2
    assert f"--model {tmp_path / 'mine'}" in found["next"]


def test_it_says_what_it_made_and_whether_open_clip_takes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tiny.json").write_text(json.dumps(tiny_config()))

    code, out, err = run(capsys, "new", tmp_path / "tiny.json", "--out", tmp_path / "tiny", "--seed", "3")

    assert code == 0
    assert out.startswith("tiny, seed 3 (")
    assert "32 x 32 pixels, 64 features -> 32" in out
    assert "opens with open_clip too" in out
    assert "clipdata train TABLE --model" in err


def test_another_seed_is_another_model_and_none_is_replaced_unasked(
    written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = [json.loads(run(capsys, "new", written, "--out", tmp_path / "m", "--json", "--seed", seed, *more)[1])
            for seed, more in ((1, ()), (2, ()), (2, ("--overwrite",)))]  # fmt: skip

    assert made[1]["error"]["code"] == 2
    assert "--overwrite" in made[1]["error"]["hint"]
    assert made[0]["identity"] != made[2]["identity"] == load_encoder(tmp_path / "m", device="cpu").identity


@pytest.mark.parametrize(
    ("what", "code", "said"),
    [
        ("nowhere.json", 3, "there is no file nowhere.json"),
        ("ViT-B-33", 3, "did you mean ViT-B-32"),
        ("broken.json", 2, "not JSON"),
        ("list.json", 2, "expected a JSON object"),
        ("wrong.json", 2, "did you mean embed_dim"),
    ],
)
def test_wrong_words_and_files_say_what_was_expected(
    what: str, code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.json").write_text('{"image": ')
    Path("list.json").write_text("[1]")
    Path("wrong.json").write_text(json.dumps(CONFIG | {"embed_dims": 3, "image": 3}))

    found, _, err = run(capsys, "new", what, "--out", "m")

    assert found == code
    assert said in err
    assert not os.path.exists("m")


def test_the_help_shows_a_config_that_works(capsys: pytest.CaptureFixture[str]) -> None:
    from clipdata import ModelConfig

    _, out, _ = run(capsys, "new", "--help")

    shown = out[out.index('  {"image"') :]
    config = ModelConfig.from_json(shown[: shown.index("\n\n")])
    assert (config.embed_dim, config.image.kind) == (256, "vit")
