"""Models of two towers of any kind: their features are the libraries' own, and everything an Encoder does holds."""

from __future__ import annotations

import copy
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import transformers
from torch import nn

import clipdata as cd
from clipdata.encoder import Encoder, export, load_encoder, lock, new_encoder, split
from clipdata.encoder.assembling import AssembledModel
from clipdata.errors import ConfigError, NotFoundError, UsageError
from clipdata.training.optimisers import part_of
from tests.tiny_models import tiny_bert, tiny_config, tiny_dual_encoder, tiny_encoder

TEXTS = ["a cat", "two dogs on a table, and three more", "red circle!"]
SIZE = 32
VIT = {"kind": "vit", "layers": 2, "width": 48, "heads": 6, "patch_size": 8}
RESNET = {"layers": [1, 1, 1, 1], "width": 16, "head_width": 32}
DISTILBERT = {
    "model_type": "distilbert",
    "dim": 32,
    "n_heads": 2,
    "n_layers": 2,
    "hidden_dim": 64,
    "vocab_size": 120,
    "max_position_embeddings": 64,
}
ROBERTA = {
    "model_type": "roberta",
    "hidden_size": 32,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "intermediate_size": 64,
    "vocab_size": 120,
    "max_position_embeddings": 40,
    "pad_token_id": 0,
}
NATIVE = {"kind": "open_clip", "architecture": {"width": 32, "layers": 2, "heads": 2}}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights and tokenizers as other programs write them."""
    folder = tmp_path_factory.mktemp("files")
    tiny_bert(folder / "tokenizer")
    torch.manual_seed(5)
    bert = transformers.BertForPreTraining(transformers.BertConfig.from_pretrained(folder / "tokenizer"))
    bert.save_pretrained(folder / "bert")
    shutil.copytree(folder / "tokenizer", folder / "bert", dirs_exist_ok=True, ignore=lambda *_: ["config.json"])
    backbone = timm.create_model("resnet10t", num_classes=7)
    torch.save({"state_dict": backbone.state_dict()}, folder / "resnet.pth")
    vision = {
        "hidden_size": 48,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "image_size": SIZE,
        "patch_size": 8,
    }
    text = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 24,
        "vocab_size": 49408,
    }
    clip = transformers.CLIPModel(transformers.CLIPConfig(vision_config=vision, text_config=text, projection_dim=32))
    for parameter in clip.parameters():  # its own start has no biases
        nn.init.normal_(parameter, std=0.1)
    clip.save_pretrained(folder / "clip")
    clip.vision_model.save_pretrained(folder / "clip-vision")
    return folder


def config(image: Any = None, text: Any = None, files: Path | None = None, **changes: Any) -> dict[str, Any]:
    """A small whole config; a Hugging Face text tower gets the tiny tokenizer."""
    chosen: dict[str, Any] = {
        "image": image or VIT,
        "text": text or NATIVE,
        "embed_dim": 32,
        "preprocessing": {"size": SIZE},
        "context_length": 18,
    }
    if files is not None and chosen["text"]["kind"] == "hugging_face":
        chosen["tokenizer"] = str(files / "tokenizer")
    return chosen | changes


def hugging_face(architecture: Any, **more: Any) -> dict[str, Any]:
    return {"kind": "hugging_face", "architecture": architecture, **more}


KINDS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "vit, distilbert, linear and norm": lambda files: config(
        {**VIT, "head": "linear+layernorm"}, hugging_face(DISTILBERT, head="linear+layernorm"), files, logit_scale=1 / 7
    ),
    "timm, bert, residual heads": lambda files: config(
        {"kind": "timm", "architecture": "resnet10t", "weights": str(files / "resnet.pth"), "head": "mlp"},
        hugging_face(str(files / "bert"), head="mlp"),
        preprocessing={"size": SIZE, "resize_mode": "squash", "mean": 0.5, "std": 0.5},
    ),
    "clip's image tower, bert's pooler": lambda files: config(
        {"kind": "clip", "weights": str(files / "clip"), "head": "own"},
        hugging_face(str(files / "bert"), pooling="pooler"),
    ),
    "resnet, roberta, mean": lambda files: config(
        {"kind": "open_clip", "architecture": {**RESNET, "output_dim": 24}},
        hugging_face(ROBERTA, pooling="mean", head={"kind": "linear", "bias": True}),
        files,
        preprocessing={"size": 64},
    ),
    "resnet as it is": lambda files: config(
        {"kind": "open_clip", "architecture": RESNET, "head": "none"}, preprocessing={"size": 64}, logit_bias=-10
    ),
    "a timm transformer of another size": lambda files: config(
        {"kind": "timm", "architecture": "test_vit", "pool": "avg"}, hugging_face(DISTILBERT, pooling="mean"), files
    ),
    "both towers of a clip": lambda files: config(
        {"kind": "clip", "weights": str(files / "clip"), "head": "own"},
        {"kind": "clip", "weights": str(files / "clip"), "head": "own"},
    ),
    "no heads": lambda files: config(
        {**VIT, "width": 32, "heads": 4, "head": "none"}, {**NATIVE, "head": "none"}, quick_gelu=None
    ),
}
KINDS["no heads"] = lambda files: config({**VIT, "width": 32, "heads": 4, "head": "none"}, {**NATIVE, "head": "none"})


@pytest.fixture(scope="module", params=list(KINDS))
def encoder(request: pytest.FixtureRequest, files: Path) -> Encoder:
    return new_encoder(KINDS[request.param](files), device="cpu")


def pictures(encoder: Encoder, num: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (num, 3, *encoder.prepare.size), dtype=torch.uint8, generator=generator)


def test_an_export_moved_elsewhere_gives_level_equal_features(encoder: Encoder, tmp_path: Path) -> None:
    path = export(encoder.model, encoder, tmp_path / "model").rename(tmp_path / "moved")

    found = load_encoder(path, device="cpu")

    assert torch.equal(found.encode_images(pictures(encoder)), encoder.encode_images(pictures(encoder)))
    assert torch.equal(found.encode_texts(TEXTS), encoder.encode_texts(TEXTS))
    assert (found.identity, found.trunk_identity) == (encoder.identity, encoder.trunk_identity)
    assert (found.prepare, found.context_length) == (encoder.prepare, 18)
    assert found.logit_scale == encoder.logit_scale
    assert (found.model.logit_bias is None) == (encoder.model.logit_bias is None)


def test_a_second_export_is_the_first(encoder: Encoder, tmp_path: Path) -> None:
    first = export(encoder.model, encoder, tmp_path / "first")
    found = load_encoder(first, device="cpu")
    second = export(found.model, found, tmp_path / "second")

    name = "model_config.json" if (first / "model_config.json").is_file() else "open_clip_config.json"
    assert (second / name).read_text() == (first / name).read_text().replace(str(first), str(second))


def test_trunk_and_head_make_the_whole_and_the_names_tell_the_parts(encoder: Encoder) -> None:
    towers = split(encoder.model)
    image_BCHW, tokens_BL = encoder.normalise(pictures(encoder)), encoder.tokenize(TEXTS)

    with torch.no_grad():
        image_BD = towers.image_head(towers.image_trunk(image_BCHW))
        text_BD = towers.text_head(towers.text_trunk(towers.trim_tokens(tokens_BL)))
        torch.testing.assert_close(image_BD, encoder.model.encode_image(image_BCHW, normalize=False))
        torch.testing.assert_close(text_BD, encoder.model.encode_text(tokens_BL, normalize=False))
        assert towers.image_trunk(image_BCHW).shape == (2, towers.image_trunk_dim)
        assert towers.text_trunk(tokens_BL).shape == (3, towers.text_trunk_dim)

    parts = {name: part_of(name, towers) for name, _ in encoder.model.named_parameters()}
    assert {part for name, part in parts.items() if name.startswith("visual.")} <= {"image", "head"}
    assert {part for name, part in parts.items() if not name.startswith("visual.")} <= {"text", "head"}
    assert set(parts.values()) == {"image", "text", "head"}


def test_every_lock_widens_the_one_before_and_holds_the_rest_bit_equal(encoder: Encoder) -> None:
    for part in ("projections", "last_blocks", "text"):
        model = copy.deepcopy(encoder.model)
        before = copy.deepcopy(model.state_dict())
        names = set(lock(model, part))  # type: ignore[arg-type]
        assert set(lock(copy.deepcopy(model), "projections")) <= names
        model.train()

        features = model.encode_image(encoder.normalise(pictures(encoder, 4)), normalize=False)
        text = model.encode_text(encoder.tokenize(TEXTS), normalize=False)
        (features.square().sum() + text.square().sum() + model.logit_scale * 2).backward()
        torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1).step()

        changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
        statistics = {name for name in changed if "running_" in name or "num_batches" in name}
        assert changed - statistics <= names
        assert all(name.rpartition(".")[0] + ".weight" in names for name in statistics)


def test_locked_image_tuning_trains_all_but_the_image_trunk(encoder: Encoder) -> None:
    model = copy.deepcopy(encoder.model)
    towers = split(model)

    names = set(lock(model, "text"))
    model.train()

    everything = {name for name, _ in model.named_parameters()}
    assert everything - names == {name for name in everything if part_of(name, towers) == "image"}
    image_BCHW = encoder.normalise(pictures(encoder, 4))
    assert torch.equal(towers.image_trunk(image_BCHW), towers.image_trunk(image_BCHW))


def test_open_clip_holds_what_it_has_classes_for_and_the_readme_says_why_it_does_not(
    encoder: Encoder, tmp_path: Path
) -> None:
    import open_clip

    path = export(encoder.model, encoder, tmp_path / "model")
    readme = (path / "README.md").read_text()

    if isinstance(encoder.model, AssembledModel):
        assert encoder.model.why_not
        assert all(f"- {reason}\n" in readme for reason in encoder.model.why_not)
        assert f'load_encoder("{path}")' in readme
        assert not (path / "open_clip_config.json").exists()
        return
    model = open_clip.create_model(f"local-dir:{path}").eval()
    with torch.no_grad():
        image_BD = model.encode_image(encoder.normalise(pictures(encoder)), normalize=True)
        text_BD = model.encode_text(open_clip.get_tokenizer(f"local-dir:{path}")(TEXTS), normalize=True)
    torch.testing.assert_close(image_BD, encoder.encode_images(pictures(encoder)))
    torch.testing.assert_close(text_BD, encoder.encode_texts(TEXTS))


def test_the_models_that_open_clip_can_hold_are_of_its_classes(files: Path) -> None:
    by_kind = {kind: isinstance(new_encoder(make(files), device="cpu").model, AssembledModel)
               for kind, make in KINDS.items()}  # fmt: skip

    assert {kind for kind, own in by_kind.items() if not own} == {
        "clip's image tower, bert's pooler", "resnet as it is", "both towers of a clip"
    }  # fmt: skip


@pytest.mark.parametrize("pooling", ["cls", "mean", "pooler"])
def test_a_bert_gives_what_transformers_gives(files: Path, pooling: str) -> None:
    encoder = new_encoder(config(text=hugging_face(str(files / "bert"), pooling=pooling)), device="cpu")
    model = transformers.BertModel.from_pretrained(files / "bert").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(files / "bert")
    batch = tokenizer(TEXTS, padding=True, truncation=True, max_length=18, return_tensors="pt")

    with torch.no_grad():
        output = model(**batch)
        found_BT = split(encoder.model).text_trunk(encoder.tokenize(TEXTS))

    mask = batch.attention_mask.unsqueeze(-1)
    expected_BT = {
        "cls": output.last_hidden_state[:, 0],
        "mean": (output.last_hidden_state * mask).sum(1) / mask.sum(1),
        "pooler": output.pooler_output,
    }[pooling]
    torch.testing.assert_close(found_BT, expected_BT, atol=1e-5, rtol=0)


@pytest.mark.parametrize("architecture", [DISTILBERT, ROBERTA], ids=["distilbert", "roberta"])
def test_any_encoder_of_transformers_keeps_its_weights_and_its_mask(
    architecture: dict[str, Any], files: Path, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    kind = transformers.CONFIG_MAPPING[architecture["model_type"]]
    model = transformers.AutoModel.from_config(kind(**{k: v for k, v in architecture.items() if k != "model_type"}))
    model.half().save_pretrained(tmp_path / "tower")  # half precision in the file
    encoder = new_encoder(config(text=hugging_face(str(tmp_path / "tower")), files=files), device="cpu")
    batch = encoder.tokenize.tokenizer.tokenizer(TEXTS, padding=True, return_tensors="pt")

    with torch.no_grad():
        expected_BT = model.float().eval()(**{k: batch[k] for k in ("input_ids", "attention_mask")}).last_hidden_state
        found_BT = split(encoder.model).text_trunk(encoder.tokenize(TEXTS))

    torch.testing.assert_close(found_BT, expected_BT[:, 0], atol=1e-5, rtol=0)
    assert {parameter.dtype for parameter in encoder.model.parameters()} == {torch.float32}


def test_timm_gives_what_timm_gives_with_the_weights_of_a_file(files: Path) -> None:
    encoder = new_encoder(KINDS["timm, bert, residual heads"](files), device="cpu")
    model = timm.create_model("resnet10t", num_classes=0, global_pool="avg").eval()
    weights = torch.load(files / "resnet.pth", weights_only=True)["state_dict"]
    model.load_state_dict({name: tensor for name, tensor in weights.items() if not name.startswith("fc.")})
    image_BCHW = encoder.normalise(pictures(encoder))

    with torch.no_grad():
        torch.testing.assert_close(split(encoder.model).image_trunk(image_BCHW), model(image_BCHW), atol=1e-5, rtol=0)


@pytest.mark.parametrize("folder", ["clip", "clip-vision"])
def test_clip_s_image_tower_gives_what_transformers_gives(files: Path, folder: str) -> None:
    encoder = new_encoder(config({"kind": "clip", "weights": str(files / folder)}), device="cpu")
    model = transformers.CLIPVisionModel.from_pretrained(files / "clip-vision").eval()
    image_BCHW = encoder.normalise(pictures(encoder))

    with torch.no_grad():
        expected_BT = model(image_BCHW).pooler_output
        found_BT = split(encoder.model).image_trunk(image_BCHW)

    torch.testing.assert_close(found_BT, expected_BT, atol=1e-5, rtol=0)


def test_both_towers_of_transformers_clip_give_its_embeddings(files: Path) -> None:
    encoder = new_encoder(KINDS["both towers of a clip"](files), device="cpu")
    model = transformers.CLIPModel.from_pretrained(files / "clip").eval()
    image_BCHW, tokens_BL = encoder.normalise(pictures(encoder)), encoder.tokenize(TEXTS)

    with torch.no_grad():
        output = model(pixel_values=image_BCHW, input_ids=tokens_BL, attention_mask=(tokens_BL != 0).long())

    torch.testing.assert_close(encoder.encode_images(pictures(encoder)), output.image_embeds, atol=1e-5, rtol=0)
    torch.testing.assert_close(encoder.encode_texts(TEXTS), output.text_embeds, atol=1e-5, rtol=0)


def test_a_whole_clip_of_transformers_is_a_model_by_its_folder(files: Path, tmp_path: Path) -> None:
    expected = new_encoder(KINDS["both towers of a clip"](files), device="cpu")
    model = transformers.CLIPModel.from_pretrained(files / "clip")

    found = load_encoder(files / "clip", device="cpu")

    assert found.logit_scale == pytest.approx(model.logit_scale.exp().item())
    torch.testing.assert_close(found.encode_images(pictures(found)), expected.encode_images(pictures(found)))
    torch.testing.assert_close(found.encode_texts(TEXTS), expected.encode_texts(TEXTS))
    with pytest.raises(NotFoundError, match="holds no whole model"):
        load_encoder(files / "clip-vision", device="cpu")
    with pytest.raises(NotFoundError, match="holds no whole model"):
        load_encoder(files / "bert", device="cpu")


def test_both_towers_faults_are_said_in_one_go(files: Path) -> None:
    given = config({"kind": "timm", "architecture": "resnet05"}, hugging_face("./nowhere"))

    with pytest.raises(NotFoundError, match=r"(?s)no architecture 'resnet05'.*no folder './nowhere'"):
        new_encoder(given, device="cpu")


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_towers_of_an_export_are_towers_of_another_model(kind: str, files: Path, tmp_path: Path) -> None:
    given = KINDS[kind](files)
    source = new_encoder(given, device="cpu")
    path = str(export(source.model, source, tmp_path / "source"))
    size = {"preprocessing": {"size": list(source.prepare.size)}}

    image = new_encoder(config({"kind": "clip", "weights": path, "head": "own"}, NATIVE, **size), device="cpu")
    text = new_encoder(config(VIT, {"kind": "clip", "weights": path}, context_length=12), device="cpu")

    with torch.no_grad():
        tokens_BL = text.tokenize(TEXTS)
        assert tokens_BL.shape == (3, 12)
        torch.testing.assert_close(image.encode_images(pictures(image)), source.encode_images(pictures(image)))
        torch.testing.assert_close(split(text.model).text_trunk(tokens_BL), split(source.model).text_trunk(tokens_BL))


def test_towers_that_open_clip_wraps_are_towers_of_another_model(tmp_path: Path) -> None:
    source = tiny_dual_encoder(tmp_path / "parts")
    path = str(export(source.model, source, tmp_path / "source"))
    side = {"kind": "clip", "weights": path, "head": "own"}

    found = new_encoder(config(side, side), device="cpu")

    assert found.context_length == 18
    torch.testing.assert_close(found.encode_images(pictures(found)), source.encode_images(pictures(found)))
    torch.testing.assert_close(found.encode_texts(["a cat"]), source.encode_texts(["a cat"]))


def test_the_towers_of_open_clip_s_models_are_towers_of_another_model(tmp_path: Path) -> None:
    quick = tiny_encoder(tmp_path, quick_gelu=True)
    path = str(tmp_path / "tiny-0")

    found = new_encoder(
        config({"kind": "clip", "weights": path, "head": "own"}, {"kind": "clip", "weights": path, "head": "own"},
               context_length=12),
        device="cpu",
    )  # fmt: skip

    assert found.model_cfg["quick_gelu"] is True
    torch.testing.assert_close(found.encode_images(pictures(quick)), quick.encode_images(pictures(quick)))
    torch.testing.assert_close(found.encode_texts(["a cat"]), quick.encode_texts(["a cat"]))


def test_heads_compute_the_documents_formulas(files: Path) -> None:
    norm = new_encoder(KINDS["vit, distilbert, linear and norm"](files), device="cpu").model
    residual = new_encoder(KINDS["timm, bert, residual heads"](files), device="cpu").model
    trunk_BT = torch.randn(3, 48)

    expected_BD = norm.visual.head.layer_norm(norm.visual.head.projection(trunk_BT))
    torch.testing.assert_close(norm.visual.head(trunk_BT), expected_BD)

    head, trunk_BT = residual.text.head, torch.randn(3, 32)
    projected = head.projection(trunk_BT)
    x = head.fc(nn.functional.gelu(projected))
    x += projected
    torch.testing.assert_close(head.eval()(trunk_BT), head.layer_norm(x))
    assert head.dropout.p == 0.3
    assert [len(list(tower.head.parameters())) for tower in (norm.visual, residual.text)] == [4, 6]


def test_the_temperature_begins_where_it_is_told_and_is_a_parameter_on_every_device(files: Path) -> None:
    encoder = new_encoder(KINDS["vit, distilbert, linear and norm"](files), device="cpu")

    assert encoder.model.logit_scale.item() == pytest.approx(math.log(1 / 7))
    assert encoder.logit_scale == pytest.approx(1 / 7)
    moved = copy.deepcopy(encoder.model).to("meta")
    assert "logit_scale" in dict(moved.named_parameters())
    assert "logit_scale" in lock(encoder.model, "projections")
    assert encoder.model.logit_scale.shape == ()


def test_siglip_s_bias_is_trained_and_exported(tmp_path: Path) -> None:
    for image in (VIT, {**VIT, "head": "linear+layernorm"}):
        encoder = new_encoder(config(image, logit_bias=-10), device="cpu")
        with torch.no_grad():
            encoder.model.logit_bias.fill_(-9.5)

        found = load_encoder(export(encoder.model, encoder, tmp_path / "model"), device="cpu")

        assert found.model.logit_bias.item() == -9.5
        assert "logit_bias" in lock(found.model, "projections")


def test_the_seed_decides_the_weights_and_nothing_else_is_moved(files: Path) -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    given = KINDS["vit, distilbert, linear and norm"](files)

    one, same, other = (new_encoder(given, device="cpu", seed=seed) for seed in (3, 3, 4))

    assert torch.equal(torch.rand(3), expected)
    assert one.identity == same.identity != other.identity


def test_identities_tell_apart_what_weights_do_not_show(files: Path) -> None:
    given = config(VIT, hugging_face(str(files / "bert"), head="linear+layernorm"))
    one = new_encoder(given, device="cpu")
    pooled = new_encoder({**given, "text": {**given["text"], "pooling": "mean"}}, device="cpu")

    assert one.identity != pooled.identity
    assert one.trunk_identity == pooled.trunk_identity


def test_training_only_heads_keeps_the_trunk_s_identity(files: Path) -> None:
    encoder = new_encoder(KINDS["vit, distilbert, linear and norm"](files), device="cpu")
    before = encoder.identity, encoder.trunk_identity

    with torch.no_grad():
        encoder.model.visual.head.projection.weight.add_(1)

    assert encoder.identity != before[0]
    assert encoder.trunk_identity == before[1]


def test_dropout_of_heads_and_towers_is_off_while_features_are_read(files: Path) -> None:
    encoder = new_encoder(KINDS["timm, bert, residual heads"](files), device="cpu")
    lock(encoder.model, "all")
    encoder.model.train()

    assert torch.equal(encoder.encode_texts(TEXTS), encoder.encode_texts(TEXTS))
    assert encoder.model.text.head.dropout.training


def test_texts_in_chinese_and_of_a_hundred_ids_go_through(files: Path, tmp_path: Path) -> None:
    shutil.copytree(files / "tokenizer", tmp_path / "chinese")
    vocabulary = (tmp_path / "chinese" / "vocab.txt").read_text().split("\n")
    said = json.loads((tmp_path / "chinese" / "tokenizer.json").read_text())
    for character in "一只猫坐在椅子上":
        said["model"]["vocab"][character] = len(said["model"]["vocab"])
    (tmp_path / "chinese" / "tokenizer.json").write_text(json.dumps(said, ensure_ascii=False))
    tower = {**DISTILBERT, "vocab_size": len(vocabulary) + 20, "max_position_embeddings": 100}

    encoder = new_encoder(
        config(text=hugging_face(tower), tokenizer=str(tmp_path / "chinese"), context_length=100), device="cpu"
    )

    assert encoder.tokenize(["一只猫"])[0, :6].tolist()[1:4] == [said["model"]["vocab"][c] for c in "一只猫"]
    assert encoder.tokenize(["一只猫"]).shape == (1, 100)
    one, other = encoder.encode_texts(["一只猫坐在椅子上" * 20, "一只猫"])
    assert not torch.equal(one, other)
    assert encoder.count_truncated(["一只猫坐在椅子上" * 20, "一只猫"]) == 1


def test_a_text_of_nothing_but_padding_spoils_no_batch(files: Path) -> None:
    encoder = new_encoder(config(text=hugging_face(DISTILBERT, pooling="mean"), files=files), device="cpu")
    tokens_BL = encoder.tokenize(TEXTS)
    tokens_BL[1] = 0

    assert split(encoder.model).text_trunk(tokens_BL).isfinite().all()


def test_an_open_clip_config_in_a_file_is_a_model_too(tmp_path: Path) -> None:
    (tmp_path / "tiny.json").write_text(json.dumps(tiny_config()))
    (tmp_path / "own.json").write_text(json.dumps(config(name="mine")))

    assert (
        new_encoder(tmp_path / "tiny.json", device="cpu").identity == new_encoder(tiny_config(), device="cpu").identity
    )
    assert new_encoder(str(tmp_path / "own.json"), device="cpu").name == "mine"
    assert cd.ModelConfig.read(tmp_path / "own.json").embed_dim == 32


def test_a_config_is_the_same_after_a_round_trip(files: Path) -> None:
    for make in KINDS.values():
        read = cd.ModelConfig.from_json(make(files))
        assert cd.ModelConfig.from_json(json.dumps(read.to_json())) == read


def exported(files: Path, make: Callable[[Path], dict[str, Any]]) -> str:
    made = new_encoder(make(files), device="cpu")
    return str(export(made.model, made, files / "exported"))


WRONG: dict[str, tuple[Callable[[Path], dict[str, Any]], type[Exception], list[str]]] = {
    "several at once": (
        lambda files: {
            "imge": {},
            "image": {"kind": "tim"},
            "text": {"kind": "hugging_face", "pooling": "max"},
            "embed_dim": 0,
        },
        ConfigError,
        ["did you mean image", "did you mean timm", "text has no architecture", "embed_dim is 0"],
    ),
    "unknown pooling": (
        lambda files: config(text=hugging_face(DISTILBERT, pooling="max"), files=files),
        ConfigError,
        ["text.pooling is 'max'; expected 'cls' or 'mean' or 'pooler'"],
    ),
    "unknown head": (
        lambda files: config({**VIT, "head": "mpl"}),
        ConfigError,
        ["image.head is 'mpl'; did you mean mlp"],
    ),
    "unknown key of a head": (
        lambda files: config({**VIT, "head": {"kind": "mlp", "drop": 0.1}}),
        ConfigError,
        ["did you mean dropout"],
    ),
    "unknown key of a tower": (
        lambda files: config({**VIT, "layer": 3}),
        ConfigError,
        ["image: there is no field 'layer'; did you mean layers"],
    ),
    "unknown preprocessing": (
        lambda files: config(preprocessing={"sizes": 3}),
        ConfigError,
        ["preprocessing: there is no field 'sizes'; did you mean size"],
    ),
    "bad interpolation": (
        lambda files: config(preprocessing={"size": 32, "interpolation": "cubic"}),
        UsageError,
        ["interpolation is 'cubic'"],
    ),
    "numbers of the preprocessing": (
        lambda files: config(preprocessing={"size": 0, "mean": "x", "std": [0, 1, 1], "fill_color": None}),
        ConfigError,
        ["preprocessing.size is 0", "preprocessing.mean is 'x'", "above 0", "preprocessing.fill_color is None"],
    ),
    "kinds that are no texts": (
        lambda files: config({"kind": ["vit"]}, {"kind": None}),
        ConfigError,
        ["image.kind is ['vit']", "text.kind is None"],
    ),
    "heads do not divide": (lambda files: config({**VIT, "heads": 7}), ConfigError, ["multiple of the 7 heads"]),
    "no such timm model": (
        lambda files: config({"kind": "timm", "architecture": "resnet05"}),
        NotFoundError,
        ["timm has no architecture", "did you mean resnet"],
    ),
    "no such open_clip model": (
        lambda files: config({"kind": "open_clip", "architecture": "RN5"}),
        NotFoundError,
        ["open_clip has no architecture 'RN5'", "RN50"],
    ),
    "no such model type": (
        lambda files: config(text=hugging_face({"model_type": "distilbrt"}), files=files),
        ConfigError,
        ["did you mean distilbert"],
    ),
    "unknown key of a text config": (
        lambda files: config(text=hugging_face({**DISTILBERT, "n_layer": 3}), files=files),
        ConfigError,
        ["did you mean n_layers"],
    ),
    "no folder": (
        lambda files: config(text=hugging_face("./nowhere"), files=files),
        NotFoundError,
        ["there is no folder './nowhere'"],
    ),
    "no weights in the folder": (
        lambda files: config(text=hugging_face(str(files / "tokenizer"))),
        NotFoundError,
        ["holds no weights", '"weights": "random"'],
    ),
    "no file of weights": (
        lambda files: config({"kind": "timm", "architecture": "resnet10t", "weights": "no.pth"}),
        NotFoundError,
        ["no file of weights no.pth"],
    ),
    "another text architecture's weights": (
        lambda files: config(text=hugging_face(DISTILBERT, weights=str(files / "bert")), files=files),
        UsageError,
        ["does not hold the weights of", "missing"],
    ),
    "another size's weights": (
        lambda files: config(
            text=hugging_face(
                {
                    "model_type": "bert",
                    "hidden_size": 64,
                    "num_attention_heads": 2,
                    "num_hidden_layers": 2,
                    "intermediate_size": 64,
                    "vocab_size": 120,
                },
                weights=str(files / "bert"),
            ),
            files=files,
        ),
        UsageError,
        ["of another shape"],
    ),
    "fewer layers than the weights": (
        lambda files: config(
            text=hugging_face(
                {
                    "model_type": "bert",
                    "hidden_size": 32,
                    "num_attention_heads": 2,
                    "num_hidden_layers": 1,
                    "intermediate_size": 64,
                    "vocab_size": 80,
                    "max_position_embeddings": 64,
                },
                weights=str(files / "bert"),
            ),
            files=files,
        ),
        UsageError,
        ["too many"],
    ),
    "another timm architecture's weights": (
        lambda files: config({"kind": "timm", "architecture": "resnet18", "weights": str(files / "resnet.pth")}),
        UsageError,
        ["does not hold the weights of timm's resnet18"],
    ),
    "no image tower there": (
        lambda files: config({"kind": "clip", "weights": str(files / "bert")}),
        UsageError,
        ["holds no image tower of CLIP's kind"],
    ),
    "no pooler": (
        lambda files: config(text=hugging_face(DISTILBERT, pooling="pooler"), files=files),
        UsageError,
        ["'distilbert' has none"],
    ),
    "no tokenizer": (lambda files: config(text=hugging_face(DISTILBERT)), NotFoundError, ["comes without a tokenizer"]),
    "tokenizer folder without one": (
        lambda files: config(text=hugging_face(DISTILBERT), tokenizer=str(files / "clip")),
        NotFoundError,
        ["holds no tokenizer"],
    ),
    "vocabulary too small": (
        lambda files: config(text=hugging_face({**DISTILBERT, "vocab_size": 30}), files=files),
        UsageError,
        ["the text tower knows 30"],
    ),
    "pads differ": (
        lambda files: config(text=hugging_face({**DISTILBERT, "pad_token_id": 1}), files=files),
        UsageError,
        ["pads with 0", "pad_token_id 1"],
    ),
    "too long": (
        lambda files: config(text=hugging_face(DISTILBERT), files=files, context_length=65),
        UsageError,
        ["knows 64 positions at most"],
    ),
    "too long for roberta, which counts from behind the padding": (
        lambda files: config(text=hugging_face(ROBERTA), files=files, context_length=40),
        UsageError,
        ["knows 39 positions at most"],
    ),
    "no head, other dimensions": (
        lambda files: config({**VIT, "head": "none"}),
        UsageError,
        ["trunk gives 48 numbers, and embed_dim is 32"],
    ),
    "own head, other dimensions": (
        lambda files: config({"kind": "clip", "weights": str(files / "clip"), "head": "own"}, embed_dim=64),
        UsageError,
        ["gives 32 numbers, and embed_dim is 64"],
    ),
    "own head of random weights": (
        lambda files: config({**VIT, "head": "own"}),
        UsageError,
        ["no projection comes with random weights"],
    ),
    "another size of pictures": (
        lambda files: config({"kind": "clip", "weights": str(files / "clip")}, preprocessing={"size": 64}),
        UsageError,
        ["takes pictures of [32, 32]"],
    ),
    "another size of pictures for a resnet": (
        lambda files: config(
            {"kind": "clip", "weights": exported(files, KINDS["resnet as it is"])}, preprocessing={"size": 32}
        ),
        UsageError,
        ["takes pictures of [64, 64]"],
    ),
    "a decoder of pictures as text": (
        lambda files: config(text=hugging_face("vit"), files=files),
        UsageError,
        ["no encoder of texts"],
    ),
    "timm's options twice": (
        lambda files: config({"kind": "timm", "architecture": "resnet10t", "options": {"num_classes": 3}}),
        ConfigError,
        ["'num_classes', which other fields decide"],
    ),
    "timm's unknown option": (
        lambda files: config({"kind": "timm", "architecture": "resnet10t", "options": {"depth": 3}}),
        UsageError,
        ["timm cannot build"],
    ),
    "open_clip's unknown key": (
        lambda files: config({"kind": "open_clip", "architecture": {"layer": 2}}),
        ConfigError,
        ["image.architecture", "layer"],
    ),
}


@pytest.mark.parametrize("case", list(WRONG))
def test_what_is_wrong_is_said_with_what_was_expected(case: str, files: Path) -> None:
    make, kind, said = WRONG[case]

    with pytest.raises(kind) as caught:
        new_encoder(make(files), device="cpu")

    for part in said:
        assert part in str(caught.value)


def test_a_file_that_was_cut_short_says_so(files: Path, tmp_path: Path) -> None:
    whole = (files / "resnet.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])

    with pytest.raises(UsageError, match=r"holds no weights that can be read"):
        new_encoder(config({"kind": "timm", "architecture": "resnet10t", "weights": str(tmp_path / "cut.pth")}))


def test_weights_under_other_programs_prefixes_are_found(files: Path, tmp_path: Path) -> None:
    weights = torch.load(files / "resnet.pth", weights_only=True)["state_dict"]
    given = KINDS["timm, bert, residual heads"](files)
    expected = new_encoder(given, device="cpu")
    for prefix in ("module.", "visual.trunk."):
        torch.save({f"{prefix}{name}": tensor.half() for name, tensor in weights.items()}, tmp_path / "other.pth")
        given["image"]["weights"] = str(tmp_path / "other.pth")

        found = new_encoder(given, device="cpu")

        torch.testing.assert_close(
            found.encode_images(pictures(found)), expected.encode_images(pictures(found)), atol=1e-2, rtol=0
        )
        assert {parameter.dtype for parameter in found.model.parameters()} == {torch.float32}


def test_files_in_the_names_of_the_first_berts_and_in_shards_are_read(files: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    expected = new_encoder(config(text=hugging_face(str(files / "bert"))), device="cpu")
    model = transformers.BertModel.from_pretrained(files / "bert")
    tensors = {
        f"bert.{name}".replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): t
        for name, t in model.state_dict().items()
    }
    for folder in ("old", "shards"):
        shutil.copytree(files / "tokenizer", tmp_path / folder)
    torch.save(tensors, tmp_path / "old" / "pytorch_model.bin")
    names = sorted(model.state_dict())
    index = {name: f"model-{place % 2}.safetensors" for place, name in enumerate(names)}
    for shard in set(index.values()):
        part = {name: model.state_dict()[name].contiguous() for name in names if index[name] == shard}
        save_file(part, tmp_path / "shards" / shard)
    (tmp_path / "shards" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))

    for folder in ("old", "shards"):
        found = new_encoder(config(text=hugging_face(str(tmp_path / folder))), device="cpu")

        assert found.identity == expected.identity


def test_a_timm_transformer_takes_weights_of_another_size(tmp_path: Path) -> None:
    weights = timm.create_model("test_vit", num_classes=7).state_dict()
    torch.save(weights, tmp_path / "vit.pth")
    image = {"kind": "timm", "architecture": "test_vit", "weights": str(tmp_path / "vit.pth")}

    trunk = new_encoder(config(image, {**NATIVE, "head": "mlp"}), device="cpu").model.visual.trunk

    assert trunk.pos_embed.shape[1] == (SIZE // 16) ** 2 + 1
    assert torch.equal(trunk.blocks[0].attn.qkv.weight, weights["blocks.0.attn.qkv.weight"])
