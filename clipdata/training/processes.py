"""The processes that train one model together: who this one is, who writes, and what crosses between them.

Gradients of gathered features flow back to the process that made them, so that a loss over all rows has the gradients
of one process with the whole batch. It knows torch.distributed and features; it must not know losses.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import distributed

from clipdata.training.features import BatchFacts, Features, WrongTexts


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
        """Whether this process writes what all of them made."""
        return self.rank == 0

    def total(self, value: float, device: torch.device) -> float:
        """Sum of a number over all processes."""
        if self.world == 1:
            return value
        summed = torch.tensor(value, dtype=torch.float64, device=device)
        distributed.all_reduce(summed)
        return float(summed)

    def gather(self, features: Features, facts: BatchFacts) -> tuple[Features, BatchFacts]:
        """The features and facts of the rows of all processes, in the order of their ranks.

        Gradients reach the features of other processes, too. Columns that are no tensors stay behind.
        """
        if self.world == 1:
            return features, facts
        text_sizes = self._sizes(len(features.text_TD), features.text_TD.device)
        shift = sum(text_sizes[: self.rank])
        return (
            replace(features, image_BD=self._joined(features.image_BD), text_TD=self._joined(features.text_TD)),
            BatchFacts(
                text_index_K=self._joined(facts.text_index_K + shift),
                text_counts_B=self._joined(facts.text_counts_B),
                text_id_T=self._joined(facts.text_id_T),
                picture_B=self._joined(facts.picture_B),
                columns={n: self._joined(one) for n, one in facts.columns.items() if isinstance(one, torch.Tensor)},
                columns_of_texts={name: self._joined(one) for name, one in facts.columns_of_texts.items()},
                wrong=None if facts.wrong is None else self._joined_wrong(facts.wrong, shift),
            ),
        )

    def _joined_wrong(self, wrong: WrongTexts, shift: int) -> WrongTexts:
        return WrongTexts(
            index_M=self._joined(wrong.index_M + shift),
            caption_id_J=self._joined(wrong.caption_id_J),
            caption_counts_B=self._joined(wrong.caption_counts_B),
        )

    def mean_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace every gradient by its mean over all processes; a parameter that one of them left out counts as 0."""
        if self.world == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            distributed.all_reduce(parameter.grad)
            parameter.grad /= self.world

    def _sizes(self, size: int, device: torch.device) -> list[int]:
        found = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(self.world)]
        distributed.all_gather(found, torch.tensor([size], dtype=torch.int64, device=device))
        return [int(one) for one in found]

    def _joined(self, tensor: torch.Tensor) -> torch.Tensor:
        """Rows of all processes; each may have another number of them, and the exchange wants equal ones."""
        from torch.distributed.nn import functional

        sizes = self._sizes(len(tensor), tensor.device)
        padded = torch.cat([tensor, tensor.new_zeros((max(sizes) - len(tensor), *tensor.shape[1:]))])
        if tensor.is_floating_point():
            parts = functional.all_gather(padded)
        else:
            parts = [torch.zeros_like(padded) for _ in sizes]
            distributed.all_gather(parts, padded.contiguous())
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])
