"""Rows a second of `ingest.from_urls` against img2dataset, from one server on the loopback, both in one run.

python benchmarks/urls_vs_img2dataset.py [--images 2000] [--threads 64] [--repeats 3] [--latency-ms 0]

img2dataset lives in an environment of its own (its pins exclude this project's OpenCV and webdataset), which is made in
the user's cache folder when it is not there. Equal work: no resizing, the original bytes kept, sha256 of each, one
process, the same number of requests at once. What is timed is in the peer's favour: of it only the shard (its own
figure in `00000_stats.json`, which leaves out the start of its processes), of ours the whole call with planning and
commits. Ours decodes every image fully, checks it for cut-off data, and checks addresses; the peer runs once with its
decode (`skip_reencode`) and once without any (`disable_all_reencoding`). On a busy machine the wall time tells how many
threads compete with how many strangers; rows a second of one core's time are then the figure to trust.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

import cv2
import numpy as np
import platformdirs
from aiohttp import web

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.pictures import drawing

NUM_PICTURES = 64
OURS = """
import json, resource, sys, time
import ingest
def cpu_s():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
asked = json.loads(sys.argv[1])
rules = ingest.DownloadRules(
    allow_private=("127.0.0.1",), num_in_flight=asked["threads"], num_per_host=asked["threads"], num_retries=0
)
ingest.from_urls(asked["warm"], into=asked["out"] + "/warm.lance", rules=rules)
started_s, started_cpu_s = time.perf_counter(), cpu_s()
done = ingest.from_urls(asked["list"], into=asked["out"] + "/t.lance", rules=rules)
seconds = time.perf_counter() - started_s
print(json.dumps({"rows": done.written.inserted, "seconds": seconds, "cpu_s": cpu_s() - started_cpu_s}))
"""
PEER = """
import glob, json, resource, sys
from img2dataset import download
asked = json.loads(sys.argv[1])
def cpu_s_of(name):
    # All work is done in a child process; what it costs to start one is taken off by the caller.
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    download(
        url_list=asked[name], input_format="csv", url_col="url", caption_col="text",
        output_folder=asked["out"] + "/" + name, output_format="webdataset", processes_count=1,
        thread_count=asked["threads"], resize_mode="no", skip_reencode=True,
        disable_all_reencoding=not asked["decode"], compute_hash="sha256", extract_exif=False, timeout=30, retries=0,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
if __name__ == "__main__":
    started_cpu_s = cpu_s_of("warm")
    cpu_s = cpu_s_of("list") - started_cpu_s
    shards = [json.load(open(name)) for name in glob.glob(asked["out"] + "/list/*_stats.json")]
    seconds = max(s["end_time"] for s in shards) - min(s["start_time"] for s in shards)
    print()
    print(json.dumps({"rows": sum(s["successes"] for s in shards), "seconds": seconds, "cpu_s": cpu_s}))
"""
QUIET = {"NO_ALBUMENTATIONS_UPDATE": "1", "WANDB_MODE": "disabled", "no_proxy": "*", "PYTHONPATH": sys.path[0]}


def pictures() -> list[bytes]:
    """Drawn pictures with some grain, JPEG files of 40 to 60 KB."""
    files = []
    for seed in range(NUM_PICTURES):
        grain = np.random.default_rng(seed).normal(0, 6.3 + 2.7 * seed / NUM_PICTURES, (480, 640, 1))
        picture = np.clip(drawing(seed, 480, 640) + grain, 0, 255).astype(np.uint8)
        files.append(cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 77])[1].tobytes())
    return files


def serve(ready: Connection, files: list[bytes], latency_s: float) -> None:
    """Answer `/7.jpg` with a picture, until the process is ended."""

    async def answer(request: web.Request) -> web.Response:
        if latency_s:
            await asyncio.sleep(latency_s)
        number = int(request.match_info["number"])
        return web.Response(body=files[number % len(files)], content_type="image/jpeg")

    async def run() -> None:
        app = web.Application()
        app.router.add_get("/{number}.jpg", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
        await site.start()
        ready.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(run())


@contextmanager
def server(files: list[bytes], latency_s: float) -> Iterator[int]:
    """The port of a server in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ready, theirs = context.Pipe(duplex=False)
    process = context.Process(target=serve, args=(theirs, files, latency_s), daemon=True)
    process.start()
    try:
        yield ready.recv()
    finally:
        process.terminate()
        process.join()


def peer_python() -> Path:
    """The interpreter of the environment that holds img2dataset, made when it is not there."""
    folder = platformdirs.user_cache_path("clipdata") / "peers" / "img2dataset"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        print(f"installing img2dataset into {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "img2dataset"], check=True)
    return python


def measure(python: Path, code: str, asked: dict[str, object], num_rows: int) -> tuple[float, float]:
    """Rows a second of wall time, and of one core's time, of a run in a fresh process and an empty folder."""
    with tempfile.TemporaryDirectory() as out:
        script = Path(out) / "run.py"
        script.write_text(code)
        command = [str(python), str(script), json.dumps(asked | {"out": out})]
        done = subprocess.run(command, env=os.environ | QUIET, capture_output=True, text=True, timeout=600)
        if done.returncode:
            raise SystemExit(f"{command[0]} failed:\n{done.stderr[-3000:]}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    if found["rows"] != num_rows:
        raise SystemExit(f"{found['rows']} rows came of {num_rows}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return found["rows"] / found["seconds"], found["rows"] / found["cpu_s"]


def write_list(where: Path, port: int, num: int) -> str:
    """A list of URLs with captions."""
    with where.open("w", newline="") as file:
        rows = [(f"picture {number}", f"http://127.0.0.1:{port}/{number}.jpg") for number in range(num)]
        csv.writer(file).writerows([("text", "url"), *rows])
    return str(where)


def print_ratios(rates: dict[str, list[tuple[float, float]]]) -> None:
    """Ours over each peer's: the median of the repeats, and each repeat."""
    ours, *peers = rates
    for peer in peers:
        for index, what in enumerate(("rows/s", "rows/core-s")):
            pairs = zip(rates[ours], rates[peer], strict=True)
            ratios = [mine[index] / theirs[index] for mine, theirs in pairs]
            each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
            print(f"clipdata / {peer}, {what}: {statistics.median(ratios):.2f} (of each repeat: {each})")


def main() -> int:
    """Print a line a run, then the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--latency-ms", type=float, default=0.0)
    asked = parser.parse_args()
    files, python = pictures(), peer_python()
    sizes = sorted(len(file) // 1024 for file in files)
    print(f"{datetime.now(UTC):%Y-%m-%d} {platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    print(
        f"{asked.images} JPEGs of {sizes[0]}-{sizes[-1]} KB, {asked.threads} at once, {asked.latency_ms:g} ms latency"
    )
    runs = {
        "clipdata, full decode and check": (Path(sys.executable), OURS, {}),
        "img2dataset, decode": (python, PEER, {"decode": True}),
        "img2dataset, no decode": (python, PEER, {"decode": False}),
    }
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    with tempfile.TemporaryDirectory() as name, server(files, asked.latency_ms / 1000) as port:
        lists = {
            "list": write_list(Path(name) / "list.csv", port, asked.images),
            "warm": write_list(Path(name) / "warm.csv", port, 8),
            "threads": asked.threads,
        }
        for repeat in range(asked.repeats):
            for run, (interpreter, code, more) in runs.items():
                load = os.getloadavg()[0]
                wall, core = measure(interpreter, code, lists | more, asked.images)
                rates[run].append((wall, core))
                print(
                    f"{repeat + 1}  {run:32} {wall:5.0f} rows/s {core:6.0f} rows/core-s   load {load:.1f}", flush=True
                )
    print_ratios(rates)
    return 0


if __name__ == "__main__":
    sys.exit(main())
