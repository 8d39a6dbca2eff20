"""Memory that a training needs, from what was measured of its own model and of its own first batch.

    MemoryNeed    what a step takes, by what takes it
    Measured      what was measured, from which the need with other settings follows: so many rows at a time, or heads
                  alone
    measure       measures it

It knows models in training and batches; it must not know runs or loops. What kernels take inside an operation, and what
an allocator keeps of what was freed, is not seen; benchmarks/memory_estimate.py holds the sums against measured peaks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from clipdata.encoder.allocation import KEPT_BYTES
from clipdata.shown_values import shown_bytes
from clipdata.training.forward import Inputs
from clipdata.training.memory_growth import Growth, growth_of, peak_of
from clipdata.training.processes import Processes
from clipdata.training.randomness import RandomState

if TYPE_CHECKING:
    from clipdata.training.learner import Learner

_COMPARED = 64
"""Most rows whose loss is measured itself; that of more follows from these, for it grows with their square."""


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes that a training takes beyond the model that it begins with.

    Args:
        weights: of the copy that trains, as far as it is one.
        copies: of weights beside it: those to be pulled to, and a moving average.
        gradients: of what trains.
        optimizer: what it keeps of each weight.
        rows: most that rows take at once, in a step or while they are measured, beside all these.
        rows_at_once: rows of a step that are in the towers together.
    """

    weights: int
    copies: int
    gradients: int
    optimizer: int
    rows: int
    rows_at_once: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.to_come + self.weights + self.copies

    @property
    def to_come(self) -> int:
        """What is not taken yet before the first step."""
        return self.gradients + self.optimizer + self.rows

    def to_json(self) -> dict[str, int]:
        """JSON values."""
        names = ("weights", "copies", "gradients", "optimizer", "rows")
        return {f"{n}_bytes": getattr(self, n) for n in names} | {
            "total_bytes": self.total,
            "rows_at_once": self.rows_at_once,
        }

    def __str__(self) -> str:
        rows = f"{self.rows_at_once:,} row{'s' if self.rows_at_once != 1 else ''} at once"
        parts = {"weights": self.weights, "copies": self.copies, "gradients": self.gradients}
        parts |= {"optimizer": self.optimizer, rows: self.rows}
        told = ", ".join(f"{name} {shown_bytes(size)}" for name, size in parts.items() if size)
        return f"about {shown_bytes(self.total)} beyond the model ({told})"


@dataclass(frozen=True)
class Measured:
    """What was measured of a model in training and of a batch.

    Args:
        weights, copies, gradients, optimizer: as of `MemoryNeed`.
        moving: bytes that the optimizer takes while it moves the weights.
        heads_gradients: of heads, logit scale and bias alone.
        images, texts: growth of the trunks in a step.
        images_held, texts_held: the same without gradients, as when rows are measured.
        compared: bytes that heads and loss take for the whole batch.
        features: bytes of the trunks' features of the whole batch.
        num_rows, num_texts: of the batch.
        adds_up: gradients of several batches, or portions of one, are added to those that are there.
        evaluation_batch: rows that are measured at a time; 0 where none are.
        on_processor: the model is on a CPU, where some of what rows have freed stays with the process
            (`clipdata.encoder.allocation`).
    """

    weights: int
    copies: int
    gradients: int
    optimizer: int
    moving: int
    heads_gradients: int
    images: Growth
    texts: Growth
    images_held: Growth
    texts_held: Growth
    compared: int
    features: int
    num_rows: int
    num_texts: int
    adds_up: bool
    evaluation_batch: int
    on_processor: bool

    def need(self, chunk: int, *, num_rows: int | None = None) -> MemoryNeed:
        """What is needed.

        Args:
            chunk: rows that go through the towers at a time; 0 takes the batch at once.
            num_rows: of a batch; those of the one that was measured by default.
        """
        num_rows = self.num_rows if num_rows is None else num_rows
        passes = self.in_passes(chunk, num_rows)
        most = max(passes, self.gradients + self.moving, self._measuring() if self.evaluation_batch else 0)
        rows = max(most - self.gradients, 0)
        return MemoryNeed(
            self.weights,
            self.copies,
            self.gradients,
            self.optimizer,
            rows + (min(rows, KEPT_BYTES) if self.on_processor else 0),
            min(chunk or num_rows, num_rows),
        )

    def in_passes(self, chunk: int, num_rows: int) -> int:
        """Most bytes, with gradients, while a batch goes through the model and gradients back."""
        return self._in_chunks(chunk) if chunk else self._at_once(num_rows, self._texts_of(num_rows))

    def heads_alone(self) -> Measured:
        """The same model, of which only the heads train."""
        share = self.heads_gradients / max(self.gradients, 1)
        return replace(
            self,
            gradients=self.heads_gradients,
            copies=int(share * self.copies),
            optimizer=int(share * self.optimizer),
            moving=int(share * self.moving),
            images=self.images_held,
            texts=self.texts_held,
        )

    def _texts_of(self, num_rows: int) -> int:
        return -(-self.num_texts * num_rows // max(self.num_rows, 1))

    def _measuring(self) -> int:
        images = self.images_held.of(self.evaluation_batch)
        return max(images.peak(), self.texts_held.of(self._texts_of(self.evaluation_batch)).peak())

    def _in_chunks(self, chunk: int) -> int:
        towers = max(side.of(chunk).peak(gradients=False) for side in (self.images, self.texts))
        return self.gradients + self.features + max(towers, self.compared)

    def _at_once(self, num_rows: int, num_texts: int) -> int:
        images, texts = self.images.of(num_rows), self.texts.of(num_texts)
        there = self.gradients if self.adds_up else 0
        added = not self.adds_up
        text_gradients = int(texts.gradients_S.max(initial=0)) if added else 0
        # The text tower comes second, so that the backward pass goes through it first.
        return there + max(
            images.peak(gradients=added),
            images.kept + texts.peak(gradients=added),
            images.kept + texts.kept + self.compared,
            text_gradients + images.peak(gradients=added),
        )


def measure(learner: Learner, batch: Mapping[str, Any], encoder_model: nn.Module, *, evaluates: bool) -> Measured:
    """Measure what a step and an evaluation take, with a few rows of a batch.

    Weights, statistics and random state stay as they were; weights have no gradients before and after.

    Args:
        learner: before its first step.
        batch: of at least one row.
        encoder_model: what the learner's model was copied from.
        evaluates: rows are measured, too.
    """
    config, forward = learner.config, learner.forward
    stands = RandomState.now(learner.device)
    statistics = [(buffer, buffer.clone()) for buffer in learner.model.buffers()]
    trained = [parameter for parameter in learner.model.parameters() if parameter.requires_grad]
    with learner.autocast():
        inputs = forward.inputs(batch)
    trunks = (forward.image_trunk, inputs.images), (forward.text_trunk, longest_first(inputs.texts))
    images, texts = (growth_of(_within(learner.autocast, trunk), given, trained) for trunk, given in trunks)
    with torch.no_grad():
        held = [growth_of(_within(learner.autocast, trunk), given, ()) for trunk, given in trunks]
    compared, features = _compared(learner, inputs)
    for buffer, was in statistics:
        buffer.copy_(was)
    stands.restore()
    gradients = sum(parameter.nbytes for parameter in trained)
    heads = {*forward.towers.image_head_names, *forward.towers.text_head_names, "logit_scale", "logit_bias"}
    own = {id(p): p.nbytes for n, p in learner.model.named_parameters() if p.requires_grad and n in heads}
    return Measured(
        weights=_own_bytes(learner.model, encoder_model),
        copies=gradients * ((config.pull > 0) + (config.ema > 0)),
        gradients=gradients,
        optimizer=gradients * {"adamw": 2, "adam": 2, "sgd": int(config.momentum > 0)}[config.optimizer],
        moving=_moving(trained, gradients, learner.device, pulls=config.pull > 0),
        heads_gradients=sum(own.values()),
        images=images,
        texts=texts,
        images_held=held[0],
        texts_held=held[1],
        compared=compared,
        features=features,
        num_rows=len(inputs.images),
        num_texts=len(inputs.texts),
        adds_up=config.accumulate > 1,
        evaluation_batch=config.evaluation_batch if evaluates else 0,
        on_processor=learner.device.type == "cpu",
    )


def longest_first(texts: torch.Tensor) -> torch.Tensor:
    """Ids [T, L] with the longest text first, so that a few of them are as wide as all; features stay as they are."""
    if texts.is_floating_point() or not len(texts):
        return texts
    return texts.index_select(0, (texts != texts[:, -1:]).sum(dim=1).argsort(descending=True, stable=True))


def _within(autocast: Callable[[], Any], trunk: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    def compute(given: torch.Tensor) -> torch.Tensor:
        with autocast():
            return trunk(given)

    return compute


def _compared(learner: Learner, inputs: Inputs) -> tuple[int, int]:
    """Bytes that heads and loss take, and bytes of the trunks' features, for the rows of all processes."""
    towers, device = learner.forward.towers, learner.device
    num_rows, world = len(inputs.images), Processes.here().world
    text_TW = torch.rand(len(inputs.texts), towers.text_trunk_dim, device=device)

    def bytes_of(count: int) -> int:
        image_BW = torch.rand(count, towers.image_trunk_dim, device=device).requires_grad_()
        facts = inputs.facts.first(count)

        def loss() -> torch.Tensor:
            with learner.autocast():
                features = learner.forward.features(image_BW, text_TW.requires_grad_())
            return learner.config.objective.loss(features, facts)

        try:
            return peak_of(loss)
        finally:
            learner.model.zero_grad(set_to_none=True)
            text_TW.grad = None

    features = 4 * world * (num_rows * towers.image_trunk_dim + len(inputs.texts) * towers.text_trunk_dim)
    if num_rows <= _COMPARED and world == 1:
        return bytes_of(num_rows), features
    most = min(_COMPARED, num_rows)
    return _as_square(bytes_of, (max(most // 4, 1), max(most // 2, 2), max(most, 3)), num_rows * world), features


def _as_square(bytes_of: Callable[[int], int], at: tuple[int, int, int], num_rows: int) -> int:
    """The parabola through three measured places, at a fourth."""
    total = 0.0
    for one in at:
        part = float(bytes_of(one))
        for other in at:
            part *= (num_rows - other) / (one - other) if other != one else 1.0
        total += part
    return max(int(total), 0)


def _own_bytes(model: nn.Module, other: nn.Module) -> int:
    """Bytes of a model's tensors that are not another's."""
    others = {storage for storage, _ in _storages(other)}
    return sum(size for storage, size in {*_storages(model)} if storage not in others)


def _storages(model: nn.Module) -> Iterable[tuple[int, int]]:
    for tensor in [*model.parameters(), *model.buffers()]:
        yield tensor.untyped_storage().data_ptr(), tensor.untyped_storage().nbytes()


def _moving(trained: list[nn.Parameter], gradients: int, device: torch.device, *, pulls: bool) -> int:
    """Bytes beside gradients while weights move: torch takes one weight at a time on a CPU, all at once on a GPU."""
    at_once = gradients if device.type == "cuda" else 2 * max(parameter.nbytes for parameter in trained)
    return max(at_once, 2 * gradients if pulls else 0)
