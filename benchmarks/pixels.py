"""What do exact pixels cost? Pictures a second at both fidelities: decoded and prepared, and in a whole map.

    python benchmarks/pixels.py [--pictures 300] [--repeats 3] [--width 500 --height 375]

    prepare   JPEG bytes to a model's uint8 input, in the threads that a map step uses
    map       `map_column(ImageEmbedding)` of the starter model: reads, decodes, encodes, commits

The two fidelities take turns. `fast` is a box resize of 16 bits, `exact` is Pillow's, level for level. The last lines
say what fast pixels are off by, in levels and in probabilities at scale 100.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from PIL import Image

import clipdata as cd
from clipdata.cores import num_cores
from clipdata.encoder import Encoder
from clipdata.images.batches import decode_batch
from clipdata.lance_io import rows
from clipdata.lance_io.table import Table
from clipdata.schema import image_schema
from pipelines import sample

FIDELITIES = ("fast", "exact")
CHOICES = ["a dog", "a red car in the street", "fruit on a plate", "a person who laughs", "an aeroplane"]


def photographs(num: int, size: tuple[int, int]) -> list[bytes]:
    """JPEGs with the structure of photographs: a picture of the sample on a noisy ground, each another one."""
    chosen = sorted(sample.images_path().rglob("*.png"))
    rng, made = np.random.default_rng(0), []
    for number in range(num):
        drawn = Image.open(chosen[number * len(chosen) // num]).convert("RGBA").resize(size)
        coarse = Image.fromarray(rng.integers(0, 256, (size[1] // 6, size[0] // 6, 3), dtype=np.uint8))
        sink = io.BytesIO()
        laid = Image.alpha_composite(coarse.resize(size, Image.Resampling.BICUBIC).convert("RGBA"), drawn)
        laid.convert("RGB").save(sink, "JPEG", quality=90)
        made.append(sink.getvalue())
    return made


def in_turns(sides: dict[str, Callable[[], object]], num: int, repeats: int) -> dict[str, float]:
    """Median pictures a second of each side."""
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, run in sides.items():
            started = time.perf_counter()
            run()
            rates[name].append(num / (time.perf_counter() - started))
    return {name: statistics.median(values) for name, values in rates.items()}


def say(what: str, rates: dict[str, float]) -> None:
    """Print both rates and their ratio."""
    print(
        f"{what:8}  fast {rates['fast']:7.1f}/s   exact {rates['exact']:7.1f}/s   "
        f"exact is {rates['exact'] / rates['fast']:.2f} of fast",
        flush=True,
    )


def embed(table: Table, encoder: Encoder, fidelity: str) -> None:
    """Map the whole table anew."""
    encoder.prepare = encoder.prepare.with_fidelity(fidelity)  # type: ignore[arg-type]
    cd.map_column(table.latest(), cd.steps.ImageEmbedding(encoder), "embedding", overwrite=True)


def say_error(encoder: Encoder, blobs: Sequence[bytes], pool: ThreadPoolExecutor) -> None:
    """Print what fast pixels are off by."""
    made, scores = [], []
    for fidelity in FIDELITIES:
        prepare = encoder.prepare.with_fidelity(fidelity)  # type: ignore[arg-type]
        image_BCHW = torch.stack(list(decode_batch(pa.array(blobs), prepare, pool).pixels))
        made.append(image_BCHW.int())
        logits_BC = 100 * encoder.encode_images(image_BCHW) @ encoder.encode_texts(CHOICES).T
        scores.append(logits_BC.softmax(dim=-1))
    off = (made[0] - made[1]).abs()
    print(f"fast is off by a level on {float((off > 0).float().mean()):.3%} of the values, by {int(off.max())} at most")
    print(f"and by {float((scores[0] - scores[1]).abs().max()):.4f} at most in probabilities at scale 100")


def main() -> None:
    """Print rates, ratios and errors."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--pictures", type=int, default=300)
    words.add_argument("--repeats", type=int, default=3)
    words.add_argument("--width", type=int, default=500)
    words.add_argument("--height", type=int, default=375)
    given = words.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start; {given.width} x {given.height} JPEGs")
    blobs = photographs(given.pictures, (given.width, given.height))
    encoder = cd.load_encoder("starter", device="cpu")
    column = pa.array(blobs, pa.large_binary())
    with ThreadPoolExecutor(num_cores()) as pool, tempfile.TemporaryDirectory() as folder:
        prepares = {name: encoder.prepare.with_fidelity(name) for name in FIDELITIES}  # type: ignore[arg-type]
        decode_batch(column[:16], prepares["exact"], pool)
        sides = {
            name: lambda prepare=prepare: decode_batch(column, prepare, pool) for name, prepare in prepares.items()
        }
        say("prepare", in_turns(sides, given.pictures, given.repeats))
        table = rows.create_table(Path(folder) / "pictures.lance", image_schema())
        rows.upsert(table, pa.table({"path": [f"{n:06}" for n in range(len(blobs))], "image": column}))
        embed(table, encoder, "exact")
        maps = {name: lambda name=name: embed(table, encoder, name) for name in FIDELITIES}
        say("map", in_turns(maps, given.pictures, given.repeats))
        say_error(encoder, blobs[:100], pool)


if __name__ == "__main__":
    main()
