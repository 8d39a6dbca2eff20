"""How near the stream comes to decoding and resizing alone: pictures per second of processor time, in turns.

    python -m benchmarks.stream.ceiling [--pictures 256] [--turns 5] [--sizes 500x375 1000x750 2000x1500]

    bare      the same decoder and the same resizer, called in a loop over bytes that are in memory: no header is read
              twice, nothing is checked, every picture goes to the same memory
    decoding  what the stream does with the bytes of a batch: equal ones found, limits and damage looked for, each
              picture in its slot
    stream    `clipdata.Stream` over a table on the disk: rows drawn and read as well, batches handed out
    plain     the loop as it is mostly written: OpenCV decodes, torch resizes antialiased and the middle is cut out

Each side runs with one decoding thread, and all of the process's time counts, whichever thread spent it. The last lines
of a size say what `fast` and `scaled` pixels are off by, in levels, from open_clip's own transform.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import cykooz_resizer as resizer
import numpy as np
import open_clip
import pyarrow as pa
import simplejpeg
import torch
from PIL import Image

from benchmarks.stream.pictures import photographs, picture
from clipdata.encoder import Preparation
from clipdata.images import decode
from clipdata.lance_io import rows
from clipdata.schema import image_schema
from clipdata.stream import Stream
from clipdata.stream.decode import ImageDecoder

SIDE, BATCH_SIZE = 224, 64
SIDES = ("bare", "decoding", "stream")
EXACT = Preparation((SIDE, SIDE), open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
CUBIC = resizer.ResizeAlg.convolution(resizer.FilterType.catmull_rom)


def crop(height: int, width: int) -> tuple[int, int, int, int]:
    """Height and width after resizing, top and left of the middle. Source: open_clip 3.3 transform.py."""
    long = int(SIDE * max(height, width) / min(height, width))
    resized = (SIDE, long) if height <= width else (long, SIDE)
    return *resized, round((resized[0] - SIDE) / 2.0), round((resized[1] - SIDE) / 2.0)


def bare(blobs: Sequence[bytes], scaled: bool) -> None:
    """Decode and resize, straight."""
    canvas = np.empty(4 * 2**22, np.uint8)
    shrink = resizer.Resizer()
    made_HW4, out_HWC = np.empty((SIDE, SIDE, 4), np.uint8), np.empty((SIDE, SIDE, 3), np.uint8)
    made = Image.frombuffer("CMYK", (SIDE, SIDE), made_HW4, "raw", "CMYK", 0, 1)
    for blob in blobs:
        height, width, _, _ = simplejpeg.decode_jpeg_header(blob) if scaled else (0, 0, "", "")
        by = EXACT.with_fidelity("scaled").fraction(height, width) if scaled else 1
        least = {"min_height": -(-height // by), "min_width": -(-width // by)} if by > 1 else {}
        pixels_HW4 = simplejpeg.decode_jpeg(blob, "RGBX", buffer=canvas, **least)
        height, width = pixels_HW4.shape[:2]
        tall, wide, top, left = crop(height, width)
        box = resizer.CropBox(left * width / wide, top * height / tall, SIDE * width / wide, SIDE * height / tall)
        source = Image.frombuffer("CMYK", (width, height), pixels_HW4, "raw", "CMYK", 0, 1)
        shrink.resize_pil(source, made, resizer.ResizeOptions(resize_alg=CUBIC, crop_box=box))
        cv2.cvtColor(made_HW4, cv2.COLOR_RGBA2RGB, dst=out_HWC)


def plain(blobs: Sequence[bytes]) -> None:
    """Decode and resize with what most loaders use."""
    for blob in blobs:
        pixels_HWC = cv2.imdecode(np.frombuffer(blob, np.uint8), cv2.IMREAD_COLOR_RGB)
        tall, wide, top, left = crop(*pixels_HWC.shape[:2])
        image_BCHW = torch.from_numpy(pixels_HWC).permute(2, 0, 1)[None]
        image_BCHW = torch.nn.functional.interpolate(image_BCHW, (tall, wide), mode="bicubic", antialias=True)
        image_BCHW[0, :, top : top + SIDE, left : left + SIDE].contiguous()


def decoding(column: pa.Array, decoder: ImageDecoder) -> None:
    """Decode batch by batch, as the stream does."""
    for start in range(0, len(column), BATCH_SIZE):
        assert not decoder.batch(column[start : start + BATCH_SIZE], {}).refused


def in_turns(sides: dict[str, Callable[[], object]], num: int, turns: int) -> dict[str, list[float]]:
    """Pictures per second of processor time of each side, a value a turn."""
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(-1, turns):  # the first one warms up
        for name, run in sides.items():
            begun = time.process_time()
            run()
            if turn >= 0:
                rates[name].append(num / (time.process_time() - begun))
    return rates


def say_error(blobs: Sequence[bytes]) -> None:
    """Print what fast and scaled pixels are off by."""
    transform = open_clip.image_transform(SIDE, is_train=False)
    for fidelity in ("fast", "scaled"):
        decoder = ImageDecoder(EXACT.with_fidelity(fidelity), num_threads=1)  # type: ignore[arg-type]
        off = []
        for image_CHW, blob in zip(decoder.batch(pa.array(blobs), {}).image_BCHW, blobs, strict=True):
            picture = Image.fromarray(decode(blob))
            for part in transform.transforms[:-2]:  # ToTensor and Normalize
                picture = part(picture)
            off.append(np.abs(image_CHW.permute(1, 2, 0).numpy().astype(int) - np.asarray(picture)))
        off_N = np.concatenate([levels.ravel() for levels in off])
        mean, high = off_N.mean(), np.percentile(off_N, 99)
        print(f"  {fidelity} is off by {mean:.3f} levels on average, {high:.0f} at the 99th percentile")


def measure(size: tuple[int, int], num: int, turns: int, folder: Path) -> None:
    """Print rates, ratios and errors at one size."""
    sources = photographs(("sklearn",))
    blobs = [picture(number, size, sources) for number in range(num)]
    column = pa.array(blobs, pa.large_binary())
    table = rows.create_table(folder / f"{size[0]}.lance", image_schema())
    rows.upsert(table, pa.table({"path": [f"{number:06}" for number in range(num)], "image": column}))
    sides: dict[str, Callable[[], object]] = {"plain": lambda: plain(blobs)}
    for fidelity in ("fast", "scaled"):
        prepare = EXACT.with_fidelity(fidelity)  # type: ignore[arg-type]
        decoder = ImageDecoder(prepare, num_threads=1)
        stream = Stream(
            table.latest(),
            ["image"],
            batch_size=BATCH_SIZE,
            prepare=prepare,
            num_threads=1,
            rank=0,
            world_size=1,
            drop_last=False,
        )
        sides |= {
            f"bare {fidelity}": lambda scaled=fidelity == "scaled": bare(blobs, scaled),
            f"decoding {fidelity}": lambda decoder=decoder: decoding(column, decoder),
            f"stream {fidelity}": lambda stream=stream: sum(len(batch["offsets"]) for batch in stream),
        }
    rates = in_turns(sides, num, turns)
    median = {name: statistics.median(values) for name, values in rates.items()}
    print(f"{size[0]} x {size[1]}, {sum(map(len, blobs)) / num / 1000:.0f} KB each")
    for name, values in rates.items():
        side, _, fidelity = name.partition(" ")
        of_bare = f"  {median[name] / median[f'bare {fidelity}']:.2f} of bare" if side in SIDES else " " * 15
        spread = f"{min(values):.0f} to {max(values):.0f}"
        of_plain = f"{median[name] / median['plain']:.2f} of plain"
        print(f"  {name:16} {median[name]:7.1f} a CPU-second ({spread}){of_bare}  {of_plain}")
    say_error(blobs[:32])


def main() -> None:
    """Print a block a size."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--pictures", type=int, default=256)
    words.add_argument("--turns", type=int, default=5)
    words.add_argument("--sizes", nargs="+", default=["500x375", "1000x750", "2000x1500"])
    given = words.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start, {given.turns} turns", flush=True)
    for named in given.sizes:
        width, height = map(int, named.split("x"))
        num = max(BATCH_SIZE, given.pictures * 500 * 375 // (width * height))
        with tempfile.TemporaryDirectory() as folder:
            measure((width, height), num, given.turns, Path(folder))


if __name__ == "__main__":
    main()
