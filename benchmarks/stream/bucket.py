"""Stores in a bucket: an emulator on the loopback, behind a proxy that counts requests and makes each 30 ms late.

The emulator shares the machine's cores with what is measured; its time is not charged to a side, but delays it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bucket_ingest import LATENCY_S, served
from tests.cloud.fault_proxy import Counts, Fault
from tests.cloud.fixtures import Bucket


@dataclass(frozen=True)
class BucketStores:
    """Stores that were put into a bucket.

    Args:
        bucket: the emulator's.
    """

    bucket: Bucket

    def put(self, folder: Path, stores: Sequence[str]) -> dict[str, Any]:
        """Copy stores of a folder; returns what an `Asked` needs to read them there."""
        fs, _ = self.bucket.direct.filesystem(self.bucket.url())
        files = [path for store in stores for path in (folder / store).rglob("*") if path.is_file()]

        def put_one(path: Path) -> None:
            fs.pipe_file(f"{self.bucket.name}/{folder.name}/{path.relative_to(folder)}", path.read_bytes())

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(put_one, files))
        return {"bucket": self.bucket.url(folder.name), "options": dict(self.bucket.storage.options)}

    @contextmanager
    def late(self, late: bool) -> Iterator[Counts]:
        """Make each request late, or none, and count them; the count is there when the block is left."""
        faults = [Fault("latency", delay_s=(LATENCY_S, LATENCY_S))] if late else []
        with self.bucket.proxy.injecting(*faults), self.bucket.proxy.counting() as counts:
            yield counts


@contextmanager
def bucket_stores() -> Iterator[BucketStores]:
    """An empty bucket."""
    with tempfile.TemporaryDirectory() as folder, served("gs", Path(folder)) as bucket:
        yield BucketStores(bucket)
