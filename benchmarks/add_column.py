"""Counts what adding a column to a table of images reads and writes: `map label_ind` by LabelIndex.

    python benchmarks/add_column.py [--fragments 8] [--rows 640] [--image-bytes 50000]

Bytes are those that the whole process passed to read and write calls (`rchar` and `wchar` of /proc/self/io, Linux), so
every handle that the map opens is in them, and the manifests, the labels and the records of progress too. That the
counter sees Lance's reads is checked by reading the pictures afterwards. Lance's own counters of the handle that the
caller holds stand beside it.

Promised: writes at most 1.1 times the column's own bytes and 64 KiB a fragment; reads no image byte.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

import clipdata as cd
from clipdata.lance_io import rows
from clipdata.lance_io.table import Table, open_table
from clipdata.schema import key_field
from clipdata.steps import LabelIndex

SCHEMA = pa.schema([key_field("path"), pa.field("image", pa.large_binary()), pa.field("label", pa.string())])
COLUMN_BYTES_A_ROW = 4  # int32
SLACK_A_FRAGMENT = 64 * 1024
# Reading this share of the pictures or more cannot be manifests and labels.
MOST_READ_SHARE = 0.02


@dataclass(frozen=True)
class Traffic:
    """Bytes that this process has passed to read and write calls so far."""

    read: int
    written: int

    @classmethod
    def now(cls) -> Traffic:
        """Ask the kernel."""
        lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
        counts = {name: int(value) for name, value in (line.split(": ") for line in lines)}
        return cls(counts["rchar"], counts["wchar"])

    def __sub__(self, before: Traffic) -> Traffic:
        return Traffic(self.read - before.read, self.written - before.written)


def jpeg_like(size: int) -> bytes:
    """Bytes that no codec makes smaller, between a JPEG's marks."""
    return b"\xff\xd8" + os.urandom(size - 4) + b"\xff\xd9"


def write_images(uri: Path, num_fragments: int, num_rows: int, image_bytes: int) -> Table:
    """A table of `num_fragments` times `num_rows` rows."""
    table = rows.create_table(uri, SCHEMA)
    for fragment in range(num_fragments):
        names = [f"{fragment:03d}/{row:06d}.jpg" for row in range(num_rows)]
        pictures = [jpeg_like(image_bytes) for _ in names]
        labels = ["ABCDE"[row % 5] for row in range(num_rows)]
        rows.upsert(table, pa.table({"path": names, "image": pictures, "label": labels}))
    return open_table(uri)


def files_bytes(folder: Path) -> int:
    """Size of all files under a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def main() -> int:
    """Make a table, add a column, print; return 1 when a promise was not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fragments", type=int, default=8)
    parser.add_argument("--rows", type=int, default=640, help="of a fragment")
    parser.add_argument("--image-bytes", type=int, default=50_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        cd.map_column(write_images(Path(name) / "first.lance", 1, 5, 100), LabelIndex(), "label_ind")  # loads libraries
        uri = Path(name) / "images.lance"
        table = write_images(uri, given.fragments, given.rows, given.image_bytes)
        return report(table, given.image_bytes, uri)


def report(table: Table, image_bytes: int, uri: Path) -> int:
    """Map, count, and print."""
    num_fragments, num_rows = len(table.dataset.get_fragments()), table.num_rows
    pictures = num_rows * image_bytes
    table.dataset.io_stats_incremental()
    handle, size = table.dataset, files_bytes(uri)
    before, started_s = Traffic.now(), time.perf_counter()
    done = cd.map_column(table, LabelIndex(), "label_ind")
    seconds, moved = time.perf_counter() - started_s, Traffic.now() - before
    own, grown = handle.io_stats_incremental(), files_bytes(uri) - size
    before = Traffic.now()
    scanned = sum(batch.column(0).nbytes for batch in open_table(table.uri).scan(["image"], batch_rows=64))
    control = Traffic.now() - before

    limit = int(1.1 * num_rows * COLUMN_BYTES_A_ROW) + SLACK_A_FRAGMENT * num_fragments
    print(f"{num_rows:,} rows in {num_fragments} fragments, {pictures / 1e6:,.0f} MB of pictures; {done}")
    print(f"time           {seconds:.2f} s, load {os.getloadavg()[0]:.1f}")
    print(f"table grew by  {grown:,} bytes; column {num_rows * COLUMN_BYTES_A_ROW:,}; promised at most {limit:,}")
    print(f"bytes written  {moved.written:,} by the process, all of it: column, manifests, records")
    print(f"bytes read     {moved.read:,} by the process, {moved.read / pictures:.3%} of the pictures' bytes")
    print(f"               {own.read_bytes:,} of them in {own.read_iops} reads of the handle given, by Lance's count")
    print(f"control        reading the pictures: {control.read:,} bytes for {scanned:,}")
    if control.read < pictures:
        print("the counter does not see Lance's reads here: nothing is proved")
        return 1
    return int(max(grown, moved.written) > limit or moved.read > MOST_READ_SHARE * pictures)


if __name__ == "__main__":
    sys.exit(main())
