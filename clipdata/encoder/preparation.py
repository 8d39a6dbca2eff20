"""From decoded pixels to what a model's image tower eats: resize, crop or pad, and later normalise.

Two fidelities: `exact` is what `open_clip.image_transform` makes of the same pixels with the Pillow that is installed,
level for level; `fast` is torch's resizing, three to four times as quick and off by a level in places. Whatever is
stored (scores, embeddings, prepared pixels) is made of exact pixels; the training stream asks for fast ones.
It must know nothing of models; a data worker imports it without paying for open_clip.

Shapes: H, W = height and width of a picture, S = side of the model's input, B = batch, C = 3 channels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import torch

from clipdata.encoder.resampling import resize_and_crop
from clipdata.errors import UsageError

Fidelity = Literal["exact", "fast"]
_MODES = ("shortest", "longest", "squash")
_FILTERS = ("bicubic", "bilinear")
# Of a strip longer than this many inputs, only the part that the crop keeps is resized.
_MAX_STRIP = 8


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
        fidelity: "exact" gives the levels of open_clip's transform, "fast" nearly those.
    """

    size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    resize_mode: Literal["shortest", "longest", "squash"] = "shortest"
    fill_color: int = 0
    fidelity: Fidelity = "exact"

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
        config = asdict(self) | {"mode": "RGB", "mean": list(self.mean), "std": list(self.std)}
        del config["fidelity"]
        return config | {"size": self.size[0] if self.size[0] == self.size[1] else list(self.size)}

    def with_fidelity(self, fidelity: Fidelity) -> Preparation:
        """Return the same preparation at another fidelity."""
        return replace(self, fidelity=fidelity)

    def facts(self) -> dict[str, Any]:
        """Return what of it decides a model's features, for the identity of an encoder.

        What was made before there were two fidelities was made of fast pixels, and is known by their absence here.
        """
        return self.to_config() | ({} if self.fidelity == "fast" else {"fidelity": self.fidelity})

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
        resized = self._resized(*pixels.shape[:2])
        if self.fidelity == "exact" or self._is_for_pillow(pixels.shape[:2], resized):
            source = torch.from_numpy(resize_and_crop(pixels, resized, self.size, self._filter)).permute(2, 0, 1)
            return self._fit(source).contiguous()
        # torch wants memory it may write to; a copy is only made where Arrow or a slice gives something else.
        source = torch.from_numpy(np.require(pixels, requirements=["C", "W"])).permute(2, 0, 1)[None]
        if resized != tuple(pixels.shape[:2]):
            source = torch.nn.functional.interpolate(source, size=resized, mode=self._filter, antialias=True)
        return self._fit(source[0]).contiguous()

    def _is_for_pillow(self, given: tuple[int, ...], resized: tuple[int, int]) -> bool:
        """Tell whether torch's resizing would take too much memory, or be off by more than a level."""
        is_strip = max(resized[0] / self.size[0], resized[1] / self.size[1]) > _MAX_STRIP
        # Enlarging by round factors gives levels that end in one half, which torch and PIL round differently.
        has_ties = self._filter == "bilinear" and (resized[0] > given[0] or resized[1] > given[1])
        return is_strip or has_ties

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
        mean = torch.tensor(self.mean, device=image_BCHW.device).view(3, 1, 1)
        std = torch.tensor(self.std, device=image_BCHW.device).view(3, 1, 1)
        normal_BCHW = image_BCHW.to(torch.float32).div_(255).sub_(mean).div_(std)
        return normal_BCHW.contiguous(memory_format=torch.channels_last)

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

    def _fit(self, image_CHW: torch.Tensor) -> torch.Tensor:
        """Crop the middle of what is too large, pad what is too small."""
        pads: list[int] = []
        for axis, want in ((1, self.size[0]), (2, self.size[1])):
            have = image_CHW.shape[axis]
            if have > want:
                image_CHW = image_CHW.narrow(axis, round((have - want) / 2.0), want)
            missing = max(0, want - have)
            pads = [missing // 2, (missing + 1) // 2, *pads]
        return torch.nn.functional.pad(image_CHW, pads, value=self.fill_color) if any(pads) else image_CHW


def _three(values: float | tuple[float, ...] | list[float]) -> tuple[float, float, float]:
    listed = [values] * 3 if isinstance(values, (int, float)) else list(values)
    return (float(listed[0]), float(listed[1]), float(listed[2]))
