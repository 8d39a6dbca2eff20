"""Pictures that a GPU decodes: their levels beside the exact ones, and the rate beside that of all cores."""

import sys
import time

import lance
import numpy as np
import pyarrow as pa
import pytest
import torch

from clipdata.encoder.preparation import Preparation
from clipdata.errors import UsageError
from clipdata.lance_io.table import open_table
from clipdata.stream import Stream, load
from tests.pictures import encoded

pytest.importorskip("torchcodec")
pytestmark = pytest.mark.gpu

PREPARE = Preparation((224, 224), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), fidelity="fast")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("gpu") / "rows.lance"
    pictures = [encoded(number, height=375, width=500) for number in range(256)] + [b"no picture"]
    lance.write_dataset(pa.table({"image": pa.array(pictures, pa.large_binary())}), path)
    return open_table(path)


def images(table, **options) -> tuple[torch.Tensor, float]:
    stream = Stream(table, ["image"], batch_size=64, shuffle=False, on_bad_image="leave_out", **options)
    next(iter(stream))  # the device's decoder starts
    begun_s = time.perf_counter()
    batches = [batch["image"] for batch in stream]
    torch.cuda.synchronize()
    return torch.cat(batches), 256 / (time.perf_counter() - begun_s)


def test_pictures_of_a_gpu_are_the_exact_ones_but_for_about_a_level(table, capsys):
    on_gpu, gpu_rows_s = images(table, prepare=PREPARE, device="cuda")
    here, rows_s = images(table, prepare=PREPARE)
    exact, _ = images(table, prepare=PREPARE.with_fidelity("exact"))

    off = (on_gpu.cpu().int() - exact.int()).abs().numpy()
    with capsys.disabled():
        sys.stdout.write(
            f"\ndecoded on {torch.cuda.get_device_name()}: {gpu_rows_s:,.0f} rows/s; by threads {rows_s:,.0f}; "
            f"error {off.mean():.3f} levels, 99 % within {np.quantile(off, 0.99):.0f}\n"
        )
    assert on_gpu.device.type == "cuda"
    assert on_gpu.shape == here.shape
    assert off.mean() < 1


def test_workers_do_not_share_a_gpu(table):
    stream = Stream(table, ["image"], batch_size=8, prepare=PREPARE, device="cuda", on_bad_image="leave_out")

    with pytest.raises(UsageError, match="worker processes"):
        list(load(stream, 2))
