"""What each kind of prepared column costs and gains, measured on a few of a table's own pictures.

The three ways in which a stream comes by pixels: read and decode the original, read raw levels, read and decode a JPEG
of the model's size. Seconds are those of the CPU. It knows pictures and a small table of its own.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pyarrow as pa

from clipdata.errors import ImageRefused
from clipdata.images.batches import distinct_images
from clipdata.images.pixels import decode
from clipdata.lance_io import rows
from clipdata.lance_io.table import Table
from clipdata.plurals import counted
from clipdata.schema import key_field

if TYPE_CHECKING:
    from clipdata.encoder.prepared_column import PreparedColumn

SAMPLE = 16
_TIMES = 3
_ROWS_AT_ONCE = 64
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


@dataclass(frozen=True)
class PreparedChoice:
    """Both kinds beside each other.

    Args:
        num_pictures: measured.
        raw_bytes: of a raw picture.
        jpeg_bytes: of a JPEG, on average.
        raw_gain: CPU seconds of reading, decoding and preparing an original, by those of reading raw levels.
        jpeg_gain: the same by those of reading and decoding a JPEG of the model's size.
        jpeg_error: mean difference of its levels, on the scale to 255.
        chosen: "raw" or "jpeg".
    """

    num_pictures: int
    raw_bytes: int
    jpeg_bytes: int
    raw_gain: float
    jpeg_gain: float
    jpeg_error: float
    chosen: str

    @classmethod
    def of(cls, images: pa.Array, stored: PreparedColumn, quality: int) -> PreparedChoice | None:
        """Measure on the first pictures of a batch; None where none of them decodes.

        Args:
            images: binary [B].
            stored: what the column will hold.
            quality: of a JPEG.
        """
        originals, levels, encoded = [], [], []
        for data in distinct_images(images[: 4 * SAMPLE]).encoded[:SAMPLE]:
            try:
                levels.append(stored.preparation(decode(memoryview(data))).permute(1, 2, 0).numpy())
            except ImageRefused:
                continue
            originals.append(data.to_pybytes())
            encoded.append(encode_jpeg(levels[-1], quality))
        if not levels:
            return None
        pairs = zip(encoded, levels, strict=True)
        error = np.mean([np.abs(decode(one) - other.astype(np.int16)).mean() for one, other in pairs])
        path_s, raw_s, jpeg_s = _row_seconds(stored, originals, levels, encoded)
        mean_bytes = round(sum(map(len, encoded)) / len(encoded))
        return cls(
            num_pictures=len(levels),
            raw_bytes=stored.num_levels,
            jpeg_bytes=mean_bytes,
            raw_gain=path_s / raw_s,
            jpeg_gain=path_s / jpeg_s,
            jpeg_error=float(error),
            chosen=stored.kind,
        )

    def notes(self, num_rows: int) -> Mapping[str, Any]:
        """A line for each kind, with what so many rows take."""
        raw = f"{_sized(self.raw_bytes, num_rows)}, about {self.raw_gain:.3g}× the rate of the originals, exact"
        jpeg = (
            f"{_sized(self.jpeg_bytes, num_rows)}, about {self.jpeg_gain:.2g}×, mean error {self.jpeg_error:.2g} levels"
        )
        marks = {kind: " (chosen)" if kind == self.chosen else "" for kind in ("raw", "jpeg")}
        return {f"raw{marks['raw']}": raw, f"jpeg{marks['jpeg']}": jpeg}


def encode_jpeg(levels_HWC: np.ndarray, quality: int) -> bytes:
    """A JPEG of uint8 RGB [H, W, 3], with colours at half size (4:2:0)."""
    done, data = cv2.imencode(".jpg", cv2.cvtColor(levels_HWC, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done, "uint8 RGB can be encoded"
    return bytes(data)


def _row_seconds(
    stored: PreparedColumn, originals: Sequence[bytes], levels: Sequence[np.ndarray], jpeg: Sequence[bytes]
) -> list[float]:
    """CPU seconds of one row from its original, raw levels and a JPEG: read from a small table as the stream reads."""
    fast, out_HWC = stored.preparation.with_fidelity("fast"), np.empty_like(levels[0])
    with tempfile.TemporaryDirectory(prefix="clipdata-") as folder:
        table = _small_table(Path(folder), stored, originals, levels, jpeg)
        offsets = np.arange(table.num_rows)
        read = _timed(*(lambda name=name: table.take(offsets, [name]) for name in ("original", "raw", "jpeg")))

    def put(levels: Iterable[np.ndarray]) -> None:
        for levels_HWC in levels:
            out_HWC[...] = levels_HWC

    made = _timed(
        lambda: [fast(decode(data)) for data in originals],
        lambda: put(levels),
        lambda: put(decode(data) for data in jpeg),
    )
    return [read_s / len(offsets) + made_s / len(levels) for read_s, made_s in zip(read, made, strict=True)]


def _small_table(
    folder: Path,
    stored: PreparedColumn,
    originals: Sequence[bytes],
    levels: Sequence[np.ndarray],
    jpeg: Sequence[bytes],
) -> Table:
    """At least as many rows as are read at once, or what a read costs by itself would seem to be the rows' own."""
    times = range(-(-_ROWS_AT_ONCE // len(levels)))
    values = pa.array(np.concatenate([one.reshape(-1) for _ in times for one in levels]))
    # Equal bytes Lance would keep once.
    columns = {
        "original": pa.array([one + bytes([time]) for time in times for one in originals], pa.large_binary()),
        "raw": pa.FixedSizeListArray.from_arrays(values, stored.num_levels),
        "jpeg": pa.array([one + bytes([time]) for time in times for one in jpeg], pa.binary()),
    }
    schema = pa.schema([key_field("key"), *(pa.field(name, one.type) for name, one in columns.items())])
    table = rows.create_table(folder / "sample.lance", schema)
    keys = pa.array([str(number) for number in range(len(columns["raw"]))])
    rows.upsert(table, pa.table([keys, *columns.values()], schema=schema))
    return table.latest()


def _timed(*ways: Callable[[], object]) -> list[float]:
    """CPU seconds of each, in turns, the first of which does not count."""
    took: list[list[float]] = [[] for _ in ways]
    for _ in range(_TIMES + 1):
        for way, seconds in zip(ways, took, strict=True):
            started_s = time.process_time()
            way()
            seconds.append(max(time.process_time() - started_s, 1e-9))
    return [median(seconds[1:]) for seconds in took]


def _sized(num_bytes: int, num_rows: int) -> str:
    total, unit = float(num_bytes * num_rows), 0
    while total >= 1024 and unit < len(_UNITS) - 1:
        total, unit = total / 1024, unit + 1
    return f"{counted(num_bytes, 'byte')} a picture ({total:.3g} {_UNITS[unit]} for {counted(num_rows, 'row')})"
