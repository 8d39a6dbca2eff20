"""Rows a second of a training on a GPU, by model, precision and where the pixels come from, and how long it waits.

    python benchmarks/gpu_training.py [--rows 8192] [--batch 256] [--steps 40] [--models ViT-B-32 RN50] [--work DIR]

All weights of open_clip's architectures train from random ones on pairs of photographs and captions: what the weights
are does not change what a step costs. Each training is one call of `clipdata.train` in this process; the rate and the
part of the time that the model waited are those that the run itself records, behind the first batch. A line for each
precision and source in turns, `--repeats` times, then the ratios of the medians. The ceiling beside them is a bare loop
of the same model on one batch that stays on the device, with texts as long as the context.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

import clipdata as cd
from benchmarks.stream.pictures import photographs, write_pictures, written
from clipdata.encoder.model import Encoder
from clipdata.lance_io import rows
from clipdata.schema import image_schema
from clipdata.training.config import TrainConfig
from clipdata.training.losses import contrastive_loss

_WORDS = ("red", "old", "small", "bright", "dog", "house", "street", "tree", "boat", "hill")


def make_table(folder: Path, num: int, size: tuple[int, int]) -> cd.Table:
    """Photographs with a caption each, written unless they are there."""
    caption = pa.field("caption", pa.string())
    table = rows.create_table(folder / f"photographs-{size[0]}.lance", image_schema().append(caption))
    if not table.num_rows:
        packages = [name for name in ("sklearn", "skimage") if find_spec(name)]
        write_pictures(folder / f"pictures-{size[0]}", num, size, photographs(packages))
        data = [path.read_bytes() for path, _ in written(folder / f"pictures-{size[0]}")]
        words = itertools.islice(itertools.cycle(itertools.product(_WORDS, repeat=5)), len(data))
        columns = {
            "path": [f"{n:06d}.jpg" for n in range(len(data))],
            "image": data,
            "bytes": list(map(len, data)),
            "caption": [" ".join(five) for five in words],
        }
        rows.upsert(table, pa.table(columns))
    return cd.open_table(table.uri)


def add_prepared(table: cd.Table, encoder: Encoder, column: str) -> cd.Table:
    """Store the pixels of the model's own size once."""
    if column not in table.schema.names:
        print(cd.map_column(table, cd.steps.PreparedPixels(encoder), column), flush=True)
    return cd.open_table(table.uri)


def trained(table: cd.Table, encoder: Encoder, options: argparse.Namespace, **settings: Any) -> dict[str, Any]:
    """One training's own record of its pace."""
    config = TrainConfig.from_json(
        {
            "objective": {"kind": "contrastive", "text": "caption", "same": "negatives"},
            "train": "all",
            "lr": 1e-5,
            "batch_size": options.batch,
            "steps": options.steps,
            "checkpoint_every_steps": 0,
            "evaluate_where": None,
            "canary": False,
            "num_workers": options.workers,
            **settings,
        }
    )
    folder = Path(tempfile.mkdtemp())
    try:
        if encoder.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        run = cd.train(table, encoder, config, out=folder / "run")
        pace = json.loads((run.path / "summary.json").read_text())["pace"]
        peak = torch.cuda.max_memory_allocated() / 2**30 if encoder.device.type == "cuda" else 0.0
        return {**pace, "peak_gib": peak}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def bare(encoder: Encoder, options: argparse.Namespace, precision: str) -> float:
    """Rows a second of forward, backward and AdamW on a batch that stays on the device."""
    from copy import deepcopy

    model = deepcopy(encoder.model).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    image_BCHW = torch.randn(options.batch, 3, *encoder.prepare.size, device=encoder.device)
    tokens_BL = encoder.tokenize([f"photograph {n} of a red house" for n in range(options.batch)]).to(encoder.device)
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)

    def step() -> None:
        with torch.autocast(encoder.device.type, dtype=dtype, enabled=dtype is not None):
            image_BD, text_BD, scale = model(image_BCHW, tokens_BL)[:3]
        contrastive_loss(image_BD.float(), text_BD.float(), scale).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).item()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    for _ in range(3):
        step()
    begun = time.perf_counter()
    for _ in range(options.steps):
        step()
    if encoder.device.type == "cuda":
        torch.cuda.synchronize()
    return options.batch * options.steps / (time.perf_counter() - begun)


def sides(options: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    """What is measured of each model."""
    for precision in options.precisions:
        yield f"{precision}, prepared pixels", {"precision": precision, "prepared": "pixels"}
        yield f"{precision}, JPEGs", {"precision": precision, "prepared": None}


def main() -> None:
    """Print each repeat, then the medians with their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=8192)
    parser.add_argument("--size", type=int, nargs=2, default=(500, 375))
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--models", nargs="+", default=["ViT-B-32", "RN50"])
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--device", default=None)
    parser.add_argument("--work", type=Path, default=Path("gpu-training"))
    options = parser.parse_args()
    begun = time.perf_counter()
    table = make_table(options.work, options.rows, tuple(options.size))
    print(f"{len(table):,} photographs of {options.size[0]}×{options.size[1]}, {time.perf_counter() - begun:.0f} s")
    for name in options.models:
        encoder = cd.new_encoder(name, device=options.device)
        table = add_prepared(table, encoder, "pixels")
        found: dict[str, list[dict[str, Any]]] = {}
        for repeat in range(options.repeats):
            for precision in options.precisions:
                rate = bare(encoder, options, precision)
                found.setdefault(f"{precision}, bare loop", []).append({"rows_s": rate, "wait": 0.0, "peak_gib": 0.0})
            for side, settings in sides(options):
                found.setdefault(side, []).append(trained(table, encoder, options, **settings))
            print(f"{name}, repeat {repeat + 1}: {time.perf_counter() - begun:.0f} s", flush=True)
        tell(name, found)


def tell(name: str, found: dict[str, list[dict[str, Any]]]) -> None:
    """One line a side: the median rate with its range, what it is of the bare loop, and the waiting share."""
    for side, measured in found.items():
        rates = [one["rows_s"] for one in measured]
        ceiling = statistics.median(one["rows_s"] for one in found[f"{side.partition(',')[0]}, bare loop"])
        waits = statistics.median(one["wait"] for one in measured)
        print(
            f"{name}, {side:<24} {statistics.median(rates):8,.0f} rows/s ({min(rates):,.0f} … {max(rates):,.0f}), "
            f"{statistics.median(rates) / ceiling:.2f} of the bare loop, waits {waits:.1%}, "
            f"peak {max(one['peak_gib'] for one in measured):.1f} GiB"
        )


if __name__ == "__main__":
    main()
