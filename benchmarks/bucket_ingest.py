"""How much of its rate does ingest from a bucket keep when every request takes 30 ms longer, and does memory stay flat?

    python benchmarks/bucket_ingest.py                  rates with and without latency, on Google's and Amazon's store
    python benchmarks/bucket_ingest.py --memory         peak memory at 1× and 5× the images
    python benchmarks/bucket_ingest.py --many 100000    so many tiny images from one listing

The stores are emulators on the loopback and share the machine's cores with the ingest, so rates are lower than the
network's, and only ratios count. Each ingest is a process of its own; what is timed is the call, imports left out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.cloud.fault_proxy import Fault, FaultProxy
from tests.cloud.fixtures import Bucket, Server, _create
from tests.cloud.objects import put
from tests.cloud.servers import gcs_server, s3_server
from tests.pictures import encoded

ROOT = Path(__file__).resolve().parents[1]
LATENCY_S = 0.03
CHILD = """
import json, resource, sys, time
import ingest, ingest.pictures.image_files, lance
from clipdata.storage import Storage
source, into, anonymous, options, reference = json.loads(sys.argv[1])
storage = Storage(anonymous, options)
storage.filesystem(source)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.monotonic()
done = ingest.from_images(source, into=into, storage=storage, reference=reference)
seconds = time.monotonic() - started
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"rows": done.table.num_rows, "seconds": seconds, "mib": peak / 1024, "mib_before": before / 1024}))
"""


@dataclass(frozen=True)
class Measured:
    """One ingest."""

    rows: int
    seconds: float
    mib: float
    mib_before: float

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.rows / self.seconds


@contextmanager
def served(kind: str, folder: Path) -> Iterator[Bucket]:
    """An empty bucket behind a proxy."""
    server = gcs_server(folder / "gcs") if kind == "gs" else s3_server()
    (folder / "gcs").mkdir(exist_ok=True)
    with server as url, FaultProxy(url) as proxy:
        service = Server(kind, url, proxy)
        _create(service, "bench")
        yield Bucket("bench", service.storage(proxy.url), service.storage(url), proxy, service)


def ingested(bucket: Bucket, source: str, into: str, *, reference: bool = False) -> Measured:
    """Run one ingest in a process of its own."""
    request = json.dumps([bucket.url(source), into, bucket.storage.anonymous, dict(bucket.storage.options), reference])
    done = subprocess.run([sys.executable, "-c", CHILD, request], cwd=ROOT, check=True, stdout=subprocess.PIPE)
    return Measured(**json.loads(done.stdout))


def fill(bucket: Bucket, folder: str, num: int, *, size: tuple[int, int], padding: int = 0) -> int:
    """Put images into a folder of the bucket; returns their bytes. A hundred drawings, each in many objects."""
    drawings = [encoded(number, ".jpg", *size) + bytes(padding) for number in range(100)]
    for start in range(0, num, 2000):
        numbers = range(start, min(start + 2000, num))
        put(bucket, {f"{folder}/{number // 1000:04d}/{number:07d}.jpg": drawings[number % 100] for number in numbers})
    return sum(len(drawings[number % 100]) for number in range(num))


def compare_rates(num: int, repeats: int, kinds: list[str]) -> bool:
    """Print the rates with and without latency, in turn; returns whether 80 % are kept everywhere."""
    kept = True
    for kind in kinds:
        with tempfile.TemporaryDirectory() as name, served(kind, Path(name)) as bucket:
            mean = fill(bucket, "in", num, size=(240, 320)) / num
            for place in ("local", "bucket"):
                rates: dict[float, list[float]] = {0.0: [], LATENCY_S: []}
                for repeat in range(repeats):
                    for latency_s in (0.0, LATENCY_S) if repeat % 2 else (LATENCY_S, 0.0):
                        into = f"{name}/{repeat}-{latency_s}.lance"
                        if place == "bucket":
                            into = bucket.url(f"tables/{repeat}-{latency_s}.lance")
                        faults = [Fault("latency", delay_s=(latency_s, latency_s))] if latency_s else []
                        with bucket.proxy.injecting(*faults):
                            done = ingested(bucket, "in", into)
                        assert done.rows == num
                        rates[latency_s].append(done.rate)
                plain, late = (statistics.median(rates[latency_s]) for latency_s in (0.0, LATENCY_S))
                kept &= late >= 0.8 * plain
                runs = "; ".join(" ".join(f"{rate:.0f}" for rate in rates[latency_s]) for latency_s in rates)
                print(
                    f"{kind}, table {place:6}: {num:,} images of {mean / 1024:.1f} KiB: {plain:,.0f} images/s without, "
                    f"{late:,.0f} with {1000 * LATENCY_S:.0f} ms a request: ratio {late / plain:.2f} "
                    f"(runs without; with: {runs}; one request at a time would reach {1 / LATENCY_S:.0f})",
                    flush=True,
                )
    return kept


def compare_memory(num: int) -> None:
    """Print the peak memory at two sizes."""
    with tempfile.TemporaryDirectory() as name, served("gs", Path(name)) as bucket:
        peaks = []
        for factor in (1, 5):
            num_bytes = fill(bucket, f"in{factor}", num * factor, size=(240, 320), padding=200_000)
            done = ingested(bucket, f"in{factor}", f"{name}/{factor}.lance")
            peaks.append(done.mib)
            print(
                f"{done.rows:,} images, {num_bytes / 2**20:,.0f} MiB: peak {done.mib:,.0f} MiB resident "
                f"({done.mib_before:,.0f} before), {done.rate:,.0f} images/s",
                flush=True,
            )
        print(f"peak at 5×: {peaks[1] / peaks[0]:.2f} of that at 1×")


def ingest_many(num: int) -> None:
    """Print how long one listing of very many objects takes to become a table."""
    with tempfile.TemporaryDirectory() as name, served("gs", Path(name)) as bucket:
        fill(bucket, "in", num, size=(8, 8))
        with bucket.proxy.counting() as counts:
            done = ingested(bucket, "in", f"{name}/t.lance")
        assert done.rows == num
        print(
            f"{done.rows:,} tiny images from {counts.requests['list']} list requests: {done.rate:,.0f} rows/s, "
            f"peak {done.mib:,.0f} MiB resident ({done.mib_before:,.0f} before)"
        )


def main() -> int:
    """Run what was asked for; returns 1 when less than 80 % of the rate is kept."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--images", type=int, default=2000)
    words.add_argument("--repeats", type=int, default=3)
    words.add_argument("--stores", default="gs,s3")
    words.add_argument("--memory", action="store_true")
    words.add_argument("--many", type=int)
    given = words.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start", flush=True)
    kept = True
    if given.many:
        ingest_many(given.many)
    elif given.memory:
        compare_memory(given.images)
    else:
        kept = compare_rates(given.images, given.repeats, given.stores.split(","))
    print(f"load {os.getloadavg()[0]:.1f} at the end")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
