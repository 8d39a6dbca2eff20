"""Gradient cache beside the whole batch: seconds of a step, memory at its peak, and how far apart gradients are.

    python -m benchmarks.gradient_cache                                  64, 512 and 4,096 rows of a small ViT
    python -m benchmarks.gradient_cache --model ViT-B-32 --rows 64       a model of open_clip with random weights
    python -m benchmarks.gradient_cache --rows 64 512 --chunk 16 --device cuda

Every figure of memory is a process of its own that takes one step; times are medians of `--repeats` steps, of which
both sides take turns in one process. A whole batch whose estimate is over the memory that is free is left out, and that
is said. The objective is contrastive, over the whole batch, with all weights trained.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

from benchmarks.memory_estimate import forget_peak, noise_batch, peak_bytes, random_encoder, resident_bytes

SMALL = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": 64, "layers": 4, "width": 128, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 128, "heads": 4, "layers": 4},
}


def main() -> None:
    """Print a table of both sides."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--model", default="small")
    words.add_argument("--rows", type=int, nargs="+", default=[64, 512, 4096])
    words.add_argument("--chunk", type=int, default=32)
    words.add_argument("--repeats", type=int, default=3)
    words.add_argument("--device", default="cpu")
    words.add_argument("--part", help=argparse.SUPPRESS)
    given = words.parse_args()
    if given.part is not None:
        name, rows, chunk = json.loads(given.part)
        part = {"memory": _memory, "both": _both, "fits": _fits}[name]
        print(json.dumps(part(given, rows, chunk)))
        return
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start; {given.model} on {given.device}")
    print("| rows | chunk | cached, s | whole, s | cached / whole | cached, GB | whole, GB | furthest gradient |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for rows in given.rows:
        print(_row(given, rows), flush=True)


def _row(given: argparse.Namespace, rows: int) -> str:
    def part(name: str, chunk: int) -> Any:
        asked = json.dumps([name, rows, chunk])
        command = [sys.executable, "-m", "benchmarks.gradient_cache", *sys.argv[1:], "--part", asked]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        return json.loads(done.stdout.splitlines()[-1])

    cached_bytes = part("memory", given.chunk)
    if not part("fits", 0):
        cached_s = part("both", -given.chunk)["cached"]
        return f"| {rows:,} | {given.chunk} | {cached_s:.2f} | does not fit | | {cached_bytes / 1e9:.2f} | | |"
    whole_bytes, both = part("memory", 0), part("both", given.chunk)
    ratios = [cached / whole for cached, whole in zip(both["cached_s"], both["whole_s"], strict=True)]
    ratio = f"{statistics.median(ratios):.2f} [{min(ratios):.2f}–{max(ratios):.2f}]"
    sizes = f"{cached_bytes / 1e9:.2f} | {whole_bytes / 1e9:.2f}"
    times = f"{both['cached']:.2f} | {both['whole']:.2f}"
    return f"| {rows:,} | {given.chunk} | {times} | {ratio} | {sizes} | {both['furthest']:.1e} |"


def _learner(given: argparse.Namespace, rows: int, chunk: int) -> tuple[Any, dict[str, Any]]:
    import torch

    from clipdata.encoder import new_encoder
    from clipdata.training.config import TrainConfig
    from clipdata.training.learner import Learner
    from clipdata.training.objectives import Contrastive

    torch.manual_seed(0)
    if given.model == "small":
        encoder = new_encoder(SMALL, seed=0, name="small", device=given.device)
    else:
        encoder = random_encoder(given.model, given.device)
    config = TrainConfig(
        objective=Contrastive("caption"), train="all", grad_cache_chunk=chunk, evaluate_where=None, batch_size=rows
    )
    return Learner(encoder, config, rows), noise_batch(encoder, rows)


def _memory(given: argparse.Namespace, rows: int, chunk: int) -> int:
    """Bytes of a step at its peak beyond what is held before: features, activations, gradients and optimizer."""
    learner, batch = _learner(given, rows, chunk)
    gc.collect()
    before = resident_bytes(given.device)
    forget_peak(given.device)
    learner.step([batch], 1.0)
    return peak_bytes(given.device) - before


def _fits(given: argparse.Namespace, rows: int, _chunk: int) -> bool:
    from clipdata.training.memory import measure
    from clipdata.training.memory_outlook import free_on

    learner, batch = _learner(given, rows, 0)
    need, free = measure(learner, batch, learner.model, evaluates=False).need(0), free_on(learner.device)
    return free is None or need.to_come < 0.8 * free


def _both(given: argparse.Namespace, rows: int, chunk: int) -> dict[str, Any]:
    """Times of both sides in turns, and how far their gradients are apart; of the cache alone for a negative chunk."""
    import torch

    from clipdata.training.cached_gradients import InChunks
    from clipdata.training.gradients import Gradients, WholeBatch
    from clipdata.training.processes import Processes

    learner, batch = _learner(given, rows, abs(chunk))
    sides = {"cached": InChunks(learner.forward, learner.autocast, abs(chunk))}
    sides |= {"whole": WholeBatch(learner.forward, learner.autocast)} if chunk > 0 else {}
    times: dict[str, list[float]] = {side: [] for side in sides}
    found: dict[str, dict[str, torch.Tensor]] = {}
    for turn in range(given.repeats + 1):
        for side, passes in sides.items():
            gradients = Gradients(passes, learner.config.objective, scale=lambda loss: loss, processes=Processes())
            learner.model.zero_grad(set_to_none=True)
            started_s = time.perf_counter()
            gradients.of([batch], learner.device)
            if given.device != "cpu":
                torch.cuda.synchronize()
            if turn:  # the first warms up
                times[side].append(time.perf_counter() - started_s)
            if turn == given.repeats:
                found[side] = {n: p.grad.clone() for n, p in learner.model.named_parameters() if p.grad is not None}
    told: dict[str, Any] = {side: statistics.median(all_s) for side, all_s in times.items()}
    told |= {f"{side}_s": all_s for side, all_s in times.items()}
    return told | ({"furthest": _furthest(found["cached"], found["whole"])} if chunk > 0 else {})


def _furthest(found: dict[str, Any], expected: dict[str, Any]) -> float:
    """Largest distance of a weight's gradients over their length; those that are 0 but for rounding left out."""
    longest = max(float(gradient.norm()) for gradient in expected.values())
    return max(
        float((found[name] - gradient).norm() / gradient.norm())
        for name, gradient in expected.items()
        if gradient.norm() > 1e-4 * longest
    )


if __name__ == "__main__":
    main()
