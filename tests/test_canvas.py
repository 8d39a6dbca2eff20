"""Memory that is used again: only once nobody can see what was in it."""

from __future__ import annotations

import gc
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clipdata.images.canvas import Canvas, ReusedMemory

HOLDERS = {
    "the array": lambda array: array,
    "a view": lambda array: array[1:],
    "a view of another type": lambda array: array.view(np.int8)[0],
    "a memoryview": lambda array: memoryview(array),
    "a tensor": torch.from_numpy,
    "a view of a tensor": lambda array: torch.from_numpy(array).permute(1, 0)[2:],
    "an array of a tensor": lambda array: torch.from_numpy(array).numpy()[1:, :2],
    "a tensor that shares the storage": lambda array: torch.from_numpy(array).detach().view(-1).unsqueeze(0),
    "a gradient's saved input": lambda array: (torch.ones(1, requires_grad=True) * torch.from_numpy(array)).grad_fn,
    "a capsule": lambda array: torch.utils.dlpack.to_dlpack(torch.from_numpy(array)),
}


def address(array: np.ndarray) -> int:
    return array.ctypes.data


@pytest.mark.parametrize("holder", HOLDERS)
def test_memory_is_used_again_when_its_last_holder_is_gone_and_not_before(holder: str) -> None:
    memory = ReusedMemory()
    array = memory.array((4, 6), np.uint8)
    first, held = address(array), HOLDERS[holder](array)
    del array

    meanwhile = memory.array((4, 6), np.uint8)
    assert address(meanwhile) != first
    del held
    gc.collect()
    assert address(memory.array((4, 6), np.uint8)) == first


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9), st.booleans()), max_size=40))
def test_whoever_keeps_arrays_keeps_their_values(steps: list[tuple[int, int, bool]]) -> None:
    memory, kept = ReusedMemory(most_free=2), {}
    for number, (slot, rows, as_tensor) in enumerate(steps):
        array = memory.array((rows, 5), np.uint8)
        array[:] = number
        kept[slot] = (torch.from_numpy(array).t() if as_tensor else array[:, 1:], number)
        del array
        for held, value in kept.values():
            assert bool((held == value).all())


def test_memory_that_is_not_wanted_any_more_is_given_back() -> None:
    memory = ReusedMemory(most_free=2)
    arrays = [memory.array((100,), np.uint8) for _ in range(9)]
    del arrays

    assert len(memory._free) == 2
    memory.array((10_000,), np.uint8)
    assert all(piece.nbytes == 10_000 for piece in memory._free)


def test_no_rows_need_no_memory_and_a_pickle_carries_none() -> None:
    memory = ReusedMemory(most_free=3)
    memory.array((50,), np.float32)
    assert len(memory._free) == 1

    assert memory.array((0, 4), np.float32).shape == (0, 4)
    assert not pickle.loads(pickle.dumps(memory))._free


def test_a_canvas_keeps_its_memory_up_to_a_bound() -> None:
    canvas = Canvas(most_bytes=1000)
    small = canvas.room(100)

    assert canvas.room(80) is small
    assert canvas.room(1001) is None
    grown = canvas.room(1000)
    assert grown is not None
    assert canvas.room(10) is grown
