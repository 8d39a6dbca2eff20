"""Encoded images of a batch to one uint8 tensor on a device: JPEGs are decoded there, and all are resized there.

A device's decoder is another one than libjpeg, and the device resizes in floats: pixels differ from the exact ones by
about a level. Every file is held to its limits before the device sees it. What the device does not decode (other
formats, progressive JPEGs, four colours, turned pictures), or finds damaged, is decoded by this process's own threads.
On "cpu" these decode all of it, and the rest is the same. CUDA does not go with worker processes: a stream that decodes
on a device is read in its own process. It knows Arrow and images; what a model wants is handed in.
Shapes: B images of a batch, D distinct ones, G of one size, C = 3 channels, S = side of the model's input.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from clipdata.encoder.preparation import Preparation
from clipdata.errors import ImageRefused, UsageError
from clipdata.images import decode, probe_plain
from clipdata.images.batches import Encoded, distinct_images, refused_rows
from clipdata.images.threads import DecodingThreads
from clipdata.stream.decode import Decoded
from clipdata.stream.shares import MeteredThreads, Stopwatch, Took

MOST_PIXELS = 64_000_000
"""Decoded at once on a device: 192 MB, and four times that while they are resized."""

DecodeJpegs = Callable[[Sequence[pa.Buffer], torch.device], Sequence[torch.Tensor]]
"""JPEGs that are held to their limits, to uint8 [3, H, W] each on the device."""


def check_device(device: str, prepare: Any) -> torch.device:
    """Hold a device to what can decode here.

    Raises:
        UsageError: there is no such device, nothing that decodes on it, or no preparation that works on it.
    """
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise UsageError(f"device is {device!r}; expected cpu, cuda or cuda:1") from error
    if found.type not in ("cpu", "cuda"):
        raise UsageError(f"device is {device!r}, which decodes no pictures; expected cpu or cuda")
    if not isinstance(prepare, Preparation):
        raise UsageError(
            f"device is {device!r}, and prepare is {type(prepare).__name__}; expected a Preparation",
            hint='prepare=encoder.prepare.with_fidelity("fast") without augment, or leave out device',
        )
    if prepare.fidelity == "exact":
        raise UsageError(
            f"device is {device!r}, whose pixels are off by a level in places, and prepare is exact",
            hint='prepare=encoder.prepare.with_fidelity("fast")',
        )
    if found.type == "cuda":
        if not torch.cuda.is_available() or (found.index or 0) >= torch.cuda.device_count():
            raise UsageError(f"device is {device!r}, and there is no such GPU here", hint="leave out device")
        if importlib.util.find_spec("torchcodec") is None:
            raise UsageError(f"device is {device!r}, and torchcodec is not there", hint="pip install 'clipdata[gpu]'")
    return found


class DeviceDecoder:
    """Decodes batches of images on a device; see `ImageDecoder`, whose face it has.

    Args:
        prepare: makes a model's input of decoded pixels.
        device: where.
        num_threads: of this process, for what the device does not decode.
        decode_jpegs: what decodes on the device; None on a device that has no decoder of its own.
    """

    def __init__(
        self,
        prepare: Preparation,
        device: torch.device,
        *,
        num_threads: int,
        decode_jpegs: DecodeJpegs | None = None,
    ) -> None:
        self._prepare, self._device = prepare, device
        self._decode_jpegs = decode_jpegs or (decode_by_torchcodec if device.type == "cuda" else None)
        self._pool = MeteredThreads(max(num_threads - 1, 1), "clipdata-decode")
        self._threads = DecodingThreads(num_threads, self._pool)
        self._stopwatch, self._num_pictures = Stopwatch(), 0

    def close(self) -> None:
        """End the threads."""
        self._threads.close()

    def taken(self) -> tuple[int, Took, Took]:
        """Pictures decoded since this was asked the last time; the time of the caller's thread, and of the others."""
        num_pictures, self._num_pictures = self._num_pictures, 0
        return num_pictures, self._stopwatch.taken(), self._pool.taken()

    def batch(
        self, encoded: Encoded, unread: Mapping[int, ImageRefused], draws: Callable[[int], Any] | None = None
    ) -> Decoded:
        """Decode the images of a batch, each distinct one once.

        Args:
            encoded: original bytes [B].
            unread: place → why the file that holds the image could not be read.
            draws: nothing is drawn on a device.

        Returns:
            a batch on the device.
        """
        with self._stopwatch:
            return self._batch(encoded, unread)

    def levels(self, image_BHWC: np.ndarray, draws: Callable[[int], Any] | None) -> torch.Tensor:
        """Make a batch of pictures that need no decoding: uint8 [B, S, S, 3] to uint8 [B, 3, S, S] on the device."""
        image_BHWC = image_BHWC if image_BHWC.flags.writeable else image_BHWC.copy()
        return torch.from_numpy(image_BHWC).to(self._device).permute(0, 3, 1, 2)

    def _batch(self, encoded: Encoded, unread: Mapping[int, ImageRefused]) -> Decoded:
        found = distinct_images(encoded)
        size = self._prepare.size
        # The place behind the last stays as it is, and is that of NO_IMAGE.
        prepared_DHWC = torch.zeros((len(found.encoded) + 1, *size, 3), dtype=torch.uint8, device=self._device)
        reasons: dict[int, ImageRefused] = {}
        for together in _together(found.encoded, reasons):
            of_size: dict[tuple[int, ...], list[tuple[int, torch.Tensor]]] = {}
            for place, outcome in self._decoded(found.encoded, together):
                if isinstance(outcome, ImageRefused):
                    reasons[place] = outcome
                else:
                    of_size.setdefault(tuple(outcome.shape), []).append((place, outcome))
            for group in of_size.values():
                image_GCHW = torch.stack([image_CHW.to(self._device) for _, image_CHW in group])
                places = torch.tensor([place for place, _ in group], device=self._device)
                prepared_DHWC[places] = self._prepare.on_device(image_GCHW).permute(0, 2, 3, 1)
        self._num_pictures += len(found.encoded) - len(reasons)
        index_B = torch.from_numpy(found.image_of_row % len(prepared_DHWC)).to(self._device)
        refused = refused_rows(found.image_of_row, reasons)
        return Decoded(prepared_DHWC[index_B].permute(0, 3, 1, 2), {**refused, **unread})

    def _decoded(
        self, encoded: Sequence[pa.Buffer], together: Sequence[tuple[int, bool]]
    ) -> Iterator[tuple[int, torch.Tensor | ImageRefused]]:
        """Places of images with uint8 [3, H, W], on the device or here; or with why they are refused."""
        plain = [place for place, is_plain in together if is_plain and self._decode_jpegs is not None]
        if plain and self._decode_jpegs is not None:
            try:
                yield from zip(plain, self._decode_jpegs([encoded[p] for p in plain], self._device), strict=True)
            except RuntimeError:  # one of them is damaged: the threads say which, and why
                plain = []
        left = [place for place, _ in together if place not in set(plain)]
        yield from zip(left, self._threads.map(_here, [encoded[place] for place in left]), strict=True)


def _together(encoded: Sequence[pa.Buffer], reasons: dict[int, ImageRefused]) -> Iterator[list[tuple[int, bool]]]:
    """Places of images, as many as there is room for at once, and whether each is a plain JPEG; notes the refused."""
    together: list[tuple[int, bool]] = []
    num_pixels = 0
    for place, data in enumerate(encoded):
        try:
            header, is_plain = probe_plain(memoryview(data))
        except ImageRefused as refused:
            reasons[place] = refused
            continue
        if together and num_pixels + header.width * header.height > MOST_PIXELS:
            yield together
            together, num_pixels = [], 0
        together.append((place, is_plain))
        num_pixels += header.width * header.height
    if together:
        yield together


def decode_by_torchcodec(encoded: Sequence[pa.Buffer], device: torch.device) -> Sequence[torch.Tensor]:
    """Decode JPEGs by nvJPEG.

    Raises:
        RuntimeError: one of them is damaged.
    """
    from torchcodec.decoders import decode_jpeg

    sources = [torch.from_numpy(np.frombuffer(data, np.uint8)) for data in encoded]
    decoded: Sequence[torch.Tensor] = decode_jpeg(sources, mode="RGB", device=device)
    return decoded


def _here(data: pa.Buffer) -> torch.Tensor | ImageRefused:
    try:
        return torch.from_numpy(decode(memoryview(data))).permute(2, 0, 1)
    except ImageRefused as refused:
        return refused
