"""Objects sent from process to process through a pipe, with their tensors in shared memory that has no name.

All tensors of an object are written into one file that lives in memory only (memfd): nothing of it can be left behind,
however a process ends, and the receiver maps it instead of copying. A tensor keeps the order of its memory, so that
pictures stay channels last. Where the system has no such files, tensors go through the pipe.
It knows pickling and tensors, and nothing of what is sent.
"""

from __future__ import annotations

import io
import mmap
import os
import pickle
import socket
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

import torch

from clipdata.errors import StorageError

_ALIGNMENT = 64  # bytes; what vector instructions like
_HAS_MEMORY_FILES = hasattr(os, "memfd_create")


def send(pipe: Connection, thing: Any) -> None:
    """Send an object; its tensors on the CPU are not pickled but shared.

    Raises:
        OSError: nobody reads.
    """
    written = io.BytesIO()
    packing = _Packing(written)
    packing.dump(thing)
    pipe.send_bytes(written.getbuffer())
    pipe.send_bytes(packing.num_bytes.to_bytes(8, "little"))
    if not packing.num_bytes:
        return
    file = os.memfd_create("clipdata-batch")
    try:
        os.truncate(file, packing.num_bytes)
        for tensor, start in packing.tensors:
            _write(file, tensor, start)
        _send_file(pipe, file)
    finally:
        os.close(file)


def receive(pipe: Connection) -> Any:
    """Receive what the other end sends.

    Raises:
        EOFError: there is no other end any more.
        OSError: likewise, in the middle of a parcel.
        StorageError: this process may open no more files.
    """
    written = pipe.recv_bytes()
    num_bytes = int.from_bytes(pipe.recv_bytes(), "little")
    memory = None
    if num_bytes:
        file = _receive_file(pipe)
        try:
            memory = mmap.mmap(file, num_bytes)
        finally:
            os.close(file)
    return _Unpacking(io.BytesIO(written), memory).load()


class _Packing(ForkingPickler):
    """Lays tensors aside, and writes where they will lie instead."""

    def __init__(self, written: io.BytesIO) -> None:
        super().__init__(written, pickle.HIGHEST_PROTOCOL)
        self.tensors: list[tuple[torch.Tensor, int]] = []
        self.num_bytes = 0

    def persistent_id(self, thing: Any) -> Any:
        """A tensor's type, shape, strides and place; None for everything else."""
        if type(thing) is not torch.Tensor or not _HAS_MEMORY_FILES or not thing.numel():
            return None
        if thing.device.type != "cpu" or thing.layout != torch.strided or thing.requires_grad or thing.is_quantized:
            return None
        tensor = thing if _is_dense(thing) else thing.contiguous()
        start = self.num_bytes
        self.tensors.append((tensor, start))
        self.num_bytes += -(-tensor.numel() * tensor.element_size() // _ALIGNMENT) * _ALIGNMENT
        return tensor.dtype, tuple(tensor.shape), tensor.stride(), start


class _Unpacking(pickle.Unpickler):
    """Makes tensors of mapped memory; the last of them lets it go."""

    def __init__(self, written: io.BytesIO, memory: mmap.mmap | None) -> None:
        super().__init__(written)
        self._memory = memory

    def persistent_load(self, told: Any) -> torch.Tensor:
        """The tensor that was laid aside."""
        dtype, shape, strides, start = told
        assert self._memory is not None, "there are tensors"
        flat = torch.frombuffer(self._memory, dtype=dtype, count=torch.Size(shape).numel(), offset=start)
        return flat.as_strided(shape, strides)


def _send_file(pipe: Connection, file: int) -> None:
    """Send an open file. multiprocessing's own way waits for an answer, from Python 3.14 on, and takes ours for it."""
    with socket.fromfd(pipe.fileno(), socket.AF_UNIX, socket.SOCK_STREAM) as end:
        socket.send_fds(end, [b"f"], [file])


def _receive_file(pipe: Connection) -> int:
    with socket.fromfd(pipe.fileno(), socket.AF_UNIX, socket.SOCK_STREAM) as end:
        said, files, _, _ = socket.recv_fds(end, 1, 1)
    if not said:
        raise EOFError
    if not files:
        raise StorageError(
            "a batch came from a worker process without its memory: this process has no file descriptor free",
            hint="allow more (ulimit -n 4096), or close what is open",
        )
    return files[0]


def _is_dense(tensor: torch.Tensor) -> bool:
    """Whether the elements are one stretch of memory, in whatever order."""
    axes = sorted((stride, size) for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if size > 1)
    expected = 1
    for stride, size in axes:
        if stride != expected:
            return False
        expected *= size
    return True


def _write(file: int, tensor: torch.Tensor, start: int) -> None:
    flat = tensor.as_strided((tensor.numel(),), (1,)).view(torch.uint8)
    left = memoryview(flat.numpy().data)
    while left:
        num_written = os.pwrite(file, left, start)
        left, start = left[num_written:], start + num_written
