"""joined(): the processes that torchrun started come together, and none waits for one that has failed.

A process that ends with an error leaves a note of it where the others look when they lose it. So each of them ends, and
the error is told once. torchrun keeps the notes; where something else started the processes, the first of them does,
and stays until the others have read. It knows torch.distributed and errors, and nothing of training.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import distributed

from clipdata.errors import ClipdataError, EndedElsewhereError, UsageError
from clipdata.training.processes import Processes

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

PATIENCE = timedelta(minutes=30)
"""Longest wait for a process that is alive: one alone may write a large model to a slow disk, or measure it. One that
has ended is noticed at once."""
_LOOK_S, _LOOK_AGAIN_S = 1.0, 0.05
_READ = timedelta(seconds=10)
_PLACE = re.compile(r"^\[[^\]]*\] ?")  # of Gloo's source


def launched() -> Processes:
    """This process among those that torchrun started, by what it says in the environment."""
    return Processes(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))


@contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """Come together with the processes that torchrun started, for a block that all of them go through.

    A group that is there already is used and left as it is.

    Args:
        device: where this process computes.

    Raises:
        UsageError: the environment says that there are others, and not where.
        EndedElsewhereError: another process failed, and has told why.
    """
    if distributed.is_available() and distributed.is_initialized():
        with _telling(_notes(distributed.distributed_c10d._get_default_store())) as processes:
            yield processes
    elif launched().world > 1:
        before = sys.excepthook  # a group puts the rank in front of a traceback, once more with every group
        notes = _notes(_begin_group(device))
        try:
            with _telling(notes) as processes:
                yield processes
            sys.excepthook = before
        finally:
            distributed.destroy_process_group()  # now the others notice
            notes.keep()
    else:
        yield Processes()


def _begin_group(device: torch.device) -> Store:
    """Form the group; where its processes can leave something for each other."""
    from torch.distributed.distributed_c10d import PrefixStore

    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise UsageError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, and {' and '.join(missing)} not set: nothing tells where the "
            "other processes are",
            hint="torchrun --nproc-per-node 2 -m clipdata train …; or unset WORLD_SIZE",
        )
    backend = "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl"
    rank, world = launched().rank, launched().world
    found = _meeting_place(os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"], rank, world)
    # What an earlier group of these processes left in the store would mislead this one.
    number = found.add(f"clipdata/groups of {rank}", 1)
    store = PrefixStore(f"clipdata/group {number}", found)
    try:
        distributed.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=PATIENCE)
    except BaseException:
        _meeting_place.cache_clear()  # it may have gone with the process that kept it
        raise
    return store


@cache
def _meeting_place(address: str, port: str, rank: int, world: int) -> Store:  # noqa: ARG001 - read of the environment
    """The store through which processes find each other: one for all groups that they form, one after the other.

    Where the first process keeps it, and ended it with each group, another that is early for the next group could still
    ask the old one as it goes; it would fail, and the first wait for it in vain.
    """
    from torch.distributed.rendezvous import rendezvous

    store: Store = next(iter(rendezvous("env://", timeout=PATIENCE)))[0]
    return store


def _notes(store: Store) -> _Notes:
    """Make what the processes of this block tell each other through."""
    from torch.distributed.distributed_c10d import PrefixStore

    processes = Processes.here()
    number = store.add(f"clipdata/blocks of {processes.rank}", 1)
    return _Notes(PrefixStore(f"clipdata/block {number}", store), processes)


@contextmanager
def _telling(notes: _Notes) -> Iterator[Processes]:
    """Leave a note of an error, and tell which of several processes has it where these lose each other."""
    processes = notes.processes
    if processes.world == 1:
        yield processes
        return
    try:
        yield processes
    except distributed.DistError as error:
        raise notes.of_another(error) from error
    except RuntimeError as error:
        if isinstance(error, ClipdataError) or not _is_of_the_exchange(error):
            notes.leave(error)
            raise
        raise notes.of_another(error) from error
    except Exception as error:
        notes.leave(error)
        if notes.is_told_by_first(error):
            raise EndedElsewhereError(str(error), exit_code=_exit_code(error)) from error
        raise


class _Notes:
    """What processes that failed leave for the others."""

    def __init__(self, store: Store, processes: Processes) -> None:
        self._store, self.processes = store, processes
        self._are_read = False

    def leave(self, error: Exception) -> None:
        """Tell the others, as far as they can be reached."""
        self._are_read = True
        note = json.dumps([self.processes.rank, str(error), _exit_code(error)])
        with suppress(distributed.DistError, RuntimeError):
            self._store.set(str(self.processes.rank), note)
            self._store.compare_set("first", "", note)

    def keep(self) -> None:
        """Stay until the others have read, where the notes go with this process."""
        if not self._are_read:
            return
        with suppress(distributed.DistError, RuntimeError):
            if self.processes.rank:
                self._store.set(f"read by {self.processes.rank}", "")
            elif os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
                self._store.wait([f"read by {rank}" for rank in range(1, self.processes.world)], _READ)

    def is_told_by_first(self, error: Exception) -> bool:
        """Whether the first process ends with the same error, and tells it."""
        if self.processes.writes:
            return False
        with suppress(distributed.DistError, RuntimeError):
            return self._is_left("0") and json.loads(self._store.get("0"))[1] == str(error)
        return False

    def of_another(self, error: Exception) -> EndedElsewhereError:
        """Why a process was lost."""
        self._are_read = True
        with suppress(distributed.DistError, RuntimeError):
            if self._is_left("first"):
                rank, message, exit_code = json.loads(self._store.get("first"))
                return EndedElsewhereError(f"process {rank} of {self.processes.world}: {message}", exit_code=exit_code)
        why = _PLACE.sub("", str(error).splitlines()[0]).partition(". ")[0]
        return EndedElsewhereError(
            f"another process ended without a word: killed, or out of memory ({why}); the same command goes on",
            is_told=False,
        )

    def _is_left(self, name: str) -> bool:
        """Whether a note is there, or comes soon; a wait of the store itself would warn of its end in torch's words."""
        until = time.monotonic() + _LOOK_S
        while not self._store.check([name]):
            if time.monotonic() > until:
                return False
            time.sleep(_LOOK_AGAIN_S)
        return True


def _exit_code(error: Exception) -> int:
    return error.exit_code if isinstance(error, ClipdataError) else 1


def _is_of_the_exchange(error: RuntimeError) -> bool:
    """Whether a plain RuntimeError is Gloo's, which has no class of its own."""
    return "gloo" in str(error).lower() or "Connection closed by peer" in str(error)
