"""Towers exported alone open with the libraries they belong to, and give there what they give here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import transformers

from clipdata import export_towers
from clipdata.encoder import Encoder, new_encoder, split
from clipdata.errors import UsageError
from pipelines.cli.app import main
from tests.test_assembling import DISTILBERT, NATIVE, RESNET, TEXTS, VIT, config, hugging_face, pictures
from tests.tiny_models import tiny_bert, tiny_config, tiny_dual_encoder, tiny_encoder

BERT = {
    "model_type": "bert",
    "hidden_size": 32,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "intermediate_size": 64,
    "vocab_size": 120,
    "max_position_embeddings": 64,
}
NARROW = {"kind": "open_clip", "architecture": {**NATIVE["architecture"], "vocab_size": 120}}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    tiny_bert(folder / "tokenizer")
    return folder


def opened(done: Any, name: str) -> Any:
    """What the exported line of Python gives."""
    return eval(done.opens[name], {"transformers": transformers, "timm": timm}).eval()


def text_batch(encoder: Encoder, done: Any) -> Any:
    tokenizer = transformers.AutoTokenizer.from_pretrained(Path(done.path) / "text")
    return tokenizer(TEXTS, padding=True, truncation=True, max_length=encoder.context_length, return_tensors="pt")


@pytest.mark.parametrize("quick_gelu", [False, True])
@pytest.mark.parametrize("head", ["linear", "linear+layernorm"])
def test_a_vision_transformer_opens_as_clip_vision_model(
    quick_gelu: bool, head: str, files: Path, tmp_path: Path
) -> None:
    architecture = {"layers": 2, "width": 48, "head_width": 16, "patch_size": 8, "mlp_ratio": 2.0}
    image = {"kind": "open_clip", "architecture": architecture, "quick_gelu": quick_gelu, "head": head}
    encoder = new_encoder(config(image, hugging_face(DISTILBERT), files), device="cpu")
    with torch.no_grad():
        for parameter in encoder.model.visual.parameters():
            torch.nn.init.normal_(parameter, std=0.1)

    done = export_towers(encoder, tmp_path / "towers")

    model, image_BCHW = opened(done, "vision"), encoder.normalise(pictures(encoder))
    with torch.no_grad():
        output = model(image_BCHW)
        torch.testing.assert_close(
            output.pooler_output, split(encoder.model).image_trunk(image_BCHW), atol=1e-5, rtol=0
        )
    assert model.config.hidden_act == ("quick_gelu" if quick_gelu else "gelu")
    # The whole sequence too: the features of the first token before the last norm are what the pooled ones are of.
    visual = getattr(encoder.model.visual, "trunk", encoder.model.visual)
    with torch.no_grad():
        hidden_BLT = visual.transformer(visual._embeds(image_BCHW))
    torch.testing.assert_close(output.last_hidden_state, hidden_BLT, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("architecture", "kind"), [(DISTILBERT, "DistilBertModel"), (BERT, "BertModel")])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_a_text_encoder_opens_as_its_own_class_with_its_tokenizer(
    architecture: dict[str, Any], kind: str, pooling: str, files: Path, tmp_path: Path
) -> None:
    encoder = new_encoder(config(VIT, hugging_face(architecture, pooling=pooling), files), device="cpu")

    done = export_towers(encoder, tmp_path / "towers")

    model, batch = opened(done, "text"), text_batch(encoder, done)
    given = {name: batch[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        hidden_BLT = model(**given).last_hidden_state
        plain_BLT = transformers.AutoModel.from_pretrained(Path(done.path) / "text").eval()(**given).last_hidden_state
        expected_BT = split(encoder.model).text_trunk(encoder.tokenize(TEXTS))
    mask = batch.attention_mask.unsqueeze(-1)
    found_BT = hidden_BLT[:, 0] if pooling == "cls" else (hidden_BLT * mask).sum(1) / mask.sum(1)
    torch.testing.assert_close(found_BT, expected_BT, atol=1e-5, rtol=0)
    assert torch.equal(plain_BLT, hidden_BLT)
    assert type(model).__name__ == kind


def test_open_clip_s_own_wrappers_open_alone_too(tmp_path: Path) -> None:
    encoder = tiny_dual_encoder(tmp_path / "parts")

    done = export_towers(encoder, tmp_path / "towers")

    vision, text = opened(done, "vision"), opened(done, "text")
    batch, image_BCHW = text_batch(encoder, done), encoder.normalise(pictures(encoder))
    with torch.no_grad():
        hidden_BLT = text(**{k: batch[k] for k in ("input_ids", "attention_mask")}).last_hidden_state
        mask = batch.attention_mask.unsqueeze(-1)
        torch.testing.assert_close(
            (hidden_BLT * mask).sum(1) / mask.sum(1), split(encoder.model).text_trunk(encoder.tokenize(TEXTS))
        )
        torch.testing.assert_close(vision(image_BCHW), split(encoder.model).image_trunk(image_BCHW))
    assert "CLIP's image tower" in done.not_written["whole"]


@pytest.mark.parametrize(("architecture", "pool"), [("resnet10t", None), ("test_vit", "avg")])
def test_a_timm_tower_opens_with_timm(architecture: str, pool: str | None, files: Path, tmp_path: Path) -> None:
    image = {"kind": "timm", "architecture": architecture, "head": "mlp"} | ({"pool": pool} if pool else {})
    encoder = new_encoder(config(image, hugging_face(DISTILBERT), files), device="cpu")

    done = export_towers(encoder, tmp_path / "towers")

    model, image_BCHW = opened(done, "vision"), encoder.normalise(pictures(encoder))
    with torch.no_grad():
        torch.testing.assert_close(model(image_BCHW), split(encoder.model).image_trunk(image_BCHW))


def test_the_whole_of_a_clip_opens_as_clip_model(tmp_path: Path) -> None:
    encoder = tiny_encoder(quick_gelu=True)

    done = export_towers(encoder, tmp_path / "towers")

    model, tokens_BL = opened(done, "whole"), encoder.tokenize(TEXTS)
    with torch.no_grad():
        output = model(
            pixel_values=encoder.normalise(pictures(encoder)),
            input_ids=tokens_BL,
            attention_mask=torch.ones_like(tokens_BL),
        )
        text = opened(done, "text")(input_ids=tokens_BL).pooler_output
    torch.testing.assert_close(output.image_embeds, encoder.encode_images(pictures(encoder)), atol=1e-5, rtol=0)
    torch.testing.assert_close(output.text_embeds, encoder.encode_texts(TEXTS), atol=1e-5, rtol=0)
    torch.testing.assert_close(text, split(encoder.model).text_trunk(tokens_BL), atol=1e-5, rtol=0)
    assert model.logit_scale.exp().item() == pytest.approx(encoder.logit_scale)


def test_a_clip_tower_and_a_bert_open_as_one_and_come_back_as_they_were(files: Path, tmp_path: Path) -> None:
    given = config(VIT, hugging_face(BERT, pooling="pooler"), files)
    encoder = new_encoder(given, device="cpu")

    done = export_towers(encoder, tmp_path / "towers")

    model, batch = opened(done, "whole"), text_batch(encoder, done)
    with torch.no_grad():
        output = model(pixel_values=encoder.normalise(pictures(encoder)), **batch)
    torch.testing.assert_close(output.image_embeds, encoder.encode_images(pictures(encoder)), atol=1e-5, rtol=0)
    torch.testing.assert_close(output.text_embeds, encoder.encode_texts(TEXTS), atol=1e-5, rtol=0)

    model.save_pretrained(tmp_path / "theirs")
    side = {"kind": "clip", "weights": str(tmp_path / "theirs"), "head": "own"}
    back = new_encoder(config(side, side, tokenizer=str(files / "tokenizer")), device="cpu")
    torch.testing.assert_close(back.encode_images(pictures(back)), encoder.encode_images(pictures(back)))
    torch.testing.assert_close(back.encode_texts(TEXTS), encoder.encode_texts(TEXTS))


WHY_NOT: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "cls pooling": (config(VIT, hugging_face(BERT)), {"whole": "takes the text tower's pooler"}),
    "other heads": (config({**VIT, "head": "mlp"}, hugging_face(BERT, pooling="pooler")), {"whole": "without bias"}),
    "a logit bias": (config(VIT, hugging_face(BERT, pooling="pooler"), logit_bias=-10), {"whole": "no logit bias"}),
    "a resnet": (
        config({"kind": "open_clip", "architecture": RESNET}, hugging_face(BERT), preprocessing={"size": 64}),
        {"vision": "no ResNet", "whole": "no ResNet"},
    ),
    "another pooling of pictures": (
        config({"kind": "open_clip", "architecture": {"layers": 1, "width": 32, "head_width": 16, "patch_size": 8,
                                                      "pool_type": "avg"}}, NARROW),
        {"vision": "pool_type", "whole": "pool_type"},
    ),
    "texts read both ways": (
        config(VIT, {"kind": "open_clip", "architecture": {**NARROW["architecture"], "no_causal_mask": True}}),
        {"text": "no_causal_mask", "whole": "no_causal_mask"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", list(WHY_NOT))
def test_what_a_library_has_no_class_for_is_not_written_and_said(case: str, files: Path, tmp_path: Path) -> None:
    given, reasons = WHY_NOT[case]
    encoder = new_encoder({**given, "tokenizer": str(files / "tokenizer")}, device="cpu")

    done = export_towers(encoder, tmp_path / "towers")

    assert set(done.not_written) == set(reasons)
    readme = (tmp_path / "towers" / "README.md").read_text()
    for name, reason in reasons.items():
        assert reason in done.not_written[name]
        assert f"`{name}` was not written: {done.not_written[name]}" in readme
        assert not (tmp_path / "towers" / name).exists()


def test_pictures_are_prepared_there_as_here(tmp_path: Path) -> None:
    from PIL import Image

    from tests.pictures import drawing

    for mode in ("shortest", "squash"):
        encoder = new_encoder(
            tiny_config(), preprocess_cfg={"mean": 0.5, "std": 0.25, "resize_mode": mode}, device="cpu"
        )
        export_towers(encoder, tmp_path / "towers", overwrite=True)
        processor = transformers.AutoImageProcessor.from_pretrained(tmp_path / "towers" / "vision")
        pixels = drawing(3, 70, 40)

        found = processor(Image.fromarray(pixels), return_tensors="pt").pixel_values

        expected = encoder.normalise(encoder.prepare(pixels)[None])
        assert (found - expected).abs().mean() < 0.02


def test_towers_are_replaced_by_towers_and_nothing_else_is(tmp_path: Path) -> None:
    encoder = tiny_encoder()
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.txt").write_text("years of work")

    export_towers(encoder, tmp_path / "towers")
    export_towers(encoder, tmp_path / "towers")
    with pytest.raises(UsageError, match="holds no exported towers"):
        export_towers(encoder, tmp_path / "thesis")
    with pytest.raises(UsageError, match=r"towers of another model"):
        export_towers(tiny_encoder(seed=1), tmp_path / "towers")
    export_towers(tiny_encoder(seed=1), tmp_path / "towers", overwrite=True)

    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["thesis", "towers"]


def test_the_command_prints_what_to_type(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_encoder(tmp_path)

    assert main(["export-towers", str(tmp_path / "tiny-0"), "--out", str(tmp_path / "towers"), "--json"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert set(found["opens"]) == {"vision", "text", "whole"}
    assert found["opens"]["vision"].startswith("transformers.CLIPVisionModel.from_pretrained(")
