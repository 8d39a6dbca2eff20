"""Mixing: the weights between those before and those after a training, and the share of the latter that does best.

It knows models by their tensors, and nothing of tables or runs.

Source: WiSE-FT (arXiv 2109.01903), which mixes (1 - a) * before + a * after: much of what a fine-tune gains is there at
an a at which less is lost elsewhere, and often more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from clipdata.encoder.sharing import own_tensors, sharing_copy
from clipdata.training.figures import Evaluation

ALPHAS = tuple(round(0.1 * tenth, 1) for tenth in range(11))
"""The shares of the weights after that are tried."""
LOSS = "held_out_loss"


def mixed(before: nn.Module, after: Mapping[str, torch.Tensor], alpha: float) -> nn.Module:
    """A model whose weights are (1 - alpha) * before + alpha * after; what training left alone it shares with before.

    The logit scale is mixed as it is kept, as a logarithm; counts are those after, unless alpha is 0.

    Args:
        before: the model that training began with.
        after: the tensors of the trained one, with low-rank additions merged (`state_dict` merges them).
        alpha: from 0 to 1; at 0 and 1 the weights are exactly those before and after.
    """
    model, state = sharing_copy(before), before.state_dict()
    moved = [name for name, tensor in state.items() if not torch.equal(tensor, after[name].to(tensor.device))]
    own_tensors(model, moved)
    own = model.state_dict()
    with torch.no_grad():
        for name in moved if alpha else ():
            end = after[name].to(own[name].device)
            own[name].copy_(torch.lerp(state[name], end, alpha) if end.is_floating_point() else end)
    return model.eval()


@dataclass(frozen=True)
class Mixture:
    """Which mixture of before and after is exported.

    Args:
        alpha: the share of the weights after.
        num_rows: validation rows that it was chosen on; 0 where it was given, or where none could be split off.
        curve: figures of these rows for each alpha that was tried.
    """

    alpha: float
    num_rows: int = 0
    curve: tuple[Mapping[str, float], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Mixture:
        """Read what `to_dict` gave."""
        return cls(told["alpha"], told["num_rows"], tuple(told["curve"]))

    def __str__(self) -> str:
        of = f"mixed: {self.alpha:g} of the weights after training, {1 - self.alpha:g} of those before"
        if not self.curve:
            return of
        at = {point["alpha"]: point[LOSS] for point in self.curve}
        told = f"loss {at[0.0]:.4g} before, {at[self.alpha]:.4g} so, {at[1.0]:.4g} after"
        return f"{of}, by {self.num_rows:,} validation rows ({told})"


def choose(measure: Callable[[float], Evaluation], alphas: Sequence[float] = ALPHAS) -> Mixture:
    """Try mixtures, and take the one with the least loss; of equal ones that nearest to before.

    Args:
        measure: gives the figures of an alpha on validation rows, whose loss is `held_out_loss`.
        alphas: to try.
    """
    found = [(alpha, measure(alpha)) for alpha in alphas]
    curve = tuple({"alpha": alpha, **one.metrics} for alpha, one in found)
    known = [point for point in curve if math.isfinite(point.get(LOSS, math.nan))]
    best = min(known, key=lambda point: (point[LOSS], point["alpha"]))["alpha"] if known else 0.0
    return Mixture(best, found[0][1].num_rows, curve)
