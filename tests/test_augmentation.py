"""Augmentation: torchvision's own crops and colours, drawn for a seed, an epoch and a row alone."""

from __future__ import annotations

import math
import pickle
import random

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms import functional

import clipdata as cd
from clipdata.encoder import Preparation
from clipdata.encoder.augmentation import Augmented, Draw, jittered
from clipdata.errors import ConfigError, UsageError
from tests.pictures import drawing

PREPARE = Preparation((24, 24), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


class TorchsDraw:
    """Torch's global generator as a draw, so that torchvision's sampling can be laid beside ours."""

    def random(self) -> float:
        return float(torch.empty(1).uniform_())

    def uniform(self, low: float, high: float) -> float:
        return float(torch.empty(1).uniform_(low, high))

    def integers(self, low: int, high: int) -> int:
        return int(torch.randint(low, high, size=(1,)))


@pytest.mark.parametrize("scale", [(0.08, 1.0), (0.9, 1.0), (0.5, 0.5)])
def test_crops_are_drawn_as_torchvision_draws_them(scale: tuple[float, float]) -> None:
    sizes = random.Random(0)
    for seed in range(150):
        height, width = sizes.choice([(30, 40), (300, 20), (20, 300), (64, 64), (1, 9), (500, 375)])
        torch.manual_seed(seed)
        expected = transforms.RandomResizedCrop.get_params(
            Image.new("RGB", (width, height)), list(scale), [3 / 4, 4 / 3]
        )
        torch.manual_seed(seed)
        assert cd.Augmentation(scale).box(height, width, TorchsDraw()) == tuple(expected)


def test_a_crop_is_resized_alone_and_level_for_level_as_torchvision_does_with_pillow() -> None:
    pixels = drawing(3, 60, 90)
    for row in range(20):
        made = Augmented(PREPARE, cd.Augmentation((0.3, 1.0)))(pixels, Draw(0, 0, row))
        top, left, height, width = cd.Augmentation((0.3, 1.0)).box(60, 90, Draw(0, 0, row))
        expected = functional.resized_crop(
            Image.fromarray(pixels), top, left, height, width, [24, 24], transforms.InterpolationMode.BICUBIC
        )
        assert np.array_equal(made.permute(1, 2, 0).numpy(), np.asarray(expected))


def test_colours_change_as_torchvision_changes_them() -> None:
    pixels, torchs = drawing(1), Image.fromarray(drawing(1))
    by = {
        "brightness": functional.adjust_brightness, "contrast": functional.adjust_contrast,
        "saturation": functional.adjust_saturation, "hue": functional.adjust_hue,
    }  # fmt: skip
    for name, factor in [("brightness", 0.6), ("contrast", 1.7), ("saturation", 0.0), ("hue", -0.31), ("hue", 0.5)]:
        assert np.array_equal(jittered(pixels, [(name, factor)]), np.asarray(by[name](torchs, factor))), name
    both = by["hue"](by["contrast"](torchs, 0.5), 0.1)
    assert np.array_equal(jittered(pixels, [("contrast", 0.5), ("hue", 0.1)]), np.asarray(both))


def test_chances_are_kept_and_nothing_changes_where_nothing_is_asked_for() -> None:
    pixels = drawing(1, 24, 24)
    plain = Augmented(PREPARE, cd.Augmentation(None))(pixels, Draw(0, 0, 0))
    assert np.array_equal(plain.permute(1, 2, 0).numpy(), pixels), "a picture of the model's size stays as it is"

    flipping = Augmented(PREPARE, cd.Augmentation(None, flip=0.25))
    flipped = [
        np.array_equal(flipping(pixels, Draw(0, 0, row)).permute(1, 2, 0), pixels[:, ::-1]) for row in range(400)
    ]
    assert 70 <= sum(flipped) <= 130

    grey = Augmented(PREPARE, cd.Augmentation(None, gray_scale_prob=1.0))(pixels, Draw(0, 0, 0))
    expected = np.asarray(functional.rgb_to_grayscale(Image.fromarray(pixels), 3))
    assert np.array_equal(grey.permute(1, 2, 0).numpy(), expected)

    jitter = cd.Augmentation(None, color_jitter=(0.4, 0.4, 0.4, 0.1), color_jitter_prob=0.5)
    changed = [
        not np.array_equal(Augmented(PREPARE, jitter)(pixels, Draw(5, 1, row)).permute(1, 2, 0), pixels)
        for row in range(60)
    ]
    assert 15 <= sum(changed) <= 45


def test_what_is_drawn_hangs_on_seed_epoch_and_row_alone() -> None:
    first = [Draw(7, 2, 11).random() for _ in range(2)]
    assert first[0] == first[1] == pytest.approx(0.1665640, abs=1e-7), "frozen: another number is another run"
    others = [Draw(8, 2, 11), Draw(7, 3, 11), Draw(7, 2, 12), Draw(72, 11, 0), Draw(7, 21, 1)]
    assert len({draw.random() for draw in others} | set(first)) == 6

    numbers = np.array([Draw(0, 0, row).uniform(-1.0, 3.0) for row in range(4000)])
    assert abs(numbers.mean() - 1.0) < 4 * (4 / math.sqrt(12)) / math.sqrt(4000)
    draw = Draw(0, 0, 0)
    assert {draw.integers(2, 6) for _ in range(200)} == {2, 3, 4, 5}


def test_it_travels_as_json_and_pickle_and_says_all_that_is_wrong_at_once() -> None:
    asked = cd.Augmentation((0.5, 1), flip=0.5, color_jitter=(0.1, 0.2, 0.3, 0))
    assert cd.Augmentation.from_json(asked.to_json()) == asked
    assert pickle.loads(pickle.dumps(Augmented(PREPARE, asked))) == Augmented(PREPARE, asked)

    with pytest.raises(ConfigError) as refused:
        cd.Augmentation((0.0, 1.0), (2.0, 1.0), flip=1.5, color_jitter=(0, 0, 0, 0.7), gray_scale_prob=True)
    for name in ("scale", "ratio", "flip", "color_jitter", "gray_scale_prob"):
        assert f"{name} is" in str(refused.value)
    for wrong in ({"scale": 0.5}, {"scale": "half"}, {"scale": (0.5, 1.2)}, {"color_jitter": (0.4,)}, {"flip": None}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            cd.Augmentation(**wrong)
    with pytest.raises(ConfigError, match=r"no field hflip; known are scale"):
        cd.Augmentation.from_json({"hflip": 0.5})
    with pytest.raises(UsageError, match="expected an Augmentation"):
        Augmented(PREPARE, {"flip": 0.5})
