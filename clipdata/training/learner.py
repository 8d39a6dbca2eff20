"""Learner: a model in training, with its optimizer. It takes steps, and can be put away and taken up again exactly.

It knows batches and features; it must not know folders, tables or how long a run is to go on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from clipdata.encoder import Encoder, adapters, lock
from clipdata.encoder.checkpointing import checkpoint_blocks
from clipdata.encoder.sharing import own_tensors, sharing_copy
from clipdata.errors import ClipdataError, StorageError, UsageError
from clipdata.training.averaging import Average
from clipdata.training.batch_statistics import share_statistics
from clipdata.training.cached_gradients import InChunks
from clipdata.training.compiling import compiled
from clipdata.training.config import TrainConfig
from clipdata.training.forward import Forward, PictureIds
from clipdata.training.gradients import Gradients, Passes, WholeBatch
from clipdata.training.optimisers import Pull, build_optimizer, clamp_logit_scale, parameter_groups, set_rate
from clipdata.training.processes import Processes
from clipdata.training.vitals import Vitals

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_BatchNorm = nn.modules.batchnorm._BatchNorm


@dataclass(frozen=True)
class StepResult:
    """What a step did.

    Args:
        loss: mean over the rows of the step, before the weights moved; without the penalty.
        penalty: what `TrainConfig.pull` added to it.
        grad_norm: before clipping.
        logit_scale: after the weights moved.
        num_rows: of the step.
        vitals: what the features told, where they were looked at.
    """

    loss: float
    penalty: float
    grad_norm: float
    logit_scale: float
    num_rows: int
    vitals: Vitals | None = None


class Learner:
    """Trains a copy of an encoder's model; the encoder stays as it was, and what does not train they have in common.

    Args:
        encoder: what to begin with.
        config: what trains, and how.
        num_rows: of the table that are trained on; `config.pull` is shared among them.
        pictures: of all rows that will come; without them no two rows are known to share a picture.

    Raises:
        UsageError: nothing of the model would train; statistics of a batch would be made of some of its rows.

    What a config asks of the encoder was checked before (`check_feasible`). `adapted` says where low-rank additions
    were put, or is None.
    """

    def __init__(
        self, encoder: Encoder, config: TrainConfig, num_rows: int, pictures: PictureIds | None = None
    ) -> None:
        self.device, self.config = encoder.device, config
        self.model = sharing_copy(encoder.model)
        self.adapted = self._adapted() if config.train == "lora" else None
        lock(self.model, config.train, num_blocks=config.blocks)
        if config.gradient_checkpointing:
            checkpoint_blocks(self.model)
        self._begin_scale()
        for name in ("logit_scale", "logit_bias"):
            if isinstance(getattr(self.model, name, None), nn.Parameter):
                self.model.get_parameter(name).requires_grad_(config.learn_logit_scale)
        self.training(True)
        own_tensors(self.model, self.tensors())
        self.forward = Forward(self.model, encoder, config, pictures)
        groups = parameter_groups(self.model, self.forward.towers, config)
        if config.compile:
            self.forward.towers = compiled(self.forward.towers)
        self._parameters = [parameter for group in groups for parameter in group["params"]]
        if not self._parameters:
            raise UsageError(f"{encoder.name} has nothing to train with train={config.train!r}", hint="--set train=all")
        self._pull = Pull(self.model, config.pull / num_rows)
        self._optimizer = build_optimizer(groups, config)
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=config.precision == "fp16")
        self._processes = Processes.here()
        self._gradients = Gradients(
            self._passes(), config.objective, scale=self._scaler.scale, processes=self._processes
        )
        self._refuse_statistics_of_chunks()
        if self._processes.world > 1:
            share_statistics(self.model)
        self._average = Average(self.tensors(), config.ema) if config.ema else None

    def _adapted(self) -> adapters.Adapted:
        """Put low-rank additions into the model."""
        rank, alpha, dropout = self.config.lora_rank, self.config.lora_alpha, self.config.lora_dropout
        return adapters.insert(self.model, rank=rank, alpha=alpha, dropout=dropout, seed=self.config.seed)

    def training(self, on: bool) -> None:
        """Switch dropout (and batch statistics, unless these are frozen) on for training or off for measuring."""
        self.model.train(on)
        if self.config.freeze_batchnorm:
            for module in self.model.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()

    @contextmanager
    def measuring(self) -> Iterator[nn.Module]:
        """For a while the model is what is measured and exported: no dropout, and the average if one is kept."""
        self.training(False)
        try:
            with self._average.in_place() if self._average is not None else nullcontext():
                yield self.model
        finally:
            self.training(True)

    @property
    def needs_two_rows(self) -> bool:
        """Whether batch statistics are made, which a single row has none of."""
        return any(isinstance(module, _BatchNorm) and module.training for module in self.model.modules())

    def autocast(self) -> torch.autocast:
        """Compute in the config's precision."""
        dtype = _DTYPES[self.config.precision]
        return torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not torch.float32)

    def _passes(self) -> Passes:
        chunk = self.config.grad_cache_chunk
        return InChunks(self.forward, self.autocast, chunk) if chunk else WholeBatch(self.forward, self.autocast)

    def _refuse_statistics_of_chunks(self) -> None:
        chunk = self.config.grad_cache_chunk
        if chunk and self.needs_two_rows:
            raise UsageError(
                f"grad_cache_chunk is {chunk}, and BatchNorm layers would make their statistics of {chunk} rows at a "
                "time, twice a step, in place of the batch's",
                hint="--set freeze_batchnorm=true holds them as they are; --set grad_cache_chunk=0 takes the batch at "
                "once",
            )

    def _begin_scale(self) -> None:
        """Set the logit scale that the config begins with."""
        if self.config.init_logit_scale is not None:
            with torch.no_grad():
                self.model.get_parameter("logit_scale").fill_(math.log(self.config.init_logit_scale))

    def step(self, batches: Sequence[Mapping[str, Any]], rate_factor: float, *, looks: bool = False) -> StepResult:
        """Move the weights once.

        Args:
            batches: of a stream made with `forward.request()`; the gradients of several are averaged.
            rate_factor: part of the peak learning rate.
            looks: look at the features, too.

        Raises:
            ClipdataError: the loss or the gradient is not a number any more; the weights did not move.
        """
        set_rate(self._optimizer, rate_factor)
        self._gradients.looks, self._gradients.vitals = looks, None
        try:
            done = self._gradients.of(batches, self.device)
            _require_finite("loss", done.loss)
            penalty = self._pull()
            if penalty is not None:
                self._scaler.scale(penalty).backward()
            self._processes.mean_gradients(self._parameters)
            self._scaler.unscale_(self._optimizer)
            grad_norm = float(nn.utils.clip_grad_norm_(self._parameters, self.config.grad_clip or torch.inf))
            # A scaler leaves out a step that overflows, and goes on with a smaller scale.
            if not self._scaler.is_enabled():
                _require_finite("gradient", grad_norm)
            self._scaler.step(self._optimizer)
            self._scaler.update()
        finally:
            self._optimizer.zero_grad(set_to_none=True)
        clamp_logit_scale(self.model)
        if self._average is not None:
            self._average.update()
        logit_scale = float(self.model.get_parameter("logit_scale").detach().exp())
        penalty_value = 0.0 if penalty is None else float(penalty.detach())
        vitals = self._gradients.vitals
        return StepResult(done.loss, penalty_value, grad_norm, logit_scale, done.num_rows, vitals)

    def tensors(self) -> dict[str, torch.Tensor]:
        """All tensors that training changes: trained parameters, and statistics of BatchNorm layers that move."""
        found: dict[str, torch.Tensor] = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        for path, module in self.model.named_modules():
            if isinstance(module, _BatchNorm) and module.training:
                found |= {f"{path}.{name}": buffer for name, buffer in module.named_buffers(recurse=False)}
        return found

    def measured_tensors(self) -> dict[str, torch.Tensor]:
        """The same tensors as they are measured and exported: their averages, if these are kept."""
        return self.tensors() if self._average is None else self._average.tensors

    def state(self) -> dict[str, Any]:
        """What the next step depends on beside the tensors; what it draws at random depends on its number alone."""
        return {
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "average": None if self._average is None else self._average.state(),
        }

    def put(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Give the tensors that train other values; a moving average begins anew with them.

        Raises:
            StorageError: the tensors are others than those that train.
        """
        mine = self.tensors()
        if tensors.keys() != mine.keys():
            differing = sorted(tensors.keys() ^ mine.keys())
            raise StorageError(f"the checkpoint holds other tensors than those that train: {', '.join(differing[:5])}")
        with torch.no_grad():
            for name, tensor in mine.items():
                tensor.copy_(tensors[name])
        if self._average is not None:
            self._average.restart()

    def restore(self, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any]) -> None:
        """Stand where `tensors` and `state` were taken.

        Raises:
            StorageError: the tensors are others than those that train.
        """
        self.put(tensors)
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        if self._average is not None:
            self._average.restore(state["average"])


def _require_finite(what: str, value: float) -> None:
    if not abs(value) < float("inf"):  # false for NaN too
        raise ClipdataError(
            f"the {what} became {value}; expected a number. The last checkpoint is unharmed",
            hint="lower the rate (--set lr=…), clip harder (--set grad_clip=…), or use --set precision=fp32",
        )
