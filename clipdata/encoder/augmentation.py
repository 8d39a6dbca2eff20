"""Augmentation: random crops, mirror images and colours, each decided by seed, epoch and row alone.

So a row is changed in the same way whatever the number of workers and ranks, and after a resume. It knows pixels and a
preparation; it must not know tables, batches or models.

Shapes: H, W = height and width of a picture, S = side of the model's input, C = 3 channels.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from PIL import Image, ImageEnhance

from clipdata.errors import ConfigError, UsageError

if TYPE_CHECKING:
    import torch

    from clipdata.encoder.preparation import Preparation

_TRIES = 10  # Source: torchvision RandomResizedCrop.get_params
_DRAW_VERSION = 1


class Draw:
    """Random numbers that depend on a seed, an epoch and a row alone, on every machine and in every release.

    They are the digits of SHA-256 in counter mode, so that no library's generator can change them. It has those methods
    of `numpy.random.Generator` that augmentation needs.

    Args:
        seed: any integer.
        epoch: from 0.
        row: position of the row among the table's live rows.
    """

    def __init__(self, seed: int, epoch: int, row: int) -> None:
        self._text = f"clipdata augmentation {_DRAW_VERSION}, seed {seed}, epoch {epoch}, row {row}, block "
        self._block = 0
        self._left: list[int] = []

    def random(self) -> float:
        """A number from 0 to below 1, a multiple of 2**-53."""
        if not self._left:
            digest = hashlib.sha256(f"{self._text}{self._block}".encode()).digest()
            self._block += 1
            self._left = [int.from_bytes(digest[place : place + 8], "little") for place in (24, 16, 8, 0)]
        return (self._left.pop() >> 11) * 2.0**-53

    def uniform(self, low: float, high: float) -> float:
        """A number from `low` to below `high`."""
        return low + (high - low) * self.random()

    def integers(self, low: int, high: int) -> int:
        """A whole number from `low` to below `high`."""
        return low + int(self.random() * (high - low))


@dataclass(frozen=True)
class Augmentation:
    """What is done to a picture before a model trains on it, in this order: crop, mirror, colours, grey.

    The names are those of `open_clip.AugmentationCfg`, with `flip` added, which that leaves out because captions name
    sides.

    Args:
        scale: least and largest share of the picture's area that a crop keeps; None keeps what the model's own
            transform keeps. Source: RandomResizedCrop of torchvision.
        ratio: least and largest width of a crop by its height.
        flip: chance of a mirror image.
        color_jitter: largest change of brightness, contrast and saturation, as a share, and of hue, as a share of the
            circle; applied in a random order. Source: ColorJitter of torchvision.
        color_jitter_prob: chance that colours change at all.
        gray_scale_prob: chance of a grey picture.

    Raises:
        ConfigError: lists every field that is wrong.
    """

    scale: tuple[float, float] | None = (0.9, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.0
    color_jitter: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    color_jitter_prob: float = 1.0
    gray_scale_prob: float = 0.0

    def __post_init__(self) -> None:
        problems = []
        for name, least, most, length in (("scale", 0.0, 1.0, 2), ("ratio", 0.0, math.inf, 2)):
            given = getattr(self, name)
            if given is None and name == "scale":
                continue
            if not _is_numbers(given, length) or not least < given[0] <= given[1] <= most:
                problems.append(
                    f"{name} is {given!r}; expected the least and the largest, above {least:g} up to {most:g}"
                )
        if not _is_numbers(self.color_jitter, 4) or min(self.color_jitter) < 0 or self.color_jitter[3] > 0.5:
            problems.append(
                f"color_jitter is {self.color_jitter!r}; expected brightness, contrast, saturation and hue, from 0, "
                "hue up to 0.5"
            )
        for name in ("flip", "color_jitter_prob", "gray_scale_prob"):
            given = getattr(self, name)
            if not _is_numbers((given,), 1) or not 0 <= given <= 1:
                problems.append(f"{name} is {given!r}; expected a chance from 0 to 1")
        if problems:
            raise ConfigError(problems, what="augmentation")
        for name in ("scale", "ratio", "color_jitter"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, tuple(map(float, getattr(self, name))))

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Augmentation:
        """Read what `to_json` gave; what is left out has its default.

        Raises:
            ConfigError: a name is unknown, or a value is wrong.
        """
        known = [field.name for field in fields(cls)]
        unknown = [name for name in given if name not in known]
        if unknown:
            raise ConfigError(
                [f"there is no field {', '.join(unknown)}; known are {', '.join(known)}"], what="augmentation"
            )
        return cls(**given)

    def to_json(self) -> dict[str, Any]:
        """Fields as JSON values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def box(self, height: int, width: int, draw: Draw) -> tuple[int, int, int, int]:
        """Draw the crop of a picture: top, left, height, width, in pixels.

        Source: RandomResizedCrop.get_params of torchvision 0.20.
        """
        assert self.scale is not None
        for _ in range(_TRIES):
            area = height * width * draw.uniform(*self.scale)
            ratio = math.exp(draw.uniform(math.log(self.ratio[0]), math.log(self.ratio[1])))
            wide, high = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < wide <= width and 0 < high <= height:
                return draw.integers(0, height - high + 1), draw.integers(0, width - wide + 1), high, wide
        wide, high = width, height
        if width / height < self.ratio[0]:
            high = round(width / self.ratio[0])
        elif width / height > self.ratio[1]:
            wide = round(height * self.ratio[1])
        return (height - high) // 2, (width - wide) // 2, high, wide

    def colours(self, pixels_HWC: np.ndarray, draw: Draw) -> np.ndarray:
        """Draw mirror, colours and grey, and apply them.

        Args:
            pixels_HWC: uint8 RGB [H, W, 3].

        Returns:
            uint8 of the same shape; the very array, or a view of it, where no colour changes.
        """
        if self.flip and draw.random() < self.flip:
            pixels_HWC = pixels_HWC[:, ::-1]
        if any(self.color_jitter) and draw.random() < self.color_jitter_prob:
            pixels_HWC = jittered(pixels_HWC, self._changes(draw))
        if self.gray_scale_prob and draw.random() < self.gray_scale_prob:
            grey_HW = np.asarray(_picture(pixels_HWC).convert("L"))
            pixels_HWC = np.broadcast_to(grey_HW[..., None], pixels_HWC.shape)
        return pixels_HWC

    def _changes(self, draw: Draw) -> list[tuple[str, float]]:
        """Names and factors of what changes, in the order drawn."""
        *shares, hue = self.color_jitter
        changes = [
            (name, draw.uniform(max(0.0, 1 - share), 1 + share))
            for name, share in zip(_ENHANCERS, shares, strict=True)
            if share
        ]
        if hue:
            changes.append(("hue", draw.uniform(-hue, hue)))
        for last in range(len(changes) - 1, 0, -1):  # Fisher and Yates
            other = draw.integers(0, last + 1)
            changes[last], changes[other] = changes[other], changes[last]
        return changes


_ENHANCERS: Mapping[str, Callable[[Image.Image], Any]] = {
    "brightness": ImageEnhance.Brightness,
    "contrast": ImageEnhance.Contrast,
    "saturation": ImageEnhance.Color,
}


def jittered(pixels_HWC: np.ndarray, changes: list[tuple[str, float]]) -> np.ndarray:
    """Change the colours of a picture, level for level as torchvision does with Pillow.

    Args:
        pixels_HWC: uint8 RGB [H, W, 3].
        changes: "brightness", "contrast" and "saturation" with factors (1 changes nothing), "hue" with a share of the
            circle from -0.5 to 0.5 (0 changes nothing), in their order.

    Source: torchvision.transforms._functional_pil.
    """
    picture = _picture(pixels_HWC)
    for name, factor in changes:
        if name != "hue":
            picture = _ENHANCERS[name](picture).enhance(factor)
            continue
        hue, saturation, value = picture.convert("HSV").split()
        shifted_HW = np.asarray(hue) + np.uint8(int(factor * 255) % 256)
        picture = Image.merge("HSV", (Image.fromarray(shifted_HW), saturation, value)).convert("RGB")
    return np.asarray(picture)


@dataclass(frozen=True)
class Augmented:
    """A preparation that changes pictures at random: it is told a draw of the row.

    Args:
        preparation: of the model; its filter and fidelity resize the crops.
        augmentation: what is changed.
    """

    preparation: Preparation
    augmentation: Augmentation
    padded: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not isinstance(self.augmentation, Augmentation):
            raise UsageError(
                f"augment is {self.augmentation!r:.80}; expected an Augmentation",
                hint="augment=clipdata.Augmentation(flip=0.5)",
            )

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of what it makes."""
        return self.preparation.size

    def fraction(self, height: int, width: int) -> int:
        """By how much a JPEG may be decoded smaller: a crop may keep little of it, so by nothing."""
        return 1 if self.augmentation.scale is not None else self.preparation.fraction(height, width)

    def into(
        self, pixels: np.ndarray, out: np.ndarray, draw: Any = None, *, whole: tuple[int, int] | None = None
    ) -> None:
        """Prepare one picture for one row, into memory of a batch; see `images.batches.FillsSlots`.

        Args:
            pixels: uint8 RGB [H, W, 3], or [H, W, 4] whose last channel means nothing.
            out: uint8 [S, S, 3], all of which is written.
            draw: of the row.
            whole: height and width of the picture where `pixels` is the fraction of it that `fraction` allowed.
        """
        if self.augmentation.scale is None:
            self.preparation.into(pixels, out, whole=whole)
        else:
            top, left, high, wide = self.augmentation.box(pixels.shape[0], pixels.shape[1], draw)
            # The crop alone is resized, to the model's shape whatever its own.
            squashing = replace(self.preparation, resize_mode="squash")
            squashing.into(pixels[top : top + high, left : left + wide], out)
        changed = self.augmentation.colours(out, draw)
        if changed is not out:
            out[...] = changed

    def __call__(self, pixels: np.ndarray, draw: Draw | None = None) -> torch.Tensor:
        """The same as a tensor of its own: uint8 [3, S, S] of uint8 [H, W, 3], by default as for the very first row."""
        import torch

        out_HWC = np.empty((*self.size, 3), np.uint8)
        self.into(pixels, out_HWC, draw or Draw(0, 0, 0))
        return torch.from_numpy(out_HWC).permute(2, 0, 1)


def _picture(pixels_HWC: np.ndarray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(pixels_HWC))


def _is_numbers(given: Any, length: int) -> bool:
    return (
        isinstance(given, tuple | list)
        and len(given) == length
        and all(isinstance(one, int | float) and not isinstance(one, bool) for one in given)
    )
