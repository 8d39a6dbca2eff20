"""Two real ranks train on one table: disjoint rows, equal steps, whatever is left out on one of them."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import cv2
import lance
import numpy as np
import pyarrow as pa
import pytest

SCRIPT = """
import json, sys
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from clipdata.errors import UsageError
from clipdata.lance_io.table import open_table
from clipdata.stream import Stream, load

def small(pixels):
    return torch.from_numpy(pixels[:4, :4].transpose(2, 0, 1).copy())

if __name__ == "__main__":
    dist.init_process_group("gloo")
    torch.manual_seed(dist.get_rank())  # DDP has to make the weights equal
    model = DistributedDataParallel(torch.nn.Linear(48, 1))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    options = {"batch_size": 8, "prepare": small, "on_bad_image": "leave_out", "drop_last": False, "shuffle": False}
    stream = Stream(open_table(sys.argv[1]), ["image", "label"], **options)
    steps = []
    for epoch in range(2):
        for batch in load(stream):
            image_BN = batch["image"].flatten(1) / 255
            loss = (model(image_BN)[:, 0] - batch["label"]).square().sum() / 8
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            steps.append(batch["label"].tolist())
    weights = [parameter.detach().flatten().tolist() for parameter in model.parameters()]
    refused = {}
    for dispatch in (False, True):
        from accelerate import Accelerator
        from accelerate.utils import DataLoaderConfiguration

        accelerator = Accelerator(cpu=True, dataloader_config=DataLoaderConfiguration(dispatch_batches=dispatch))
        loader = accelerator.prepare(torch.utils.data.DataLoader(Stream(
            open_table(sys.argv[1]), ["label"], batch_size=None, rank=0, world_size=1), batch_size=3))
        rows = [row for batch in loader for row in batch["label"].tolist()]
        shared = stream if dispatch else Stream(open_table(sys.argv[1]), ["label"], batch_size=None)
        twice = accelerator.prepare(torch.utils.data.DataLoader(shared, batch_size=None if dispatch else 3))
        said = None
        if dist.get_rank() == 0 or not dispatch:  # the first process alone reads what it dispatches
            try:
                next(iter(torch.utils.data.DataLoader.__iter__(twice)) if dispatch else iter(twice.dataset))
            except UsageError as error:
                said = error.message
        refused[str(dispatch)] = [rows, said]
    dist.barrier()
    with open(sys.argv[2] + str(dist.get_rank()), "w") as file:
        json.dump({"steps": steps, "weights": weights, "left_out": stream.left_out, "accelerate": refused}, file)
    dist.destroy_process_group()
"""


def png(level: int) -> bytes:
    return cv2.imencode(".png", np.full((6, 6, 3), level, np.uint8))[1].tobytes()


@pytest.mark.slow
def test_two_ranks_train_on_disjoint_rows_in_equal_steps(tmp_path: Path):
    # In the table's order rank 0 takes the first four of every eight rows: all bad ones are its own.
    images = [b"no image" if number % 8 < 4 and number < 24 and number != 3 else png(number) for number in range(37)]
    table = pa.table({"label": range(37), "image": pa.array(images, pa.large_binary())})
    lance.write_dataset(table, tmp_path / "rows.lance")
    (tmp_path / "script.py").write_text(SCRIPT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = [
        subprocess.Popen(
            [sys.executable, tmp_path / "script.py", tmp_path / "rows.lance", tmp_path / "rank"],
            env={
                **os.environ,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": "2",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            },
        )
        for rank in range(2)
    ]
    try:
        assert [rank.wait(timeout=240) for rank in ranks] == [0, 0]
    finally:
        for rank in ranks:
            rank.kill()
    first, second = (json.loads((tmp_path / f"rank{rank}").read_text()) for rank in range(2))

    assert len(first["steps"]) == len(second["steps"]) == 2 * 5
    good = [number for number, image in enumerate(images) if image != b"no image"]
    for epoch in (slice(0, 5), slice(5, 10)):
        rows = [[row for step in of_rank["steps"][epoch] for row in step] for of_rank in (first, second)]
        assert sorted(rows[0] + rows[1]) == good
    assert [] in first["steps"]
    assert first["left_out"] == {"not_an_image": len(images) - len(good)}
    assert second["left_out"] == {}
    assert np.allclose(first["weights"][0], second["weights"][0])

    for dispatch, sharer in (("False", "IterableDatasetShard"), ("True", "DataLoaderDispatcher")):
        rows = [of_rank["accelerate"][dispatch][0] for of_rank in (first, second)]
        assert set(rows[0] + rows[1]) == set(range(37))
        assert len(rows[0]) == len(rows[1])
        assert sharer in first["accelerate"][dispatch][1]
