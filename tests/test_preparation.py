"""Preparing pictures: open_clip's own levels or nearly those, bounded, and strict about what it takes."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest
import sklearn.datasets
import torch
from hypothesis import given
from hypothesis import strategies as st
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from clipdata.encoder import Preparation
from clipdata.encoder.preparation import Fidelity
from clipdata.errors import UsageError
from clipdata.images import decode
from clipdata.images.canvas import Canvas
from clipdata.images.pixels import decode_onto
from tests.pictures import drawing

HALF = (0.5, 0.5, 0.5)


def by_open_clip(prepare: Preparation, pixels: np.ndarray) -> torch.Tensor:
    """What open_clip's transform makes of the picture before it becomes floats: uint8 [3, S, S]."""
    transform = image_transform_v2(PreprocessCfg(**prepare.to_config()), is_train=False)
    picture = Image.fromarray(pixels)
    for part in transform.transforms[:-2]:  # ToTensor and Normalize
        picture = part(picture)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def scene(height: int, width: int) -> np.ndarray:
    """A drawing with fine lines and letters, which shows a wrong filter or a shift at once."""
    picture = drawing(height * width, height, width)
    for step in range(0, width, max(9, width // 30)):
        cv2.line(picture, (step, 0), (width - step, height), (step % 255, 20, 200), 1 + width // 300, cv2.LINE_AA)
    cv2.putText(picture, "clip", (2, height // 2), cv2.FONT_HERSHEY_SIMPLEX, height / 60, (250, 250, 250), 1)
    return picture


def distance(prepare: Preparation, pixels: np.ndarray) -> tuple[float, float]:
    """Mean absolute difference in levels, and 1 - cosine of the normalised pictures."""
    ours, theirs = prepare(pixels).double(), by_open_clip(prepare, pixels).double()
    cosine = torch.nn.functional.cosine_similarity(ours.flatten() - 127.5, theirs.flatten() - 127.5, dim=0)
    return float((ours - theirs).abs().mean()), float(1 - cosine)


def shapes(num: int, *, seed: int = 0) -> list[tuple[int, int]]:
    """Heights and widths of all kinds: tiny and large, thin and square, near and far from a model's size."""
    rng = np.random.default_rng(seed)
    found: list[tuple[int, int]] = [(1, 1), (1, 40), (40, 1), (223, 224), (224, 224), (336, 224), (600, 400)]
    while len(found) < num:
        height, width = np.exp(rng.uniform(0.7, 7.3, 2)).astype(int).tolist()
        if height * width <= 700_000 and max(height, width) <= 40 * min(height, width):
            found.append((height, width))
    return found[:num]


COMBINATIONS = [
    (size, resize_mode, interpolation)
    for size in ((224, 224), (336, 336), (384, 384), (192, 256), (256, 192))
    for resize_mode in ("shortest", "longest", "squash")
    for interpolation in ("bicubic", "bilinear", "random")
]


def differing(shape: tuple[int, int], combination: tuple) -> float:
    """Share of the levels that are not open_clip's."""
    size, resize_mode, interpolation = combination
    config = {"size": size, "mean": HALF, "std": HALF, "interpolation": interpolation}
    prepare = Preparation.from_config({**config, "resize_mode": resize_mode, "fill_color": 9})
    pixels = scene(*shape)
    return float((prepare(pixels) != by_open_clip(prepare, pixels)).float().mean())


@pytest.mark.parametrize("combination", COMBINATIONS, ids=lambda one: "-".join(map(str, one)))
def test_exact_pixels_are_open_clips_own_levels(combination: tuple) -> None:
    place = COMBINATIONS.index(combination)
    some = shapes(300)[place :: len(COMBINATIONS)]

    wrong = {shape: share for shape in some if (share := differing(shape, combination))}

    assert len(some) >= 6
    assert wrong == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    "combination",
    [one for one in COMBINATIONS if one[0][0] == one[0][1] and one[2] != "random"],
    ids=lambda one: "-".join(map(str, one)),
)
def test_exact_pixels_are_open_clips_own_levels_for_all_shapes(combination: tuple) -> None:
    assert {shape: share for shape in shapes(300)[::4] if (share := differing(shape, combination))} == {}


@pytest.mark.parametrize("resize_mode", ["shortest", "squash"])
@pytest.mark.parametrize("shape", [(1000, 400), (2000, 500), (600, 400), (500, 2000), (900, 90)])
def test_exact_pixels_follow_the_order_in_which_pillow_resizes(shape: tuple[int, int], resize_mode: str) -> None:
    prepare = Preparation((224, 224), HALF, HALF, resize_mode=resize_mode)  # type: ignore[arg-type]
    noise = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)

    assert torch.equal(prepare(noise), by_open_clip(prepare, noise))


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("shape", [(1200, 17), (17, 1200), (1500, 4), (40, 3), (3, 40), (2500, 300), (300, 2500)])
def test_very_long_pictures_have_open_clips_own_levels(shape: tuple[int, int], interpolation: str) -> None:
    prepare = Preparation((64, 64), HALF, HALF, interpolation)  # type: ignore[arg-type]
    noise = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)

    assert torch.equal(prepare(noise), by_open_clip(prepare, noise))


@pytest.mark.parametrize("shape", [(375, 500), (500, 375), (224, 224), (64, 64), (225, 224), (97, 48), (1024, 768)])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
def test_fast_pixels_are_nearly_open_clips(resize_mode: str, interpolation: str, shape: tuple[int, int]) -> None:
    fill_color = 255 if resize_mode == "longest" else 0
    exact = Preparation((224, 224), HALF, HALF, interpolation, resize_mode, fill_color)  # type: ignore[arg-type]

    mean_levels, one_minus_cosine = distance(exact.with_fidelity("fast"), scene(*shape))

    assert mean_levels <= 0.2
    assert one_minus_cosine <= 3e-5


@pytest.fixture(scope="module")
def photographs() -> list[np.ndarray]:
    """A street of fine texture and a flower, as scikit-learn carries them: uint8 RGB [427, 640, 3]."""
    folder = Path(sklearn.datasets.__file__).parent / "images"
    return [cv2.imread(str(folder / name), cv2.IMREAD_COLOR_RGB) for name in ("china.jpg", "flower.jpg")]


def test_a_jpeg_whose_colours_are_coarser_along_one_side_is_decoded_at_its_full_size() -> None:
    scaled = Preparation((32, 32), HALF, HALF, fidelity="scaled")
    pixels = np.random.default_rng(0).integers(0, 256, (160, 200, 3), np.uint8)
    found = {}
    for sampling in ("411", "420", "422", "440", "444"):
        flag = getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{sampling}")
        data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, flag])[1].tobytes()
        found[sampling] = decode_onto(Canvas(), memoryview(data), fraction=scaled.fraction).fraction

    assert found == {"411": 1, "420": 2, "422": 1, "440": 1, "444": 2}


@pytest.mark.parametrize("shape", [(750, 1000), (1001, 749), (1500, 2000), (1801, 900)])
def test_scaled_pixels_of_photographs_are_near_open_clips(shape: tuple[int, int], photographs) -> None:
    exact = Preparation((224, 224), HALF, HALF)
    scaled, off, out_HWC = exact.with_fidelity("scaled"), [], np.empty((224, 224, 3), np.uint8)
    for photograph in photographs:
        enlarged = cv2.cvtColor(cv2.resize(photograph, shape[::-1], interpolation=cv2.INTER_CUBIC), cv2.COLOR_RGB2BGR)
        data = cv2.imencode(".jpg", enlarged, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
        picture = decode_onto(Canvas(), data, padded=True, fraction=scaled.fraction)
        scaled.into(picture.pixels_HWC, out_HWC, None, whole=picture.whole)
        off.append(np.abs(out_HWC.astype(int) - by_open_clip(exact, decode(data)).permute(1, 2, 0).numpy()).mean())

    assert picture.fraction == scaled.fraction(*shape) == {900: 2, 750: 2, 749: 2, 1500: 4}[min(shape)]
    assert np.mean(off) <= 0.68


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from(["shortest", "longest", "squash"]))
def test_a_fraction_is_never_nearer_than_one_and_a_half_times_what_is_wanted(
    height: int, width: int, mode: str
) -> None:
    scaled = Preparation((224, 160), HALF, HALF, resize_mode=mode, fidelity="scaled")  # type: ignore[arg-type]
    resized = scaled._resized(height, width)

    fraction = scaled.fraction(height, width)

    assert (
        scaled.with_fidelity("exact").fraction(height, width)
        == scaled.with_fidelity("fast").fraction(height, width)
        == 1
    )
    assert fraction in (1, 2, 4, 8)
    fits = [by for by in (2, 4, 8) if height / by >= 1.5 * resized[0] and width / by >= 1.5 * resized[1]]
    assert fraction == max(fits, default=1)


@pytest.mark.parametrize("fidelity", ["exact", "fast"])
@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
def test_a_slot_of_larger_memory_gets_what_a_call_returns(resize_mode: str, fidelity: str) -> None:
    prepare = Preparation((40, 48), HALF, HALF, "bicubic", resize_mode, 9, fidelity)  # type: ignore[arg-type]
    memory_HWC = np.full((50, 60, 3), 77, np.uint8)
    for shape in ((90, 70), (30, 20), (40, 48), (41, 300)):
        pixels = scene(*shape)
        padded = np.concatenate([pixels, np.full((*shape, 1), 200, np.uint8)], axis=2)
        for given_HWC in (pixels, padded):
            prepare.into(given_HWC, memory_HWC[3:43, 5:53])
            assert np.array_equal(memory_HWC[3:43, 5:53], prepare(pixels).permute(1, 2, 0).numpy())
    memory_HWC[3:43, 5:53] = 77
    assert (memory_HWC == 77).all()


def test_a_strip_that_would_fill_the_memory_when_resized_whole_is_prepared() -> None:
    strip = np.repeat(np.arange(250, dtype=np.uint8), 8000)[None, :, None].repeat(3, axis=2)

    image_CHW = Preparation((224, 224), HALF, HALF)(strip)  # resized whole it would be 100 billion pixels

    assert image_CHW.shape == (3, 224, 224)
    assert 120 <= float(image_CHW.float().mean()) <= 130


@pytest.mark.parametrize("shape", [(1, 500), (500, 1), (1, 1)])
def test_padding_holds_even_the_thinnest_picture(shape: tuple[int, int]) -> None:
    image_CHW = Preparation((32, 32), HALF, HALF, resize_mode="longest", fill_color=255)(
        np.zeros((*shape, 3), np.uint8)
    )

    assert image_CHW.shape == (3, 32, 32)
    assert int(image_CHW.min()) == 0


def test_read_only_and_strided_pixels_give_the_same_as_a_copy() -> None:
    prepare = Preparation((32, 32), HALF, HALF)
    pixels = scene(80, 60)
    frozen = pixels.copy()
    frozen.flags.writeable = False

    assert torch.equal(prepare(frozen), prepare(pixels))
    assert torch.equal(prepare(pixels[:, ::-1]), prepare(pixels[:, ::-1].copy()))
    assert np.array_equal(pixels, frozen)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8, 3), np.float32),
        np.zeros((0, 8, 3), "u1"),
    ],
)
def test_pixels_that_are_not_rgb_bytes_are_refused(pixels: np.ndarray) -> None:
    with pytest.raises(UsageError, match="expected uint8 RGB"):
        Preparation((32, 32), HALF, HALF)(pixels)


def test_normalise_is_bit_equal_to_open_clip() -> None:
    prepare = Preparation((32, 32), (0.48, 0.46, 0.41), (0.27, 0.26, 0.28))
    pixels = scene(32, 32)
    transform = image_transform_v2(PreprocessCfg(**prepare.to_config()), is_train=False)

    image_BCHW = prepare.normalise(prepare(pixels)[None])

    assert torch.equal(image_BCHW[0], transform(Image.fromarray(pixels)))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("num", [0, 1, 7])
def test_normalised_batches_are_bit_equal_in_any_layout_and_stay_as_they_are(num: int, memory_format) -> None:
    prepare = Preparation((24, 32), (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
    batches = [torch.randint(0, 256, (num, 3, 24, 32), dtype=torch.uint8) for _ in range(4)]
    mean, std = torch.tensor(prepare.mean).view(3, 1, 1), torch.tensor(prepare.std).view(3, 1, 1)

    normal = [prepare.normalise(batch.contiguous(memory_format=memory_format)) for batch in batches]
    prepare.normalise(batches[0].flip(0))  # in memory that is used again only if nobody holds it

    for batch, made in zip(batches, normal, strict=True):
        assert torch.equal(made, batch.to(torch.float32).div(255).sub(mean).div(std))
        assert num == 0 or made.is_contiguous(memory_format=torch.channels_last)
    assert batches[0][1:].numel() == 0 or torch.equal(prepare.normalise(batches[0][1:]), normal[0][1:])


def test_normalise_refuses_another_size_and_another_type() -> None:
    prepare = Preparation((32, 32), HALF, HALF)

    with pytest.raises(UsageError, match=r"expected torch.uint8 \[B, 3, 32, 32\]"):
        prepare.normalise(torch.zeros((1, 3, 16, 16), dtype=torch.uint8))
    with pytest.raises(UsageError, match=r"torch\.float32"):
        prepare.normalise(torch.zeros((1, 3, 32, 32)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"resize_mode": "crop"},
        {"interpolation": "nearest"},
        {"fill_color": 300},
        {"size": (0, 4)},
        {"fidelity": "good"},
    ],
)
def test_a_preparation_checks_its_fields(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Preparation(**({"size": (32, 32), "mean": HALF, "std": HALF} | wrong))  # type: ignore[arg-type]


def test_config_and_pickle_bring_the_same_preparation_back() -> None:
    prepare = Preparation((192, 256), (0.4, 0.5, 0.6), (0.1, 0.2, 0.3), "bilinear", "longest", 7)

    assert Preparation.from_config(prepare.to_config()) == prepare
    for fidelity in ("exact", "fast", "scaled"):
        given = prepare.with_fidelity(fidelity)
        assert pickle.loads(pickle.dumps(given)) == given
        assert given.with_fidelity("exact") == prepare


def test_identity_tells_apart_what_changes_pixels_and_nothing_else() -> None:
    base = Preparation((32, 32), HALF, HALF)

    assert base.identity != Preparation((32, 32), HALF, HALF, "bilinear").identity
    of_each = [base.with_fidelity(fidelity) for fidelity in get_args(Fidelity)]
    assert len({one.identity for one in of_each}) == len({str(one.facts()) for one in of_each}) == 3
    assert base.identity == Preparation((32, 32), (0.1, 0.1, 0.1), HALF).identity
