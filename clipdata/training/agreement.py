"""What processes that train one model must have alike, looked at before the first step: later it would be a hang.

It knows processes and how a run begins, and nothing of steps.
"""

from __future__ import annotations

import socket
from typing import Any

from torch import distributed

from clipdata.encoder import Encoder
from clipdata.errors import UsageError
from clipdata.training.checkpoints import complete
from clipdata.training.config import TrainConfig
from clipdata.training.processes import Processes
from clipdata.training.resumption import Beginning


def require_alike(processes: Processes, encoder: Encoder, config: TrainConfig, begun: Beginning) -> None:
    """Check that all processes are about to do the same.

    Raises:
        UsageError: lists what differs; or two processes share a GPU.
    """
    if processes.world == 1:
        return
    held_out, checkpoints = begun.held_out, complete(begun.run.path / "checkpoints")
    own = {
        "model": encoder.identity,
        "config": config.to_json(),
        "rows to train on": begun.rows.digest,
        "rows to measure": held_out.digest if held_out is not None else None,
        "newest checkpoint": checkpoints[-1].step if checkpoints else None,
    }
    of_all = processes.of_all(own)
    problems = [
        f"the {name} of process {rank} {'differ' if name.startswith('rows') else 'differs'} from that of process 0"
        for rank, other in enumerate(of_all)
        for name in own
        if other[name] != of_all[0][name]
    ]
    if problems:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        raise UsageError(
            f"the processes do not train one model:{listed}", hint="give all of them the same arguments and files"
        )
    _require_own_devices(processes.of_all((socket.gethostname(), str(encoder.device))))


def _require_own_devices(devices: list[tuple[str, Any]]) -> None:
    """Check that no two processes share a GPU, where they exchange by NCCL, which cannot tell them apart then.

    Raises:
        UsageError: two do.
    """
    if "cuda:nccl" not in distributed.get_backend_config():
        return
    for rank, device in enumerate(devices):
        first = devices.index(device)
        if first != rank:
            raise UsageError(
                f"processes {first} and {rank} both have their model on {device[1]} of {device[0]}",
                hint="leave out the device: each process takes the GPU of its LOCAL_RANK; or start one a GPU: "
                "torchrun --nproc-per-node gpu …",
            )
