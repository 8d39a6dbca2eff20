"""What a computation keeps in memory after each of its operations, and how that grows with the rows it is given.

Nothing is guessed: two and three rows go through the computation itself, forward and backward, every tensor that it
makes is counted until it is freed, and the difference is what a further row costs. What kernels take inside an
operation is not seen. It knows tensors; it must not know models or configs. Shapes: S operations.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

_FEWEST = 2
"""Rows that growth is measured from: with a single one, layouts are others and copies are left out."""


@dataclass(frozen=True)
class Alive:
    """Bytes that a computation of some rows holds after each operation.

    Args:
        forward_S: of the forward pass.
        backward_S: of the backward pass, without gradients of weights.
        gradients_S: of weights, in the backward pass.
    """

    forward_S: np.ndarray
    backward_S: np.ndarray
    gradients_S: np.ndarray

    @property
    def kept(self) -> int:
        """At the end of the forward pass, for the backward pass."""
        return int(self.forward_S[-1]) if len(self.forward_S) else 0

    def peak(self, *, gradients: bool = True) -> int:
        """Most bytes at any time.

        Args:
            gradients: count those of weights, which the backward pass makes while it frees what the forward pass kept.
        """
        backward_S = self.backward_S + self.gradients_S if gradients else self.backward_S
        return int(max(self.forward_S.max(initial=0), backward_S.max(initial=0), 0))


@dataclass(frozen=True)
class Growth:
    """What is alive with `_FEWEST` rows, and what each further row adds."""

    fewest: Alive
    per_row: Alive

    def of(self, num_rows: int) -> Alive:
        """What is alive with so many rows."""
        more = max(num_rows, 0) - _FEWEST
        parts = ((getattr(self.fewest, n), getattr(self.per_row, n)) for n in ("forward_S", "backward_S"))
        forward_S, backward_S = (np.maximum(fewest_S + more * per_row_S, 0) for fewest_S, per_row_S in parts)
        return Alive(forward_S, backward_S, self.fewest.gradients_S)


def growth_of(compute: Callable[[torch.Tensor], torch.Tensor], given: torch.Tensor, weights: Iterable[Any]) -> Growth:
    """Measure a computation, forward, and backward where gradients reach its result.

    Args:
        compute: from rows to a result.
        given: rows, at least one; they are taken several times where there are too few.
        weights: parameters whose gradients the backward pass makes; they have none afterwards.
    """
    places = torch.arange(_FEWEST + 1, device=given.device) % len(given)
    rows, weights = given.index_select(0, places), list(weights)
    fewest, more = (_alive_in(compute, rows[:num_rows], weights) for num_rows in (_FEWEST, _FEWEST + 1))
    if any(len(getattr(fewest, n)) != len(getattr(more, n)) for n in ("forward_S", "backward_S")):
        fewest, more = _at_its_most(fewest), _at_its_most(more)
    return Growth(
        fewest, Alive(more.forward_S - fewest.forward_S, more.backward_S - fewest.backward_S, fewest.gradients_S)
    )


def peak_of(compute: Callable[[], torch.Tensor]) -> int:
    """Most bytes that a computation holds, forward, and backward where gradients reach its result."""
    with _Counted() as counted:
        result = compute()
        if result.requires_grad:
            result.sum().backward()
    return max(counted.alive_S, default=0)


def _alive_in(compute: Callable[[torch.Tensor], torch.Tensor], rows: torch.Tensor, weights: list[Any]) -> Alive:
    with _Counted() as counted:
        hooks = [weight.register_post_accumulate_grad_hook(counted.gradient) for weight in weights]
        result = compute(rows)
        counted.note()
        num_forward = len(counted.alive_S)
        if result.requires_grad:
            result.backward(torch.zeros_like(result))
            counted.note()
    for hook, weight in zip(hooks, weights, strict=True):
        hook.remove()
        weight.grad = None
    alive_S, gradients_S = np.array(counted.alive_S), np.array(counted.gradients_S)
    return Alive(alive_S[:num_forward], (alive_S - gradients_S)[num_forward:], gradients_S[num_forward:])


def _at_its_most(alive: Alive) -> Alive:
    """One number for each pass, where operations differ with the number of rows."""

    def most(bytes_S: np.ndarray) -> np.ndarray:
        return np.array([bytes_S.max(initial=0)])

    forward_S = np.array([alive.forward_S.max(initial=0), alive.kept])
    return Alive(forward_S, most(alive.backward_S), most(alive.gradients_S))


class _Counted(TorchDispatchMode):
    """Counts the bytes of tensors made while it is entered, until they are freed."""

    def __init__(self) -> None:
        super().__init__()
        self.alive_S: list[int] = []
        self.gradients_S: list[int] = []
        self._now, self._gradients = 0, 0
        self._storages: set[int] = set()

    def gradient(self, weight: torch.Tensor) -> None:
        """Take note of a weight's gradient, which is there from now on."""
        if weight.grad is not None:
            self._gradients += weight.grad.untyped_storage().nbytes()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        there = {one.untyped_storage()._cdata for one in _tensors((args, kwargs))}
        made = func(*args, **(kwargs or {}))
        for tensor in _tensors(made):
            storage = tensor.untyped_storage()
            if storage._cdata not in self._storages and storage._cdata not in there:
                self._storages.add(storage._cdata)
                self._now += storage.nbytes()
                weakref.finalize(storage, self._freed, storage._cdata, storage.nbytes())
        self.note()
        return made

    def note(self) -> None:
        """Take note of what is alive now."""
        self.alive_S.append(self._now)
        self.gradients_S.append(self._gradients)

    def _freed(self, storage: int, num_bytes: int) -> None:
        self._storages.discard(storage)
        self._now -= num_bytes


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    """Those that an operation is given or gives, which lie in tuples, lists and dicts."""
    if isinstance(values, torch.Tensor):
        yield values
    elif isinstance(values, (tuple, list)):
        for value in values:
            yield from _tensors(value)
    elif isinstance(values, dict):
        yield from _tensors(tuple(values.values()))
