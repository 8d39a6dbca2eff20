"""This project's sides, and the bare loops that bound them: the same pictures from memory, decoded and resized."""

from __future__ import annotations

import io
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image

import clipdata as cd
from benchmarks.stream.sides import MEAN, SIZE, STD, Asked, Side
from clipdata.encoder.preparation import Fidelity, Preparation
from clipdata.stream import load
from clipdata.stream.decode import ImageDecoder

PREPARE = Preparation(size=(SIZE, SIZE), mean=MEAN, std=STD)
PREPARED = {"raw": "prepared_raw", "jpeg": "prepared_jpeg"}


def open_table(asked: Asked) -> cd.Table:
    """The table of pictures, on disk or in the bucket."""
    storage = cd.Storage(anonymous=bool(asked.bucket), options=dict(asked.options))
    return cd.open_table(asked.place("clipdata.lance"), storage=storage)


def add_prepared(table: cd.Table) -> None:
    """Map a column of each kind of prepared pixels."""
    for kind, column in PREPARED.items():
        cd.map_column(table, cd.steps.PreparedPixels(PREPARE, kind), column)


def _batches(asked: Asked, number: int, prepare: Preparation, prepared: bool | str) -> Iterator[dict[str, Any]]:
    stream = cd.Stream(
        open_table(asked), ["image"], batch_size=asked.batch_size, prepare=prepare, prepared=prepared, epoch=number
    )
    yield from load(stream, asked.workers)


def _stream(
    fidelity: Fidelity, *, prepared: bool | str = False, normalised: bool = False
) -> Callable[[Asked, int], Iterable[torch.Tensor]]:
    def epoch(asked: Asked, number: int) -> Iterator[torch.Tensor]:
        prepare = PREPARE.with_fidelity(fidelity)
        for batch in _batches(asked, number, prepare, prepared):
            yield prepare.normalise(batch["image"]) if normalised else batch["image"]

    return epoch


def _encoded(asked: Asked) -> Iterator[bytes]:
    """Each picture's bytes, again and again: read once, so that a bare loop reads nothing."""
    paths = sorted((asked.folder / "pictures").rglob("*.jpg"))
    order = np.random.default_rng(0).permutation(len(paths))[: 8 * asked.batch_size]
    return itertools.cycle([paths[place].read_bytes() for place in order])


def _bare(into: Callable[[bytes, np.ndarray], None]) -> Callable[[Asked, int], Iterable[torch.Tensor]]:
    def epoch(asked: Asked, number: int) -> Iterator[torch.Tensor]:  # noqa: ARG001
        encoded = _encoded(asked)
        batch_BHWC = np.empty((asked.batch_size, SIZE, SIZE, 3), np.uint8)
        for _ in range(8):
            for slot_HWC in batch_BHWC:
                into(next(encoded), slot_HWC)
            yield torch.from_numpy(batch_BHWC).permute(0, 3, 1, 2)

    return epoch


def _torch_into(data: bytes, slot_HWC: np.ndarray) -> None:
    import simplejpeg

    pixels_HWC = simplejpeg.decode_jpeg(data)
    scale = SIZE / min(pixels_HWC.shape[:2])
    size = [SIZE if side == min(pixels_HWC.shape[:2]) else int(side * scale) for side in pixels_HWC.shape[:2]]
    source_BCHW = torch.from_numpy(pixels_HWC).permute(2, 0, 1)[None]
    resized = torch.nn.functional.interpolate(source_BCHW, size=size, mode="bicubic", antialias=True)[0]
    top, left = (round((side - SIZE) / 2) for side in size)
    torch.from_numpy(slot_HWC).copy_(resized[:, top : top + SIZE, left : left + SIZE].permute(1, 2, 0))


class _CropBox:
    """fast_image_resize on the part of the picture that the crop keeps."""

    def __init__(self) -> None:
        import cykooz_resizer as fir

        self._fir, self._resizer = fir, fir.Resizer()
        self._resized = fir.ImageData(SIZE, SIZE, fir.PixelType.U8x3)

    def __call__(self, data: bytes, slot_HWC: np.ndarray) -> None:
        import simplejpeg

        fir, pixels_HWC = self._fir, simplejpeg.decode_jpeg(data)
        height, width = pixels_HWC.shape[:2]
        side = min(height, width)
        new = [int(SIZE * have / side) for have in (height, width)]
        top, left = (round((made - SIZE) / 2) * have / made for made, have in zip(new, (height, width), strict=True))
        box = fir.CropBox(left, top, SIZE * width / new[1], SIZE * height / new[0])
        how = fir.ResizeAlg.convolution(fir.FilterType.catmull_rom)
        options = fir.ResizeOptions(resize_alg=how, crop_box=box)
        source = fir.ImageData(width, height, fir.PixelType.U8x3, pixels_HWC.tobytes())
        self._resizer.resize(source, self._resized, options)
        slot_HWC[:] = np.frombuffer(self._resized.get_buffer(), np.uint8).reshape(SIZE, SIZE, 3)


def _bare_crop_box(asked: Asked, number: int) -> Iterable[torch.Tensor]:
    return _bare(_CropBox())(asked, number)


def level_error(
    asked: Asked, prepare: Preparation, prepared: bool | str, exact: Callable[[Any], torch.Tensor] | None = None
) -> dict[str, float]:
    """Levels that the first pictures differ by from `exact`, by default open_clip's transform: mean, 99th, most."""
    from benchmarks.stream.peers import transform

    batch = next(_batches(asked, 0, prepare, prepared))
    exact = exact or transform()
    encoded = open_table(asked).take(batch["offsets"].numpy(), ["image"])["image"].to_pylist()
    wanted_BCHW = torch.stack([exact(Image.open(io.BytesIO(data)).convert("RGB")) for data in encoded])
    off = (batch["image"].to(torch.int16) - wanted_BCHW.to(torch.int16)).abs().numpy()
    return {"mean": float(off.mean()), "p99": float(np.percentile(off, 99)), "most": float(off.max())}


def _side(name: str, settings: str, fidelity: Fidelity, *, prepared: bool | str = False, **more: Any) -> Side:
    error = partial(level_error, prepare=PREPARE.with_fidelity(fidelity), prepared=prepared)
    epoch = _stream(fidelity, prepared=prepared)
    return Side(name, "clipdata", "clipdata.lance", settings, epoch, error=error, **more)


SIDES = (
    Side(
        "bare-torch",
        "simplejpeg",
        "pictures",
        "simplejpeg and torch's antialiased uint8 resize in one thread: bytes in memory, one batch used again",
        _bare(_torch_into),
        max_workers=0,
    ),
    Side(
        "bare-crop-box",
        "cykooz-resizer",
        "pictures",
        "simplejpeg and fast_image_resize of the crop box alone, likewise",
        _bare_crop_box,
        max_workers=0,
    ),
    _side(
        "clipdata-fast",
        'Stream(table, ["image"], batch_size=64, prepare=prepare.with_fidelity("fast")), load(stream, n)',
        "fast",
        in_buckets=True,
    ),
    _side("clipdata-scaled", 'the same, with_fidelity("scaled")', "scaled", max_workers=0),
    _side("clipdata-exact", 'the same, with_fidelity("exact")', "exact", max_workers=0),
    _side("clipdata-prepared-raw", "the same of a raw column of map prepared-pixels", "fast", prepared=PREPARED["raw"]),
    _side("clipdata-prepared-jpeg", "the same of its JPEG column", "fast", prepared=PREPARED["jpeg"]),
    Side(
        "clipdata-fast-floats",
        "clipdata",
        "clipdata.lance",
        '"fast", and prepare.normalise(batch) on the CPU',
        _stream("fast", normalised=True),
        max_workers=0,
    ),
)


class DecodeRows:
    """A transform for LanceDB's StreamingDataset: this project's decoder at "fast", in each of its own threads.

    Its rows are uint8 [224, 224, 3], the layout of the decoder's memory, so that they are collated in one go.
    """

    def __init__(self) -> None:
        self._prepare = PREPARE.with_fidelity("fast")
        self._own = threading.local()

    def __call__(self, batch: Any) -> list[torch.Tensor]:
        if not hasattr(self._own, "decoder"):
            self._own.decoder = ImageDecoder(self._prepare, num_threads=1)
        return list(
            self._own.decoder.batch(pa.chunked_array([batch.column("image")]), {}).image_BCHW.permute(0, 2, 3, 1)
        )

    def __getstate__(self) -> dict[str, Any]:
        return {"_prepare": self._prepare}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _own=threading.local())
