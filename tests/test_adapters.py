"""Low-rank additions to attention: where they go, what they compute, and the plain model that is left in the end."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from clipdata.encoder import Encoder, adapters, export, load_encoder, lock, new_encoder, split
from clipdata.encoder.towers import hugging_face, timm
from clipdata.encoder.towers.protocol import Tower
from clipdata.errors import UsageError
from clipdata.training.config import TrainConfig
from clipdata.training.feasibility import check_feasible
from clipdata.training.fine_tuning import train
from clipdata.training.optimisers import Pull
from tests.contests import contest_table
from tests.telling import Told
from tests.test_towers import ARCHITECTURES, TEXTS, image_batch
from tests.tiny_models import tiny_config, tiny_dual_encoder, tiny_encoder


@pytest.fixture(scope="module")
def tiny() -> Encoder:
    return tiny_encoder()


@pytest.fixture(params=[*ARCHITECTURES, "hugging face"])
def encoder(request: pytest.FixtureRequest, tmp_path: Path) -> Encoder:
    return encoder_of(request.param, tmp_path)


def encoder_of(name: str, folder: Path) -> Encoder:
    if name == "hugging face":
        return tiny_dual_encoder(folder)
    config = copy.deepcopy(ARCHITECTURES[name])
    return new_encoder({**config, "embed_dim": 64} if name == "timm without projection" else config, device="cpu")


def insert(model: nn.Module, *, dropout: float = 0.0, seed: int = 0) -> adapters.Adapted:
    return adapters.insert(model, rank=2, alpha=1.0, dropout=dropout, seed=seed)


def moved(model: nn.Module) -> nn.Module:
    """Give the additions of a model an effect, as training would."""
    for added in adapters.additions(model):
        nn.init.normal_(added.b, std=0.5)
    return model


def features(encoder: Encoder, model: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    towers = split(model)
    images = towers.image_head(towers.image_trunk(encoder.normalise(image_batch(encoder))))
    return images, towers.text_head(towers.text_trunk(encoder.tokenize(TEXTS)))


# Every kind of tower


def test_at_the_start_the_features_are_those_of_the_model_and_then_both_towers_follow(encoder):
    model = copy.deepcopy(encoder.model)

    adapted = insert(model)

    with torch.no_grad():
        before, begun, after = (
            features(encoder, encoder.model),
            features(encoder, model),
            features(encoder, moved(model)),
        )
    torch.testing.assert_close(begun, before)
    assert bool(adapted.num_image) == (not torch.allclose(after[0], before[0], atol=1e-3))
    assert adapted.num_text
    assert not torch.allclose(after[1], before[1], atol=1e-3)


def test_every_addition_gets_gradients_and_nothing_else_of_a_trunk_does(encoder):
    model = copy.deepcopy(encoder.model)
    insert(model)
    names = set(lock(moved(model), "lora"))

    sum(one.square().sum() for one in features(encoder, model)).backward()

    towers = split(model)
    heads = {*towers.image_head_names, *towers.text_head_names, "logit_scale", "logit_bias"}
    found = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert {name for name in names if ".lora." not in name} <= heads
    assert {name for name in names if ".lora." in name} <= found <= names


def test_the_state_dict_is_that_of_the_merged_model_under_its_own_names(encoder):
    model = copy.deepcopy(encoder.model)
    insert(model)
    moved(model)

    state = model.state_dict()
    plain = copy.deepcopy(encoder.model)
    plain.load_state_dict(state)

    assert list(state) == list(encoder.model.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(features(encoder, plain), features(encoder, model), atol=1e-5, rtol=1e-5)


def test_additions_are_dropped_in_training_and_the_towers_stay_still(encoder):
    model = copy.deepcopy(encoder.model)
    insert(model, dropout=0.5)
    lock(moved(model), "lora")
    with torch.no_grad():
        once, again = features(encoder, model.train()), features(encoder, model)
        still, too = features(encoder, model.eval()), features(encoder, model)
        for added in adapters.additions(model.train()):
            added.b.zero_()
        trunk = split(model).text_trunk(encoder.tokenize(TEXTS))

    assert not torch.equal(once[1], again[1])
    assert all(map(torch.equal, still, too))
    torch.testing.assert_close(trunk, split(encoder.model).text_trunk(encoder.tokenize(TEXTS)))


OTHER_TEXT = {
    "distilbert": {"dim": 32, "n_heads": 2, "n_layers": 2, "hidden_dim": 32},
    "mpnet": {},
    "modernbert": dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), 0),
    "t5": {"d_model": 32, "d_kv": 16, "num_heads": 2, "num_layers": 2, "d_ff": 32},
}


@pytest.mark.parametrize("kind", OTHER_TEXT)
def test_other_encoders_of_transformers_have_all_their_projections_reached(kind):
    import transformers

    sizes = {"vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 32} | OTHER_TEXT[kind]
    config = transformers.AutoConfig.for_model(kind, **sizes)
    made = transformers.T5EncoderModel(config) if kind == "t5" else transformers.AutoModel.from_config(config)
    text = hugging_face.HuggingFaceText(made.eval(), "mean", 0)

    reaches_all(
        hugging_face.own_tower(text),
        text,
        torch.randint(1, 50, (2, 7)),
        num_projections=2 if kind == "modernbert" else 6,
    )


TIMM = {
    "beit_base_patch16_224": ({"img_size": 32, "embed_dim": 32, "depth": 2, "num_heads": 2}, 2),
    "eva_giant_patch14_224": ({"img_size": 28, "embed_dim": 32, "depth": 2, "num_heads": 2}, 2),
    "swinv2_tiny_window8_256": ({"img_size": 64, "embed_dim": 16, "depths": (1, 1), "num_heads": (1, 2)}, 2),
    "vit_base_patch16_siglip_224": ({"img_size": 32, "embed_dim": 32, "depth": 2, "num_heads": 2}, 4),
}


@pytest.mark.parametrize("name", TIMM)
def test_towers_of_timm_that_take_weights_past_their_layers_are_reached(name):
    import timm as library

    changes, num_projections = TIMM[name]
    trunk = library.create_model(name, num_classes=0, **changes).eval()
    size = changes["img_size"]

    reaches_all(timm.bare_tower(trunk), trunk, torch.randn(2, 3, size, size), num_projections=num_projections)


def reaches_all(tower: Tower, module: nn.Module, given: torch.Tensor, *, num_projections: int) -> None:
    """Check that what is added to each projection moves the features as its merged weight does."""
    plain = copy.deepcopy(module)
    projections = list(tower.attention())
    for projection in projections:
        adapters._insert(projection, 2, 0.5, 0.0, torch.Generator().manual_seed(0))
    moved(module)

    features_BT = tower.trunk(given)
    features_BT.sum().backward()

    assert len(projections) == num_projections
    assert all(parameter.grad is not None for one in adapters.additions(module) for parameter in one.parameters())
    plain.load_state_dict(module.state_dict())
    torch.testing.assert_close(plain(given), features_BT, atol=1e-4, rtol=1e-4)


# Arithmetic, beside other readings


@pytest.mark.parametrize("dropout", [0.0, 0.25])
def test_separate_layers_give_what_peft_gives_dropout_included(tmp_path, dropout):
    from peft import LoraConfig, inject_adapter_in_model

    encoder = tiny_dual_encoder(tmp_path)
    ours, theirs = copy.deepcopy(encoder.model.text), copy.deepcopy(encoder.model.text)
    model = copy.deepcopy(encoder.model)
    model.text = ours
    insert(model, dropout=dropout)
    lock(moved(model), "lora")
    about = LoraConfig(r=2, lora_alpha=1, lora_dropout=dropout, target_modules=["query", "key", "value"])
    inject_adapter_in_model(about, theirs)
    theirs.eval()
    for mine, its in pairs(ours, theirs):
        its.lora_A["default"].weight.data.copy_(mine.a)
        its.lora_B["default"].weight.data.copy_(mine.b)
        its.lora_dropout.train()
    model.train()
    tokens_BL = encoder.tokenize(TEXTS)

    found = []
    for text in (ours, theirs):
        torch.manual_seed(5)
        found.append(text(tokens_BL))
        found[-1].square().sum().backward()

    torch.testing.assert_close(*found, atol=1e-6, rtol=1e-5)
    for mine, its in pairs(ours, theirs):
        torch.testing.assert_close(mine.a.grad, its.lora_A["default"].weight.grad, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(mine.b.grad, its.lora_B["default"].weight.grad, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(mine.delta_OI(), its.get_delta_weight("default"))


def pairs(ours: nn.Module, theirs: nn.Module) -> list[tuple[Any, Any]]:
    """Our additions and peft's layers, in the same order."""
    layers = [module for module in theirs.modules() if hasattr(module, "lora_A")]
    found = list(adapters.additions(ours))
    assert len(found) == len(layers) == 6
    return list(zip(found, layers, strict=True))


def test_fused_attention_gives_what_peft_gives_where_all_three_share_one_matrix():
    """peft's layer has one A for queries, keys and values together, and adds to the output as well; here that is 0."""
    from peft import LoraConfig, inject_adapter_in_model

    attention = nn.MultiheadAttention(32, 2, batch_first=True)
    nn.init.normal_(attention.in_proj_bias)
    theirs = inject_adapter_in_model(
        LoraConfig(r=2, lora_alpha=1, target_modules=["attn"]), nn.ModuleDict({"attn": copy.deepcopy(attention)})
    )["attn"]
    encoder = new_encoder(tiny_config(text_cfg={"width": 32, "heads": 2, "layers": 1}), device="cpu")
    encoder.model.transformer.resblocks[0].attn = attention
    insert(encoder.model)
    nn.init.normal_(theirs.lora_B["default"].weight)
    for part, b in zip(attention.lora.values(), theirs.lora_B["default"].weight.data.chunk(3), strict=True):
        part.a.data.copy_(theirs.lora_A["default"].weight)
        part.b.data.copy_(b)
    given_BLT = torch.randn(2, 5, 32)
    causal = torch.full((5, 5), -torch.inf).triu_(1)

    for mask in (None, causal, causal.isinf(), causal.expand(4, 5, 5)):
        mine, _ = attention(given_BLT, given_BLT, given_BLT, need_weights=False, attn_mask=mask)
        its, _ = theirs(given_BLT, given_BLT, given_BLT, need_weights=False, attn_mask=mask)
        torch.testing.assert_close(mine, its, atol=1e-5, rtol=1e-5)


def test_each_of_queries_keys_and_values_drops_its_own_part_of_the_input():
    """A plain reading of CLIP-LoRA: W x + b + alpha / rank * B A dropout(x), three times."""
    encoder = new_encoder(tiny_config(text_cfg={"width": 32, "heads": 2, "layers": 1}), device="cpu")
    attention = encoder.model.transformer.resblocks[0].attn
    insert(encoder.model, dropout=0.25)
    lock(moved(encoder.model), "lora")
    encoder.model.train()
    given_BLT = torch.randn(2, 5, 32)

    torch.manual_seed(7)
    found, _ = attention(given_BLT, given_BLT, given_BLT, need_weights=False)

    torch.manual_seed(7)
    projected = []
    for number, part in enumerate(("q", "k", "v")):
        weight, bias = (
            one[32 * number : 32 * (number + 1)] for one in (attention.in_proj_weight, attention.in_proj_bias)
        )
        kept_BLT = (torch.empty_like(given_BLT).bernoulli_(0.75)) / 0.75 * given_BLT
        added = kept_BLT @ attention.lora[part].a.T @ attention.lora[part].b.T * (1.0 / 2)
        projected.append((given_BLT @ weight.T + bias + added).view(2, 5, 2, 16).transpose(1, 2))
    query, key, value = projected
    weights = torch.softmax(query @ key.transpose(-1, -2) / 4, dim=-1)
    expected = functional.linear((weights @ value).transpose(1, 2).reshape(2, 5, 32), attention.out_proj.weight)
    torch.testing.assert_close(found, expected + attention.out_proj.bias, atol=1e-5, rtol=1e-4)
    assert len({one.a.data_ptr() for one in attention.lora.values()}) == 3


def test_the_pull_counts_what_additions_move_in_the_merged_weights(tiny):
    model = copy.deepcopy(tiny.model)
    insert(model)
    lock(model, "lora")
    pull = Pull(model, 0.5)
    assert float(pull().detach()) == 0
    moved(model)
    with torch.no_grad():
        model.visual.proj[0, 0] += 3.0

    before, merged = tiny.model.state_dict(), model.state_dict()
    way = sum(float((merged[name] - before[name]).square().sum()) for name in before)
    penalty = pull()
    penalty.backward()

    assert penalty.item() == pytest.approx(0.5 * way, rel=1e-5)
    assert all(one.b.grad is not None for one in adapters.additions(model))


# In training


def quick(**changes: Any) -> TrainConfig:
    return TrainConfig(**{"train": "lora", "epochs": 2, "batch_size": 8, "lr": 3e-3, **changes})


def test_a_run_exports_a_plain_model_and_its_checkpoints_hold_only_what_trains(tmp_path, tiny):
    from safetensors.torch import load_file

    encoder, told = tiny, Told()

    run = train(contest_table(tmp_path), encoder, quick(epochs=4), out=tmp_path / "run", progress=told)

    tuned = run.encoder()
    assert run.epochs[-1]["loss"] < 0.7 * run.epochs[0]["loss"]
    assert list(tuned.model.state_dict()) == list(encoder.model.state_dict())
    assert not list(adapters.additions(tuned.model))
    changed = {n for n, t in tuned.model.state_dict().items() if not torch.equal(t, encoder.model.state_dict()[n])}
    heads = {*tuned.towers.image_head_names, *tuned.towers.text_head_names, "logit_scale"}
    assert changed == heads | {name for name in encoder.model.state_dict() if name.endswith("in_proj_weight")}
    newest = max((run.path / "checkpoints").iterdir(), key=lambda path: int(path.name.split("-")[1]))
    held = set(load_file(newest / "weights.safetensors"))
    assert {name for name in held if ".lora." not in name} == heads
    assert len(held) == len(heads) + 24
    assert any(
        "6 projections of the image tower's attention and 6 projections of the text" in said for said in told.said
    )


def test_a_tower_without_attention_trains_its_head_alone_and_may_be_read_from_a_column(tmp_path):
    import clipdata as cd

    encoder, told = tiny_dual_encoder(tmp_path / "dual"), Told()
    table = contest_table(tmp_path)
    cd.map_column(table, cd.steps.ImageTrunk(encoder), "trunk")

    run = train(table, encoder, quick(image_trunk="trunk"), out=tmp_path / "run", progress=told)

    assert any("the image tower has no attention of linear layers, so its head" in said for said in told.said)
    assert run.encoder().trunk_identity == encoder.trunk_identity


def test_a_column_of_features_is_refused_where_the_image_tower_changes(tiny):
    with pytest.raises(UsageError, match="image_trunk is 'trunk' and train is 'lora', which changes the image tower"):
        check_feasible(tiny, quick(image_trunk="trunk"))


def test_a_model_without_attention_is_refused_with_what_to_type():
    encoder = tiny_encoder()
    encoder.model.visual = new_encoder(ARCHITECTURES["timm linear"], device="cpu").model.visual
    encoder.model.transformer.resblocks = nn.ModuleList()

    with pytest.raises(UsageError, match=r"neither tower of .*tiny-0 has attention") as caught:
        check_feasible(encoder, quick())
    assert caught.value.hint == "--set train=projections"


def test_the_additions_of_a_seed_are_the_same_whatever_was_drawn_before(tiny):
    drawn = []
    for seed in (3, 4, 3):
        torch.rand(seed)
        model = copy.deepcopy(tiny.model)
        insert(model, seed=seed)
        drawn.append(torch.cat([added.a.flatten() for added in adapters.additions(model)]))

    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])


@pytest.mark.slow
def test_the_starter_merged_gives_the_features_of_the_starter_with_additions(tmp_path):
    encoder = load_encoder("starter", device="cpu")
    model = copy.deepcopy(encoder.model)
    adapted = insert(model)
    moved(model)
    folder = export(model, encoder, tmp_path / "tuned")

    tuned = load_encoder(folder, device="cpu")

    assert (adapted.num_image, adapted.num_text) == (0, 18)
    with torch.no_grad():
        torch.testing.assert_close(
            tuned.towers.text_trunk(encoder.tokenize(TEXTS)), split(model).text_trunk(encoder.tokenize(TEXTS)),
            atol=1e-5, rtol=1e-5,
        )  # fmt: skip
