"""The Encoder: features equal to open_clip's, an identity that means something, and data workers that stay light."""

from __future__ import annotations

import pickle
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from clipdata.encoder import Encoder, lock, new_encoder
from clipdata.errors import UsageError
from tests.pictures import drawing
from tests.tiny_models import tiny_config, tiny_dual_encoder, tiny_encoder

TEXTS = ["a cat", "two dogs on a table, " * 9, "", "red circle!", "a photo of a dog, sitting", "Ünïcode 猫 😀"]


@pytest.fixture(scope="module")
def tiny() -> Encoder:
    return tiny_encoder()


@pytest.fixture
def dual(tmp_path: Path) -> Encoder:
    return tiny_dual_encoder(tmp_path)


def pictures(encoder: Encoder, num: int) -> torch.Tensor:
    return torch.stack([encoder.prepare(drawing(seed)) for seed in range(num)])


def by_open_clip(encoder: Encoder, image_BCHW: torch.Tensor, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        image_BD = encoder.model.encode_image(encoder.normalise(image_BCHW), normalize=True)
        return image_BD, encoder.model.encode_text(encoder.tokenize(texts), normalize=True)


@pytest.mark.parametrize("which", ["tiny", "dual"])
def test_features_equal_open_clip_whatever_the_number_and_length(which: str, request: pytest.FixtureRequest) -> None:
    encoder: Encoder = request.getfixturevalue(which)
    image_BCHW, texts = pictures(encoder, 70), TEXTS * 30

    expected_image_BD, expected_text_BD = by_open_clip(encoder, image_BCHW, texts)

    torch.testing.assert_close(encoder.encode_images(image_BCHW), expected_image_BD)
    torch.testing.assert_close(encoder.encode_texts(texts), expected_text_BD)


def test_features_are_unit_float32_vectors_that_carry_no_gradient(tiny: Encoder) -> None:
    image_BD, text_BD = tiny.encode_images(pictures(tiny, 3)), tiny.encode_texts(TEXTS)

    assert image_BD.shape == (3, tiny.embed_dim)
    assert text_BD.shape == (len(TEXTS), tiny.embed_dim)
    for features_BD in (image_BD, text_BD):
        assert features_BD.dtype == torch.float32
        assert not features_BD.requires_grad
        torch.testing.assert_close(features_BD.norm(dim=-1), torch.ones(len(features_BD)))


def test_no_pictures_and_no_texts_give_no_rows(tiny: Encoder) -> None:
    assert tiny.encode_images(torch.zeros((0, 3, 32, 32), dtype=torch.uint8)).shape == (0, tiny.embed_dim)
    assert tiny.image_trunk(torch.zeros((0, 3, 32, 32), dtype=torch.uint8)).shape == (0, tiny.trunk_dim)
    assert tiny.encode_texts([]).shape == (0, tiny.embed_dim)
    assert tiny.tokenize([]).shape == (0, tiny.context_length)
    assert tiny.count_truncated([]) == 0


def test_trunk_then_projection_is_the_whole_tower_bit_for_bit(dual: Encoder) -> None:
    image_BCHW = pictures(dual, 5)

    trunk_BT = dual.image_trunk(image_BCHW)

    assert trunk_BT.shape == (5, dual.trunk_dim)
    assert torch.equal(dual.project_trunk(trunk_BT), dual.encode_images(image_BCHW))


def test_kept_trunk_features_may_train_a_head(tiny: Encoder) -> None:
    weights_TD = torch.ones((tiny.trunk_dim, 4), requires_grad=True)

    (tiny.image_trunk(pictures(tiny, 2)) @ weights_TD).sum().backward()

    assert weights_TD.grad is not None


def test_encoding_in_the_middle_of_training_neither_drops_out_nor_ends_it(dual: Encoder) -> None:
    expected_BD = dual.encode_texts(TEXTS)
    running = dual.model.state_dict()["visual.trunk.bn1.running_mean"].clone()

    dual.model.train()
    found_BD = dual.encode_texts(TEXTS)
    dual.encode_images(pictures(dual, 4))

    assert torch.equal(found_BD, expected_BD)
    assert torch.equal(dual.model.state_dict()["visual.trunk.bn1.running_mean"], running)
    assert all(module.training for module in dual.model.modules())


def test_properties_say_what_the_model_is(tiny: Encoder, dual: Encoder) -> None:
    assert (tiny.image_size, tiny.embed_dim, tiny.trunk_dim, tiny.context_length) == (32, 32, 64, 24)
    assert (dual.trunk_dim, dual.context_length) == (512, 16)
    assert tiny.logit_scale == pytest.approx(1 / 0.07, rel=1e-5)
    assert tiny.device.type == "cpu"
    assert not tiny.model.training


@pytest.mark.parametrize("which", ["tiny", "dual"])
def test_texts_longer_than_the_context_are_counted(which: str, request: pytest.FixtureRequest) -> None:
    encoder: Encoder = request.getfixturevalue(which)
    fits = "cat " * (encoder.context_length - 2)  # a start and an end mark come on top

    assert encoder.count_truncated(["a cat", fits, fits + "cat", "cat " * 99]) == 2


def test_one_text_is_not_taken_for_its_letters(tiny: Encoder) -> None:
    assert torch.equal(tiny.tokenize("a cat"), tiny.tokenize(["a cat"]))


def test_identity_is_of_weights_preprocessing_tokenizer_and_precision(tiny: Encoder) -> None:
    others = [
        tiny_encoder(seed=1),
        tiny_encoder(preprocess_cfg={"resize_mode": "squash"}),
        tiny_encoder(preprocess_cfg={"mean": (0.5, 0.5, 0.5)}),
        tiny_encoder(text_cfg={"tokenizer_kwargs": {"clean": "canonicalize"}}),
        tiny_encoder(quick_gelu=True),
        new_encoder(tiny_config(), device="cpu", precision="bf16"),
    ]

    assert tiny_encoder().identity == tiny.identity
    assert new_encoder(tiny_config(), device="cpu", name="another name").identity == tiny.identity
    assert len({tiny.identity, *(other.identity for other in others)}) == 7


def test_fidelity_of_the_pixels_is_part_of_both_identities() -> None:
    encoder = tiny_encoder()
    exact = encoder.identity, encoder.trunk_identity

    encoder.prepare = encoder.prepare.with_fidelity("fast")
    fast = encoder.identity, encoder.trunk_identity
    encoder.prepare = encoder.prepare.with_fidelity("exact")

    assert not set(exact) & set(fast)
    assert (encoder.identity, encoder.trunk_identity) == exact


def test_identity_follows_weights_that_change_in_place() -> None:
    encoder = tiny_encoder()
    before = encoder.identity

    with torch.no_grad():
        encoder.model.visual.proj += 1e-3
    after = encoder.identity
    with torch.no_grad():
        encoder.model.visual.proj.copy_(tiny_encoder().model.visual.proj)

    assert after != before
    assert encoder.identity == before


def test_trunk_identity_outlives_training_of_the_heads_only() -> None:
    encoder = tiny_encoder()
    before = encoder.trunk_identity, encoder.identity
    lock(encoder.model, "projections")
    optimiser = torch.optim.Adam([p for p in encoder.model.parameters() if p.requires_grad], lr=1e-2)

    loss = encoder.model(encoder.normalise(pictures(encoder, 2)), encoder.tokenize(["a", "b"]))[0].sum()
    loss.backward()
    optimiser.step()

    assert encoder.trunk_identity == before[0]
    assert encoder.identity != before[1]
    with torch.no_grad():
        encoder.model.visual.ln_post.bias += 1
    assert encoder.trunk_identity != before[0]


def test_memory_layout_is_no_part_of_an_identity(dual: Encoder) -> None:
    before = dual.identity

    dual.model.to(memory_format=torch.channels_last)

    assert dual.identity == before


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precision_gives_nearly_the_same_float32_features(tiny: Encoder, precision: str) -> None:
    lower = new_encoder(tiny_config(), device="cpu", precision=precision)
    image_BCHW = pictures(tiny, 3)

    for found_BD, expected_BD in (
        (lower.encode_images(image_BCHW), tiny.encode_images(image_BCHW)),
        (lower.encode_texts(TEXTS), tiny.encode_texts(TEXTS)),
    ):
        assert found_BD.dtype == torch.float32
        assert not torch.equal(found_BD, expected_BD)
        assert float((found_BD * expected_BD).sum(dim=-1).min()) > 0.999


def test_an_unknown_precision_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="fp32, bf16, fp16"):
        new_encoder(tiny_config(), device="cpu", precision="int8")


def test_making_a_model_leaves_random_states_as_they_were() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()

    tiny_encoder(seed=9)

    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before[1:]


def run_python(code: str) -> str:
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_package_loads_no_model_library() -> None:
    heavy = run_python(
        "import sys, clipdata.encoder\n"
        "from clipdata.encoder import load_encoder\n"
        "print(sorted({'torch', 'open_clip', 'timm', 'transformers', 'lance'} & set(sys.modules)))"
    )

    assert heavy == "[]"


@pytest.mark.parametrize("which", ["tiny", "dual"])
def test_a_data_worker_gets_prepare_and_tokenize_without_model_or_model_libraries(
    which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    encoder: Encoder = request.getfixturevalue(which)
    pixels = drawing(1)
    packed = pickle.dumps((encoder.prepare, encoder.tokenize, pixels))
    assert len(packed) < 4_000_000  # the tokenizer's vocabulary, not the weights
    (tmp_path / "packed").write_bytes(packed)

    said = run_python(
        "import pickle, sys, pathlib\n"
        f"prepare, tokenize, pixels = pickle.loads(pathlib.Path({str(tmp_path / 'packed')!r}).read_bytes())\n"
        "total = int(prepare(pixels).sum())\n"
        "print('open_clip' in sys.modules, total, tokenize(['a cat']).tolist())"
    )

    assert said == f"False {int(encoder.prepare(pixels).sum())} {encoder.tokenize(['a cat']).tolist()}"
