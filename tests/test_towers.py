"""Cutting towers into trunks and heads, choosing what trains, and holding the rest still."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from clipdata.encoder import Encoder, lock, new_encoder, split
from clipdata.errors import UsageError
from tests.tiny_models import tiny_config, tiny_dual_encoder

TEXTS = ["a cat", "two dogs on a table, and three more in the large green square", "red circle!"]


def timm(model: str, pool: str, proj: str | None, size: int = 32) -> dict[str, Any]:
    config = tiny_config()
    config["vision_cfg"] = {"timm_model_name": model, "timm_pool": pool, "timm_proj": proj, "image_size": size}
    return config


def resnet() -> dict[str, Any]:
    config = tiny_config()
    config["vision_cfg"] = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "head_width": 32}
    return config


ARCHITECTURES = {
    "clip": tiny_config(),
    "custom text": tiny_config(custom_text=True, text_cfg={"pool_type": "eos", "eos_id": 49407}),
    "no causal mask": tiny_config(
        custom_text=True,
        text_cfg={"no_causal_mask": True, "pool_type": "last", "proj_bias": True},
        init_logit_bias=-10.0,
    ),
    "average pooling": tiny_config(vision_cfg={"pool_type": "avg", "final_ln_after_pool": True}),
    "resnet": resnet(),
    "timm linear": timm("resnet10t", "avg", "linear"),
    "timm mlp": timm("resnet10t", "", "mlp"),
    "timm attention pooling": timm("resnet10t", "rot_attn", "linear"),
    "timm's own classifier": timm("test_vit", "token", None, 160),
    "timm without projection": timm("test_vit", "avg", "none", 160),
    "coca": tiny_config(
        vision_cfg={"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
        text_cfg={"embed_cls": True, "output_tokens": True},
        multimodal_cfg={"context_length": 24, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
        custom_text=True,
    ),
}


@pytest.fixture(params=[*ARCHITECTURES, "hugging face"])
def encoder(request: pytest.FixtureRequest, tmp_path: Path) -> Encoder:
    if request.param == "hugging face":
        return tiny_dual_encoder(tmp_path)
    config = copy.deepcopy(ARCHITECTURES[request.param])
    if request.param == "timm without projection":
        config["embed_dim"] = 64
    return new_encoder(config, device="cpu")


def image_batch(encoder: Encoder, num: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (num, 3, *encoder.prepare.size), dtype=torch.uint8, generator=generator)


def test_trunk_and_head_make_the_features_of_the_whole_tower(encoder: Encoder) -> None:
    towers = split(encoder.model)
    image_BCHW, tokens_BL = encoder.normalise(image_batch(encoder)), encoder.tokenize(TEXTS)

    with torch.no_grad():
        image_trunk_BT, text_trunk_BT = towers.image_trunk(image_BCHW), towers.text_trunk(tokens_BL)
        image_BD, text_BD = towers.image_head(image_trunk_BT), towers.text_head(text_trunk_BT)
        # CoCa normalises unless told otherwise; the others do not.
        whole_image_BD = encoder.model.encode_image(image_BCHW, normalize=False)
        whole_text_BD = encoder.model.encode_text(tokens_BL, normalize=False)

    assert image_trunk_BT.shape[1:] == (towers.image_trunk_dim,)
    assert text_trunk_BT.shape[1:] == (towers.text_trunk_dim,)
    torch.testing.assert_close(image_BD, whole_image_BD)
    torch.testing.assert_close(text_BD, whole_text_BD)


def test_trimmed_tokens_give_the_same_features(encoder: Encoder) -> None:
    towers = split(encoder.model)
    tokens_BL = encoder.tokenize(["a cat", "red circle"])

    trimmed_BL = towers.trim_tokens(tokens_BL)

    assert trimmed_BL.shape[1] <= tokens_BL.shape[1]
    with torch.no_grad():
        torch.testing.assert_close(towers.text_trunk(trimmed_BL), towers.text_trunk(tokens_BL))


@pytest.mark.parametrize("name", ["clip", "custom text"])
def test_short_texts_are_trimmed_where_padding_cannot_be_seen(name: str) -> None:
    encoder = new_encoder(ARCHITECTURES[name], device="cpu")

    assert encoder.towers.trim_tokens(encoder.tokenize(["a cat", "red circle"])).shape == (2, 4)


def test_gradients_reach_the_heads_through_the_split(encoder: Encoder) -> None:
    names = lock(encoder.model, "projections")
    towers = split(encoder.model)

    image_BD = towers.image_head(towers.image_trunk(encoder.normalise(image_batch(encoder))))
    text_BD = towers.text_head(towers.text_trunk(encoder.tokenize(TEXTS)))
    ((image_BD.sum() + text_BD.sum()) * encoder.model.logit_scale).backward()

    with_gradient = {name for name, parameter in encoder.model.named_parameters() if parameter.grad is not None}
    assert with_gradient == set(names) - {"logit_bias"}
    assert set(towers.image_head_names) | set(towers.text_head_names) < set(names)


def test_locking_widens_from_projections_to_last_blocks_to_all(encoder: Encoder) -> None:
    heads, blocks, everything = (set(lock(encoder.model, part)) for part in ("projections", "last_blocks", "all"))

    assert heads < blocks < everything
    assert everything == {name for name, _ in encoder.model.named_parameters()}


def test_last_blocks_are_the_last_ones_of_both_towers(tmp_path: Path) -> None:
    clip = new_encoder(tiny_config(), device="cpu").model
    dual = tiny_dual_encoder(tmp_path).model

    of_clip, of_dual = lock(clip, "last_blocks"), lock(dual, "last_blocks")

    assert not any(".resblocks.0." in name for name in of_clip)
    assert {"visual.ln_post.weight", "ln_final.weight", "transformer.resblocks.1.ln_1.bias"} < set(of_clip)
    assert "token_embedding.weight" not in of_clip
    assert any(name.startswith("visual.trunk.layer4") for name in of_dual)
    assert not any(name.startswith("visual.trunk.layer3") for name in of_dual)
    assert any(".layer.1." in name for name in of_dual)
    assert not any(".layer.0." in name for name in of_dual)
    assert set(of_clip) < set(lock(clip, "last_blocks", num_blocks=2))


def train_once(encoder: Encoder) -> None:
    """One forward in training mode and one step on whatever trains."""
    encoder.model.train()
    trained = [parameter for parameter in encoder.model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.SGD(trained, lr=0.1)
    features = encoder.model.encode_image(encoder.normalise(image_batch(encoder, 4)))
    (features.square().sum() + encoder.model.encode_text(encoder.tokenize(TEXTS)).square().sum()).backward()
    optimiser.step()


@pytest.mark.parametrize("part", ["projections", "last_blocks"])
def test_a_locked_part_stays_bit_equal_through_training(tmp_path: Path, part: str) -> None:
    encoder = tiny_dual_encoder(tmp_path)
    before = copy.deepcopy(encoder.model.state_dict())
    names = set(lock(encoder.model, part))  # type: ignore[arg-type]

    train_once(encoder)

    changed = {name for name, tensor in encoder.model.state_dict().items() if not torch.equal(tensor, before[name])}
    statistics = {name for name in changed if "running" in name or "num_batches" in name}
    assert changed - statistics <= names
    assert changed & names
    assert all(name.rpartition(".")[0] + ".weight" in names for name in statistics)


def test_an_unlocked_model_moves_its_batch_statistics(tmp_path: Path) -> None:
    encoder = tiny_dual_encoder(tmp_path)
    before = copy.deepcopy(encoder.model.state_dict())
    lock(encoder.model, "projections")
    lock(encoder.model, "all")

    train_once(encoder)

    assert not torch.equal(
        encoder.model.state_dict()["visual.trunk.bn1.running_mean"], before["visual.trunk.bn1.running_mean"]
    )


def test_dropout_of_a_locked_tower_stays_off_in_training(tmp_path: Path) -> None:
    encoder = tiny_dual_encoder(tmp_path)
    lock(encoder.model, "projections")
    encoder.model.train()
    towers = split(encoder.model)
    tokens_BL = encoder.tokenize(TEXTS)

    assert torch.equal(towers.text_trunk(tokens_BL), towers.text_trunk(tokens_BL))

    lock(encoder.model, "all")
    encoder.model.train()
    assert not torch.equal(towers.text_trunk(tokens_BL), towers.text_trunk(tokens_BL))


def test_patch_dropout_before_a_locked_trunk_stays_off_in_training() -> None:
    encoder = new_encoder(tiny_config(vision_cfg={"patch_dropout": 0.5}), device="cpu")
    lock(encoder.model, "projections")
    encoder.model.train()
    image_BCHW = encoder.normalise(image_batch(encoder))

    assert torch.equal(encoder.towers.image_trunk(image_BCHW), encoder.towers.image_trunk(image_BCHW))


def test_dropout_before_a_trained_projection_is_active_in_training() -> None:
    config = timm("resnet10t", "avg", "linear")
    config["vision_cfg"]["timm_drop"] = 0.5
    model = new_encoder(config, device="cpu").model
    lock(model, "projections")

    assert model.train().visual.head.drop.training
    assert not model.visual.trunk.training


def test_a_copy_of_a_locked_model_holds_its_own_parts_still() -> None:
    model = new_encoder(timm("resnet10t", "avg", "linear"), device="cpu").model
    lock(model, "projections")

    duplicate = copy.deepcopy(model).train()

    assert not any(module.training for module in duplicate.visual.trunk.modules())
    assert duplicate.visual.trunk.train() is duplicate.visual.trunk
    assert isinstance(duplicate, nn.Module)
    assert duplicate.training
    assert not model.training


@pytest.mark.parametrize("wrong", [{"train": "heads"}, {"train": "last_blocks", "num_blocks": 0}])
def test_lock_names_the_choices(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="expected"):
        lock(new_encoder(tiny_config(), device="cpu").model, **wrong)
