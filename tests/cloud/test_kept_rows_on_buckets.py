"""A stream from a bucket asks it for nothing in its second epoch, where a folder of this machine keeps what it read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import clipdata as cd
import ingest
from clipdata.storage import Storage
from clipdata.stream import Stream
from tests.cloud.fault_proxy import Counts
from tests.cloud.fixtures import Bucket
from tests.cloud.objects import put_pictures

NUM_PICTURES = 60


def corner(pixels: np.ndarray) -> torch.Tensor:
    """What stands for a model's preparation."""
    return torch.from_numpy(np.ascontiguousarray(pixels[:8, :8].transpose(2, 0, 1)))


def keeping(storage: Storage, folder: Path, bound: str = "10MB") -> Storage:
    return replace(storage, options={**storage.options, "cache_folder": str(folder), "cache_bytes": bound})


def read(uri: str, storage: Storage, epoch: int) -> dict[str, float]:
    table = cd.open_table(uri, storage=storage)
    stream = Stream(table, ["image", "path"], batch_size=10, prepare=corner, epoch=epoch, clump_rows=4, window_rows=20)
    return {
        path: float(image.float().sum())
        for batch in stream
        for path, image in zip(batch["path"], batch["image"], strict=True)
    }


def of_data(counts: Counts) -> int:
    return sum("/data/" in one.target or "%2Fdata%2F" in one.target or ".jpg" in one.target for one in counts.log)


@pytest.mark.parametrize("reference", [False, True], ids=["pictures held", "pictures referred to"])
def test_a_second_epoch_asks_a_bucket_for_no_data(gcs: Bucket, tmp_path: Path, reference: bool) -> None:
    put_pictures(gcs, "in", range(NUM_PICTURES))
    uri = gcs.url("t.lance")
    ingest.from_images(gcs.url("in"), into=uri, storage=gcs.storage, reference=reference)
    expected = read(uri, gcs.storage, 0)
    asked = []

    for epoch in range(3):
        with gcs.proxy.counting() as counts:
            assert read(uri, keeping(gcs.storage, tmp_path / "kept"), epoch) == expected
        asked.append(of_data(counts))

    assert len(expected) == NUM_PICTURES
    assert asked[0] > 0
    assert asked[1:] == [0, 0]
