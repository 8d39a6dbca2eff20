"""What the memory estimate of a training says, beside the peak that it has: each case in a process of its own.

    python -m benchmarks.memory_estimate                       all cases
    python -m benchmarks.memory_estimate --only ViT-B-32       those of a model
    python -m benchmarks.memory_estimate --device cuda         on a GPU: what torch allocated

A process makes the model with random weights, takes two steps on noise (the second has the optimizer's state from its
beginning), and says how far its resident memory rose above what it held before (VmHWM). The estimate is made after
that, so that measuring leaves no memory to the steps. The promise is an estimate within 25 % of the peak.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

PROMISED = 0.25
# Largest model last. A case is a model, its rows, and fields of a TrainConfig.
CASES: list[tuple[str, int, dict[str, Any]]] = [
    ("starter", 64, {"train": "projections"}),
    ("starter", 64, {"train": "all"}),
    ("starter", 64, {"train": "all", "grad_cache_chunk": 8}),
    ("RN50", 16, {"train": "all"}),
    ("RN50", 16, {"train": "all", "grad_cache_chunk": 4}),
    ("ViT-B-32", 64, {"train": "projections"}),
    ("ViT-B-32", 16, {"train": "all"}),
    ("ViT-B-32", 16, {"train": "all", "precision": "bf16"}),
    ("ViT-B-32", 16, {"train": "all", "gradient_checkpointing": True}),
    ("ViT-B-32", 64, {"train": "all"}),
    ("ViT-B-32", 64, {"train": "all", "grad_cache_chunk": 8}),
]


def main() -> None:
    """Run each case, and print estimate, peak and their ratio."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--only", default="", help="models whose name holds this")
    words.add_argument("--device", default="cpu")
    words.add_argument("--case", help=argparse.SUPPRESS)
    given = words.parse_args()
    if given.case is not None:
        print(json.dumps(_estimate_and_peak(*json.loads(given.case), device=given.device)))
        return
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start, on {given.device}", flush=True)
    worst = 0.0
    for model, rows, fields in CASES:
        if given.only not in model:
            continue
        case = json.dumps([model, rows, fields])
        command = [sys.executable, "-m", "benchmarks.memory_estimate", "--case", case, "--device", given.device]
        done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
        told = ", ".join(f"{name}={value}" for name, value in fields.items())
        if done.returncode:
            print(f"{model:10} {rows:3} rows, {told}: ended with {done.returncode}", flush=True)
            continue
        estimate, peak = json.loads(done.stdout.splitlines()[-1])
        worst = max(worst, abs(estimate / peak - 1))
        sizes = f"{estimate / 1e9:6.2f} GB estimated, {peak / 1e9:6.2f} GB at its peak: {estimate / peak:5.2f}"
        print(f"{model:10} {rows:3} rows {sizes}  {told}", flush=True)
    print(f"furthest off {worst:.0%}; promised at most {PROMISED:.0%}")


def _estimate_and_peak(model: str, num_rows: int, fields: dict[str, Any], *, device: str) -> tuple[int, int]:

    from clipdata.training.config import TrainConfig
    from clipdata.training.learner import Learner
    from clipdata.training.memory import measure
    from clipdata.training.objectives import Contrastive

    encoder = random_encoder(model, device)
    batch = noise_batch(encoder, num_rows)
    config = TrainConfig(objective=Contrastive("caption"), batch_size=num_rows, evaluate_where=None, **fields)
    gc.collect()
    before = resident_bytes(device)
    forget_peak(device)
    learner = Learner(encoder, config, num_rows)
    if not learner.forward.text_trunk_trains:
        from clipdata.progress import Silent

        learner.forward.encode_once(batch["caption"], Silent())
    for _ in range(2):
        learner.step([batch], 1.0)
    peak = peak_bytes(device) - before
    estimate = measure(learner, batch, encoder.model, evaluates=False).need(config.grad_cache_chunk)
    return estimate.total, peak


def random_encoder(model: str, device: str) -> Any:
    """The starter, or a model of open_clip with random weights."""
    from clipdata.encoder import load_encoder, new_encoder

    if model == "starter":
        return load_encoder("starter", device=device)
    import open_clip

    return new_encoder(open_clip.get_model_config(model), seed=0, name=model, device=device)


def noise_batch(encoder: Any, num_rows: int) -> dict[str, Any]:
    """A batch as a stream makes it: noise, and captions of half the context's length."""
    import torch

    captions = [f"picture {number} of a " + "dog " * (encoder.context_length // 2 - 7) for number in range(num_rows)]
    return {
        "image": torch.randint(0, 256, (num_rows, 3, *encoder.prepare.size), dtype=torch.uint8),
        "caption": captions,
        "tokens": encoder.tokenize(captions),
        "offsets": torch.arange(num_rows),
        "cursor": (0, 1),
    }


def resident_bytes(device: str) -> int:
    """What is held now."""
    if device == "cpu":
        return _status("VmRSS")
    import torch

    return int(torch.cuda.memory_allocated())


def _status(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return 1024 * int(found[1])


def forget_peak(device: str) -> None:
    if device == "cpu":
        Path("/proc/self/clear_refs").write_text("5")
        return
    import torch

    torch.cuda.reset_peak_memory_stats()


def peak_bytes(device: str) -> int:
    """The most that was held since."""
    if device == "cpu":
        return _status("VmHWM")
    import torch

    return int(torch.cuda.max_memory_allocated())


if __name__ == "__main__":
    main()
