"""The processes that train one model together: who this one is, who writes, and what crosses between them.

Every method that sends something is called by all of them, in the same order. Gradients of gathered features flow back
to the process that made them, so that a loss over all rows has the gradients of one process with the whole batch. It
knows torch.distributed and features; it must not know losses, nor how processes come together (process_group.py).

Shapes: B rows of this process, K texts of these laid end to end, T distinct ones among them, N rows of all processes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

import torch
from torch import distributed

from clipdata.training.features import BatchFacts, Features, WrongTexts

Value = TypeVar("Value")
Key = TypeVar("Key")

_BUCKET_BYTES = 32 << 20
"""Gradients that cross at once: many small exchanges are slow, and one of all gradients doubles their memory."""

_BUCKETS_ON_THEIR_WAY = 2


@dataclass(frozen=True)
class Processes:
    """This process among those that train together.

    Args:
        rank: of this one, from 0.
        world: how many there are.
    """

    rank: int = 0
    world: int = 1

    @classmethod
    def here(cls) -> Processes:
        """As torch.distributed was set up; one process where it was not."""
        if not (distributed.is_available() and distributed.is_initialized()):
            return cls()
        return cls(distributed.get_rank(), distributed.get_world_size())

    @property
    def writes(self) -> bool:
        """Whether this process writes, and tells, what all of them made."""
        return self.rank == 0

    def __str__(self) -> str:
        return f"process {self.rank} of {self.world}"

    # Of values

    def totals(self, values: Sequence[float]) -> list[float]:
        """Sums of numbers over all processes."""
        if self.world == 1:
            return list(values)
        summed = torch.tensor(values, dtype=torch.float64, device=_device_of_numbers())
        distributed.all_reduce(summed)
        return summed.tolist()

    def total(self, value: float, device: torch.device | None = None) -> float:
        """Sum of a number over all processes."""
        return self.totals([value])[0]

    def any(self, value: bool) -> bool:
        """Whether something is so in any of the processes."""
        return self.total(value) > 0

    def of_all(self, value: Value) -> list[Value]:
        """The values of all processes, in the order of their ranks."""
        found: list[Any] = [value] * self.world
        if self.world > 1:
            distributed.all_gather_object(found, value)
        return found

    def of_first(self, value: Value) -> Value:
        """The value of the first process."""
        found = [value]
        if self.world > 1:
            distributed.broadcast_object_list(found, src=0)
        return found[0]

    def by_first(self, make: Callable[[], Value]) -> Value:
        """What the first process makes for all."""
        return self.of_first(make() if self.writes else cast(Value, None))

    def joined(self, found: Mapping[Key, Value]) -> dict[Key, Value]:
        """Entries that any process has; where all have none, as mostly, that takes one small exchange."""
        if self.world == 1 or not self.total(len(found)):
            return dict(found)
        return {key: value for one in self.of_all(dict(found)) for key, value in one.items()}

    def wait(self) -> None:
        """Go on when all processes have come to this place."""
        self.total(0)

    def first_then_others(self, make: Callable[[], Value]) -> Value:
        """What each process makes; the others begin when the first is done."""
        made = [make()] if self.writes else []
        self.wait()
        return made[0] if made else make()

    # Of tensors

    def make_equal(self, tensors: Iterable[torch.Tensor]) -> None:
        """Give tensors, in place, the values that they have in the first process."""
        if self.world == 1:
            return
        with torch.no_grad():
            for tensor in tensors:
                distributed.broadcast(tensor, src=0)

    def gather(self, features: Features, facts: BatchFacts) -> tuple[Features, BatchFacts]:
        """The features and facts of the rows of all processes, in the order of their ranks.

        Gradients reach the features of other processes, too. Columns that are no tensors stay behind.
        """
        if self.world == 1:
            return features, facts
        columns = {name: one for name, one in facts.columns.items() if isinstance(one, torch.Tensor)}
        wrong = facts.wrong
        own = {
            "image_BD": features.image_BD,
            "text_TD": features.text_TD,
            "text_index_K": facts.text_index_K,
            "text_counts_B": facts.text_counts_B,
            "text_id_T": facts.text_id_T,
            "picture_B": facts.picture_B,
            **{f"column {name}": one for name, one in columns.items()},
            **{f"of texts {name}": one for name, one in facts.columns_of_texts.items()},
            **(vars(wrong) if wrong is not None else {}),
        }
        sizes = self._sizes(own)
        if not sum(sizes["text_index_K"]):  # texts that are no row's are prompts, which all processes have alike
            del own["text_TD"], own["text_id_T"]
        for name in ("text_index_K", "index_M"):
            if name in own:
                own[name] = own[name] + sum(sizes["text_TD"][: self.rank])
        joined = self._joined(own, sizes)
        return (
            replace(features, image_BD=joined["image_BD"], text_TD=joined.get("text_TD", features.text_TD)),
            BatchFacts(
                text_index_K=joined["text_index_K"],
                text_counts_B=joined["text_counts_B"],
                text_id_T=joined.get("text_id_T", facts.text_id_T),
                picture_B=joined["picture_B"],
                columns={name: joined[f"column {name}"] for name in columns},
                columns_of_texts={name: joined[f"of texts {name}"] for name in facts.columns_of_texts},
                wrong=None if wrong is None else WrongTexts(**{name: joined[name] for name in vars(wrong)}),
            ),
        )

    def mean_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace every gradient by its mean over all processes; a parameter that one of them left out counts as 0."""
        if self.world == 1:
            return
        sent: deque[tuple[distributed.Work, torch.Tensor, list[torch.Tensor]]] = deque()
        for bucket in _buckets([_gradient(parameter) for parameter in parameters]):
            flat = torch.cat([gradient.flatten() for gradient in bucket])
            sent.append((distributed.all_reduce(flat, async_op=True), flat, bucket))
            if len(sent) > _BUCKETS_ON_THEIR_WAY:
                self._take_mean(*sent.popleft())
        while sent:
            self._take_mean(*sent.popleft())

    def _take_mean(self, work: distributed.Work, flat: torch.Tensor, bucket: list[torch.Tensor]) -> None:
        work.wait()
        flat /= self.world
        for gradient, mean in zip(bucket, flat.split([one.numel() for one in bucket]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def _sizes(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
        """How many rows of each tensor every process has."""
        own = torch.tensor([len(tensor) for tensor in tensors.values()], device=_device_of_numbers())
        found = [torch.empty_like(own) for _ in range(self.world)]
        distributed.all_gather(found, own)
        return dict(zip(tensors, zip(*(one.tolist() for one in found), strict=True), strict=True))

    def _joined(
        self, tensors: Mapping[str, torch.Tensor], sizes: Mapping[str, Sequence[int]]
    ) -> dict[str, torch.Tensor]:
        """Rows of all processes; vectors of int64, of which there are many small ones, cross in one exchange."""
        numbers = [name for name, one in tensors.items() if one.dtype == torch.int64 and one.ndim == 1]
        found = {
            name: _Joined.apply(one, sizes[name], self.rank) for name, one in tensors.items() if name not in numbers
        }
        lengths = list(zip(*(sizes[name] for name in numbers), strict=True))
        flat = _Joined.apply(torch.cat([tensors[name] for name in numbers]), [*map(sum, lengths)], self.rank)
        parts = flat.split([length for of_process in lengths for length in of_process])
        return found | {name: torch.cat(parts[place :: len(numbers)]) for place, name in enumerate(numbers)}


ALONE = Processes()
"""One process that trains by itself."""


class _Joined(torch.autograd.Function):
    """Rows of all processes; the gradient of a row is the sum of what it is to each of them."""

    @staticmethod
    def forward(ctx: Any, own: torch.Tensor, sizes: Sequence[int], rank: int) -> torch.Tensor:
        """Exchange the rows; each process may have another number of them, and the exchange wants equal ones."""
        ctx.first, ctx.size = sum(sizes[:rank]), sizes[rank]
        padded = own.new_zeros((max(sizes), *own.shape[1:]))
        padded[: len(own)] = own
        parts = [torch.empty_like(padded) for _ in sizes]
        distributed.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[torch.Tensor, None, None]:
        """Every process has a gradient of all rows; their sum is of a loss that each has once."""
        summed = gradients[0].clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(summed)
        return summed[ctx.first : ctx.first + ctx.size], None, None


def _gradient(parameter: torch.nn.Parameter) -> torch.Tensor:
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


def _buckets(gradients: Iterable[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Neighbours of one kind, of which all but the last make up `_BUCKET_BYTES`."""
    bucket: list[torch.Tensor] = []
    num_bytes = 0
    for gradient in gradients:
        if bucket and (num_bytes >= _BUCKET_BYTES or gradient.dtype != bucket[0].dtype):
            yield bucket
            bucket, num_bytes = [], 0
        bucket.append(gradient)
        num_bytes += gradient.nbytes
    if bucket:
        yield bucket


def _device_of_numbers() -> torch.device:
    """Where small numbers cross: the CPU where the group reaches it, so that no device is waited for."""
    reaches_cpu = "cpu:" in distributed.get_backend_config()
    return torch.device("cpu") if reaches_cpu else torch.device("cuda", torch.cuda.current_device())
