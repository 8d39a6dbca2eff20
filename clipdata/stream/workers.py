"""Worker processes that make the turns of a stream, each at the end of a pipe of its own.

A pipe has one writer and one reader, so that whoever dies is noticed by the other at once, in the middle of a turn too:
a worker that is killed ends the iteration with an error, and workers end when the process they work for does. (In a
DataLoader all workers write to one queue: the reader waits for ever for the rest of what a killed one had begun to
write, and workers that wait for room outlive a killed reader.)
It knows streams and processes; it must not know what a turn holds.
"""

from __future__ import annotations

import multiprocessing
import random
import signal
import time
from collections.abc import Generator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

import numpy as np
import torch
from torch._utils import ExceptionWrapper
from torch.utils.data._utils import worker as torch_worker

from clipdata.errors import ClipdataError
from clipdata.stream import parcels
from clipdata.stream.resumable import Resumable
from clipdata.stream.turns import Turn

_END_S = 2.0  # for workers to end by themselves when nobody wants the rest


class WorkerDied(ClipdataError):  # noqa: N818
    """A worker process ended before its work did."""


@dataclass(frozen=True)
class _Worker:
    process: BaseProcess
    pipe: Connection


def turns_of_workers(stream: Resumable, num_workers: int, *, ahead: int) -> Generator[Turn, None, None]:
    """Yield the turns of an iteration that begins, in order, made by worker processes.

    Closing the generator ends the workers.

    Args:
        ahead: turns that each worker makes before they are asked for.

    Raises:
        ClipdataError: what a worker raised; or one was killed, and the stream stands at what it gave last.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # imported once for all workers; none of it starts threads of Lance's
    workers: list[_Worker] = []
    try:
        for number in range(num_workers):
            here, there = context.Pipe()
            process = context.Process(
                target=_work, args=(there, stream, number, num_workers), name=f"clipdata-worker-{number}", daemon=True
            )
            workers.append(_Worker(process, here))
            process.start()
            there.close()
            for _ in range(ahead):
                here.send_bytes(b"+")
        yield from _in_order(workers)
    finally:
        _end(workers)


def _in_order(workers: list[_Worker]) -> Generator[Turn, None, None]:
    working = list(workers)
    while working:
        for worker in list(working):
            turn = _next_turn(worker)
            if turn is None:
                working.remove(worker)
            else:
                yield turn


def _next_turn(worker: _Worker) -> Turn | None:
    """What a worker made next; None when it has come to its end."""
    try:
        found = parcels.receive(worker.pipe)
        if isinstance(found, Turn):
            worker.pipe.send_bytes(b"+")
    except (EOFError, OSError) as error:
        raise _death(worker) from error
    if isinstance(found, ExceptionWrapper):
        found.reraise()
    if isinstance(found, ClipdataError):
        raise found
    return found


def _death(worker: _Worker) -> WorkerDied:
    worker.process.join(_END_S)
    code = worker.process.exitcode
    how, hint = f"ended with exit code {code}", "what it printed before says why"
    if code is not None and code < 0:
        how = f"was killed by {signal.Signals(-code).name}"
        hint = "what it printed before may say why; load(stream, num_workers=0) runs the same in this process"
    if code == -signal.SIGKILL:
        hint = "when memory runs out the system kills: use fewer workers, a smaller batch_size or prefetch_factor=1"
    return WorkerDied(
        f"worker process {worker.process.pid} of the stream {how}, and rows are missing; the stream stands behind the "
        "batch that it gave last: load stream.state_dict() to go on from there",
        hint=hint,
    )


def _end(workers: list[_Worker]) -> None:
    """Let workers end, which they do when they find that nobody reads; those that are slow to find out are ended."""
    for worker in workers:
        worker.pipe.close()
    until_s = time.monotonic() + _END_S
    started = [worker.process for worker in workers if worker.process.pid is not None]
    for process in started:
        process.join(max(until_s - time.monotonic(), 0))
    for process in started:
        if process.is_alive():
            process.kill()
            process.join()
        process.close()


def _work(pipe: Connection, stream: Resumable, number: int, num_workers: int) -> None:
    """What a worker does: a turn for every sign that it gets, until it gets no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that reads, and its end is heard
    torch.set_num_threads(1)
    cursor = stream.state_dict()
    seed = int(np.random.SeedSequence([cursor["epoch"], cursor["batch"], number]).generate_state(1)[0])
    torch.manual_seed(seed)  # for what users' own code draws in `prepare`
    random.seed(seed)
    np.random.seed(seed)
    torch_worker._worker_info = torch_worker.WorkerInfo(id=number, num_workers=num_workers, seed=seed, dataset=stream)
    try:
        for found in _found(stream, number):
            pipe.recv_bytes()
            parcels.send(pipe, found)
        pipe.recv_bytes()  # until the other end is closed: what was sent is taken
    except (EOFError, OSError):
        return


def _found(stream: Resumable, number: int) -> Generator[Turn | ClipdataError | ExceptionWrapper | None, None, None]:
    try:
        yield from stream.turns()
        yield None
    except ClipdataError as error:
        yield error
    except Exception:
        yield ExceptionWrapper(where=f"in worker process {number} of a stream")
