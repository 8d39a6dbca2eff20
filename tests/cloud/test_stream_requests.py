"""How many requests a stream makes for rows on a bucket."""

from __future__ import annotations

import itertools
from dataclasses import replace

import lance
import numpy as np
import pyarrow as pa
import pytest

from clipdata.lance_io.sizes import row_bytes
from clipdata.lance_io.table import open_table
from clipdata.stream import sources
from clipdata.stream.fetch import GROUP_BYTES, Fetcher
from clipdata.stream.groups import Slot
from clipdata.stream.plan import Plan
from clipdata.stream.windows import sizes_for
from tests.cloud.fixtures import Bucket

AHEAD = 3  # batches that are decoded, or waited for, when the last one is handed out


@pytest.mark.parametrize(("num_rows", "row_size", "scale"), [(3000, 2700, 1), (2000, 3750, 16), (1700, 25_000, 16)])
def test_a_thousand_shuffled_rows_take_at_most_thirty_requests(
    gcs: Bucket, monkeypatch: pytest.MonkeyPatch, num_rows: int, row_size: int, scale: int
) -> None:
    """Rows of 2.7, 60 and 400 KB; the last two are a sixteenth, and so is the memory to hold them in."""
    monkeypatch.setattr(sources, "STORE", replace(sources.STORE, hole_bytes=sources.STORE.hole_bytes // scale))
    rng = np.random.default_rng(0)
    image = pa.array(
        [rng.bytes(int(size)) for size in rng.normal(row_size, row_size / 10, num_rows)], pa.large_binary()
    )
    url = gcs.url("rows.lance")
    lance.write_dataset(
        pa.table({"image": image, "label": range(num_rows)}), url, storage_options=gcs.direct.lance_options(url)
    )
    table = open_table(url, storage=gcs.storage)

    with gcs.proxy.counting() as counts:
        mean = row_bytes(table, ["image", "label"])
        clump_rows, window_rows = sizes_for(mean * scale)
        plan = Plan(num_rows, 64, clump_rows=clump_rows, window_rows=window_rows)
        order = plan.order(0)
        slots = [
            Slot((batch,), (64,), order.positions(*plan.bounds(batch)), order.windows(*plan.bounds(batch)))
            for batch in range(plan.num_batches)
        ]
        reading = Fetcher(table, ["image", "label"], group_bytes=GROUP_BYTES // scale).read(slots)
        found = list(itertools.islice(reading, 16 + AHEAD))
        reading.close()

    assert [view.size for one in found for view in one.encoded["image"]] == [
        len(image[offset].as_py()) for one in found for offset in one.slot.offsets.tolist()
    ]
    assert mean == pytest.approx(row_size, rel=0.05)
    assert len(counts.log) <= 30
    assert counts.down_bytes < (1024 + AHEAD * 64 + 1.4 * window_rows) * mean + 2**20
