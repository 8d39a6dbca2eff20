"""From decoded pixels to what a model's image tower eats: resize, crop or pad, and later normalise.

Three fidelities: `exact` is what `open_clip.image_transform` makes of the same pixels with the Pillow that is
installed, level for level; `fast` resizes with coefficients of 16 bits, off by a level in places; `scaled` is fast, and
lets JPEGs much larger than the model's input be decoded to a fraction of their size, off by half a level on average.
Whatever is stored (scores, embeddings, prepared pixels) is made of exact pixels; the training stream asks for fast
ones. It must know nothing of models; a data worker imports it without paying for open_clip.

Shapes: H, W = height and width of a picture, S = side of the model's input, B = batch, C = 3 channels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, get_args

import cv2
import numpy as np
import torch

from clipdata.encoder.box_resizing import resize_box
from clipdata.encoder.resampling import resize_and_crop
from clipdata.errors import UsageError
from clipdata.images.canvas import ReusedMemory
from clipdata.images.turbo import FRACTIONS

Fidelity = Literal["exact", "fast", "scaled"]
_MODES = ("shortest", "longest", "squash")
_FILTERS = ("bicubic", "bilinear")
# How much larger than after resizing a picture decoded to a fraction still is. Nearer to it the transforms of the
# fraction, which cut frequencies off, show: at 1 the pixels are off by 4 levels on average.
_LEAST_SURPLUS = 1.5


@dataclass(frozen=True)
class Preparation:
    """How a model wants its pictures; calling it prepares one.

    Args:
        size: (height, width) of the model's input in pixels.
        mean: of each channel, on the scale 0 to 1.
        std: of each channel, on the scale 0 to 1.
        interpolation: filter used to resize, always with antialiasing.
        resize_mode: "shortest" crops the middle, "longest" pads to the shape, "squash" ignores the aspect ratio.
        fill_color: level (0 to 255) of the padding of "longest".
        fidelity: "exact" gives the levels of open_clip's transform, "fast" nearly those, "scaled" nearly those of large
            JPEGs in less time.
    """

    size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    resize_mode: Literal["shortest", "longest", "squash"] = "shortest"
    fill_color: int = 0
    fidelity: Fidelity = "exact"
    padded: ClassVar[bool] = True
    _memory: ReusedMemory = field(default_factory=ReusedMemory, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.resize_mode not in _MODES:
            raise UsageError(f"resize_mode is {self.resize_mode!r}; expected one of {', '.join(_MODES)}")
        if self.interpolation not in _FILTERS:
            raise UsageError(f"interpolation is {self.interpolation!r}; expected one of {', '.join(_FILTERS)}")
        if self.fidelity not in get_args(Fidelity):
            raise UsageError(f"fidelity is {self.fidelity!r}; expected one of {', '.join(get_args(Fidelity))}")
        if not 0 <= self.fill_color <= 255:
            raise UsageError(f"fill_color is {self.fill_color}; expected a level from 0 to 255")
        if min(self.size) < 1 or len(self.mean) != 3 or len(self.std) != 3:
            raise UsageError(f"size {self.size}, mean {self.mean}, std {self.std}: expected 2, 3 and 3 numbers")

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Preparation:
        """Read the `preprocess_cfg` that open_clip keeps on a model's image tower."""
        size = config["size"]
        return cls(
            size=(int(size), int(size)) if isinstance(size, int) else (int(size[0]), int(size[1])),
            mean=_three(config["mean"]),
            std=_three(config["std"]),
            # open_clip takes "random" as bicubic when it does not augment.
            interpolation="bicubic" if config["interpolation"] == "random" else config["interpolation"],
            resize_mode=config["resize_mode"],
            fill_color=int(config["fill_color"]),
        )

    def to_config(self) -> dict[str, Any]:
        """Return the `preprocess_cfg` from which `from_config` and open_clip make the same preparation.

        The fidelity is not among it: open_clip knows no other than its own.
        """
        return {
            "size": self.size[0] if self.size[0] == self.size[1] else list(self.size),
            "mode": "RGB",
            "mean": list(self.mean),
            "std": list(self.std),
            "interpolation": self.interpolation,
            "resize_mode": self.resize_mode,
            "fill_color": self.fill_color,
        }

    def with_fidelity(self, fidelity: Fidelity) -> Preparation:
        """Return the same preparation at another fidelity."""
        return replace(self, fidelity=fidelity)

    def facts(self) -> dict[str, Any]:
        """Return what of it decides a model's features, for the identity of an encoder."""
        return self.to_config() | {"fidelity": self.fidelity}

    @property
    def identity(self) -> str:
        """Hex digest of everything that decides the prepared pixels; mean and std are not among it."""
        decisive = (self.size, self.interpolation, self.resize_mode, self.fill_color, self.fidelity)
        return hashlib.sha256(json.dumps(decisive).encode()).hexdigest()

    def __call__(self, pixels: np.ndarray) -> torch.Tensor:
        """Prepare one picture.

        Args:
            pixels: uint8 RGB [H, W, 3] of any size.

        Returns:
            uint8 [3, S, S], contiguous, not normalised.

        Raises:
            UsageError: the array is not uint8 [H, W, 3].
        """
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
            raise UsageError(f"pixels are {pixels.dtype} {list(pixels.shape)}; expected uint8 RGB [H, W, 3]")
        out_HWC = np.empty((*self.size, 3), np.uint8)
        self.into(pixels, out_HWC)
        return torch.from_numpy(out_HWC).permute(2, 0, 1).contiguous()

    def fraction(self, height: int, width: int) -> int:
        """By how much a JPEG of this size may be decoded smaller: 1, 2, 4 or 8."""
        if self.fidelity != "scaled":
            return 1
        resized = self._resized(height, width)
        surplus = min(height / resized[0], width / resized[1]) / _LEAST_SURPLUS
        return next((fraction for fraction in FRACTIONS if fraction <= surplus), 1)

    def into(
        self, pixels: np.ndarray, out: np.ndarray, draw: object = None, *, whole: tuple[int, int] | None = None
    ) -> None:
        """Prepare one picture into given memory; see `images.batches.FillsSlots`.

        Args:
            pixels: uint8 RGB [H, W, 3], or [H, W, 4] whose last channel means nothing.
            out: uint8 [S, S, 3], all of which is written; rows may lie apart.
            draw: nothing is drawn here.
            whole: height and width of the picture where `pixels` is the fraction of it that `fraction` allowed.
        """
        height, width = whole or pixels.shape[:2]
        resized, size = self._resized(height, width), self.size
        tall, wide = min(resized[0], size[0]), min(resized[1], size[1])
        if (tall, wide) != size:
            out[:] = self.fill_color
            top, left = (size[0] - tall) // 2, (size[1] - wide) // 2
            out = out[top : top + tall, left : left + wide]
        if self.fidelity == "exact":
            three_HWC = pixels if pixels.shape[2] == 3 else cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB)
            out[:] = resize_and_crop(three_HWC, resized, self.size, self._filter)
            return
        divisor = self.fraction(height, width) if whole else 1
        down, along = height / divisor / resized[0], width / divisor / resized[1]
        top, left = round((resized[0] - tall) / 2.0), round((resized[1] - wide) / 2.0)
        resize_box(pixels, (top * down, left * along, tall * down, wide * along), out, self._filter)

    def on_device(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        """Prepare pictures of one size where they lie, by torch's own resizing in floats, off by a level in places.

        As Pillow does, rows are resized before columns, and what lies between is rounded to levels.

        Args:
            image_BCHW: uint8 [B, 3, H, W] of any size, on any device.

        Returns:
            uint8 [B, 3, S, S] on the same device.
        """
        resized = self._resized(*image_BCHW.shape[2:])
        for size in ((image_BCHW.shape[2], resized[1]), resized):
            if size != tuple(image_BCHW.shape[2:]):
                image_BCHW = torch.nn.functional.interpolate(
                    image_BCHW.float(), size=size, mode=self._filter, antialias=True
                )
                image_BCHW = image_BCHW.round_().clamp_(0, 255)
        image_BCHW = image_BCHW.to(torch.uint8)
        have, want = torch.tensor(resized), torch.tensor(self.size)
        top, left = ((have - want).clamp(min=0) / 2.0).round().int().tolist()
        image_BCHW = image_BCHW[:, :, top : top + self.size[0], left : left + self.size[1]]
        above, before = ((want - have).clamp(min=0) // 2).tolist()
        kept = image_BCHW.shape[2:]
        if tuple(kept) == self.size:
            return image_BCHW
        out_BCHW = image_BCHW.new_full((len(image_BCHW), 3, *self.size), self.fill_color)
        out_BCHW[:, :, above : above + kept[0], before : before + kept[1]] = image_BCHW
        return out_BCHW

    def normalise(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        """Turn uint8 pixels into the model's float input, in torchvision's order of operations.

        The memory is laid out channels last, in which convolutions run up to 1.7 times as fast on a CPU.

        Args:
            image_BCHW: uint8 [B, 3, S, S], on any device.

        Returns:
            float32 [B, 3, S, S] on the same device.

        Raises:
            UsageError: the tensor is not uint8 of the model's shape.
        """
        if image_BCHW.dtype != torch.uint8 or tuple(image_BCHW.shape[1:]) != (3, *self.size):
            raise UsageError(
                f"images are {image_BCHW.dtype} {list(image_BCHW.shape)}; "
                f"expected torch.uint8 [B, 3, {self.size[0]}, {self.size[1]}], as prepare() gives"
            )
        if image_BCHW.device.type != "cpu":
            return self._normal(image_BCHW).contiguous(memory_format=torch.channels_last)
        level_BCHW = torch.arange(256, dtype=torch.uint8).expand(1, 3, 1, 256)
        table_WHC = self._normal(level_BCHW)[0].permute(2, 1, 0).contiguous().numpy()
        image_BHWC = image_BCHW.permute(0, 2, 3, 1).contiguous().numpy()
        normal_BHWC = self._memory.array(image_BHWC.shape, np.float32)
        if len(image_BHWC):
            rows = (-1, self.size[1], 3)
            cv2.LUT(image_BHWC.reshape(rows), table_WHC, dst=normal_BHWC.reshape(rows))
        return torch.from_numpy(normal_BHWC).permute(0, 3, 1, 2)

    def _normal(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        mean = torch.tensor(self.mean, device=image_BCHW.device).view(3, 1, 1)
        std = torch.tensor(self.std, device=image_BCHW.device).view(3, 1, 1)
        return image_BCHW.to(torch.float32).div_(255).sub_(mean).div_(std)

    @property
    def _filter(self) -> str:
        # open_clip forgets the filter when it crops to a shape that is not square.
        forgotten = self.resize_mode == "shortest" and self.size[0] != self.size[1]
        return "bicubic" if forgotten else self.interpolation

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        """Size after resizing, before crop or padding. Source: open_clip 3.3 transform.py, torchvision Resize."""
        if self.resize_mode == "squash":
            return self.size
        if self.resize_mode == "shortest" and self.size[0] == self.size[1]:
            short, long = min(height, width), max(height, width)
            new_long = int(self.size[0] * long / short)
            return (self.size[0], new_long) if height <= width else (new_long, self.size[0])
        choose = max if self.resize_mode == "longest" else min
        ratio = choose(height / self.size[0], width / self.size[1])
        return max(1, round(height / ratio)), max(1, round(width / ratio))


def _three(values: float | tuple[float, ...] | list[float]) -> tuple[float, float, float]:
    listed = [values] * 3 if isinstance(values, (int, float)) else list(values)
    return (float(listed[0]), float(listed[1]), float(listed[2]))
