"""Several processes that train one model: how far their model is from that of one, what exchanging gradients costs
beside other ways to do it, how much faster steps go, and what a copy in training and an export take of memory.

    python benchmarks/processes.py equality [--worlds 2 4]
    python benchmarks/processes.py exchange [--repeats 3]
    python benchmarks/processes.py steps [--repeats 3]
    python benchmarks/processes.py memory

`equality` trains the small models of tests/ranks.py. The others use a ViT of 22 million parameters with random weights
and pictures. All processes are on this machine, with a thread each, over Gloo.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from clipdata.encoder import Encoder, export, new_encoder
from clipdata.training.config import TrainConfig
from clipdata.training.learner import Learner
from clipdata.training.objectives import ClassPrompts
from clipdata.training.processes import Processes
from clipdata.training.run import Run

EQUAL = ("choice", "contrastive", "siglip", "class_prompts", "soft_target", "bad_pictures", "batchnorm")
MODEL = {
    "embed_dim": 256,
    "vision_cfg": {"image_size": 96, "layers": 6, "width": 384, "head_width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 192, "heads": 3, "layers": 2},
}
LARGE = {**MODEL, "vision_cfg": {**MODEL["vision_cfg"], "layers": 12, "width": 768}}


def torchrun(world: int, *arguments: str) -> str:
    """Run a command in several processes; what they wrote to stdout."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(world)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.run([*launch, *arguments], env=env, check=True, stdout=subprocess.PIPE, text=True).stdout


def equality(worlds: list[int]) -> None:
    """Largest differences from the run of one process."""
    from tests import ranks

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ["TMPDIR"] = temporary
        ranks.make_tables(folder)
        ranks.main(folder, list(EQUAL))
        print(f"{'':14} processes  weights      losses       held-out figures")
        for world in worlds:
            torchrun(world, "-m", "tests.ranks", temporary, *EQUAL)
            for name in EQUAL:
                runs = [folder / f"runs-{number}" / name for number in (world, 1)]
                weights = [load_file(run / "export" / "open_clip_model.safetensors") for run in runs]
                weight = max(float((weights[0][key] - weights[1][key]).abs().max()) for key in weights[1])
                loss = furthest(*([{"loss": line["loss"]} for line in Run(run).metrics] for run in runs))
                figure = furthest(*([ranks.figures(line) for line in Run(run).epochs] for run in runs))
                print(f"{name:14} {world:9}  {weight:<12.1e} {loss:<12.1e} {figure:.1e}", flush=True)


def furthest(found: list[dict], wanted: list[dict]) -> float:
    """The largest difference of two lists of figures."""
    pairs = [(one[key], other[key]) for one, other in zip(found, wanted, strict=True) for key in other]
    return max((abs(one - other) for one, other in pairs if other is not None), default=0.0)


def pictures(encoder: Encoder, num_rows: int) -> dict:
    """A batch of noise of ten classes."""
    shape = (num_rows, 3, encoder.image_size, encoder.image_size)
    image = torch.randint(0, 255, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return {"image": image, "class_name": [str(row % 10) for row in range(num_rows)]}


def config(**changes: object) -> TrainConfig:
    """To train all of a model to tell ten classes."""
    classes = ClassPrompts(classes=tuple(map(str, range(10))))
    return TrainConfig(**{"objective": classes, "train": "all", **changes})


def timed(work: Callable[[], object]) -> float:
    """Seconds of one call in the slowest process, all of which begin together."""
    here = Processes.here()
    here.wait()
    started_s = time.perf_counter()
    work()
    return max(here.of_all(time.perf_counter() - started_s))


def exchange(repeats: int) -> None:
    """In each of two processes: the ways to take the mean of gradients, in turns."""
    distributed.init_process_group("gloo")
    here = Processes.here()
    tower = new_encoder(LARGE, device="cpu").model.visual
    parameters = list(tower.parameters())
    wrapped = DistributedDataParallel(copy.deepcopy(tower))
    image_BCHW = torch.rand(2, 3, 96, 96)

    def each() -> None:
        for parameter in parameters:
            distributed.all_reduce(parameter.grad)
            parameter.grad /= here.world

    def plain() -> None:
        tower.zero_grad()
        tower(image_BCHW).sum().backward()

    def ours() -> None:
        plain()
        here.mean_gradients(parameters)

    def one_by_one() -> None:
        plain()
        each()

    def ddp() -> None:
        wrapped.zero_grad()
        wrapped(image_BCHW).sum().backward()

    ways = {"no exchange": plain, "one by one": one_by_one, "buckets": ours, "DDP": ddp}
    for way in ways.values():
        way()
    ours()
    pairs = zip(parameters, wrapped.module.parameters(), strict=True)
    difference = max(float((one.grad - other.grad).abs().max()) for one, other in pairs)
    taken = {name: [timed(way) for _ in range(repeats)] for name, way in ways.items()}
    if here.writes:
        num_bytes = sum(parameter.nbytes for parameter in parameters)
        print(f"forward and backward of {num_bytes / 1e6:.0f} MB of weights, two processes:")
        for name, seconds in taken.items():
            ratio = statistics.median(seconds) / statistics.median(taken["buckets"])
            print(f"  {name:12} {statistics.median(seconds):6.2f} s  {ratio:5.2f} x buckets  {spread(seconds)}")
        print(f"  gradients of buckets and of DDP differ by {difference:.1e}")
    distributed.destroy_process_group()


def spread(seconds: list[float]) -> str:
    """From the least to the most."""
    return f"[{min(seconds):.2f}-{max(seconds):.2f}]"


def steps(repeats: int, num_rows: int = 32) -> None:
    """In each process: seconds of a step of the same batch, of which it has a share."""
    torch.set_num_threads(1)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1:
        distributed.init_process_group("gloo")
    here, encoder = Processes.here(), new_encoder(MODEL, device="cpu")
    learner, batch = Learner(encoder, config(), num_rows), pictures(encoder, num_rows // world)
    learner.step([batch], 1.0)
    taken = [timed(lambda: learner.step([batch], 1.0)) for _ in range(repeats)]
    if here.writes:
        print(json.dumps(taken))
    if world > 1:
        distributed.destroy_process_group()


def compare_steps(repeats: int) -> None:
    """Steps of one process and of two, in turns."""
    found: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(repeats):
        for world, seconds in found.items():
            seconds += json.loads(torchrun(world, __file__, "steps", "--worker", "--repeats", "3"))
    one, two = (statistics.median(seconds) for seconds in found.values())
    print(f"a step of 32 rows, all weights: one process {one:.2f} s {spread(found[1])}, two {two:.2f} s ", end="")
    print(f"{spread(found[2])}: {one / two:.2f} x the steps a second")


def memory() -> None:
    """What the copy in training, and an export, add to the highest memory of a process."""

    def peak() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3

    encoder = new_encoder(LARGE, device="cpu")
    size = sum(tensor.nbytes for tensor in encoder.model.state_dict().values()) / 1e6
    print(f"a model of {size:.0f} MB; each adds to the highest memory of the process:")
    for name, work in (
        ("a copy that trains the projections", lambda: Learner(encoder, config(train="projections"), 8)),
        ("an export", lambda: export(encoder.model, encoder, Path(tempfile.mkdtemp()) / "model")),
        ("deepcopy, for comparison", lambda: copy.deepcopy(encoder.model)),
    ):
        before, kept = peak(), work()
        print(f"  {name:36} {peak() - before:6.0f} MB")
        del kept


def main() -> None:
    """Do one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["equality", "exchange", "steps", "memory"])
    parser.add_argument("--worlds", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part == "equality":
        equality(given.worlds)
    elif given.part == "memory":
        memory()
    elif given.part == "exchange" and not given.worker:
        print(torchrun(2, __file__, "exchange", "--worker", "--repeats", str(given.repeats)), end="")
    elif given.part == "exchange":
        exchange(given.repeats)
    elif given.worker:
        steps(given.repeats)
    else:
        compare_steps(given.repeats)


if __name__ == "__main__":
    main()
