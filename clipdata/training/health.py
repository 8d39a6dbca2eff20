"""Health: what goes wrong while a model trains, said once each with what to type.

    diverging    the loss is far above that of the first step, and above that of a model that knows nothing
    stuck        the loss stays at that of a model that knows nothing, ln of what is compared
    collapsing   the features of different pictures stay nearly the same
    unmoved      no gradient reaches what trains

It is measured against the run's own first step and the objective's own loss at equal scores, so that no objective needs
thresholds of its own. It knows numbers, and neither models nor files.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from clipdata.training.vitals import Vitals

_LOOK_EVERY = 50
_DIVERGED = 1.5
"""Times the loss of the first step, or of a model that knows nothing, whichever is higher."""
_STUCK = 0.01
"""Largest part by which a loss may differ from that of a model that knows nothing and count as the same."""
_ALIKE = 0.98
"""Mean cosine between pictures from which on they are nearly the same. Pretrained models have up to about 0.8."""
_SPREADS = 0.9
"""Features whose distance from being all the same grew by more than this are on their way, as in training from
scratch."""
_UNMOVED_STEPS = 5
_LEAST_LOOKS = 4
_MOST_PATIENCE = 1000
"""Steps after which also a long run is told that nothing happens."""


@dataclass(frozen=True)
class Warned:
    """What goes wrong.

    Args:
        name: of the fault, as in this module's list.
        step: at which it was found.
        text: what was found, and what to type.
    """

    name: str
    step: int
    text: str

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {"name": self.name, "step": self.step, "text": self.text}


class Health:
    """Watches the steps of a run.

    Args:
        num_steps: of the run.
        lr: its peak rate.
        objective: kind of its objective.
    """

    def __init__(self, num_steps: int, lr: float, objective: str) -> None:
        self._num_steps, self._lr, self._objective = num_steps, lr, objective
        self._window = min(max(num_steps // 20, 5), 50)
        self._losses: deque[float] = deque(maxlen=self._window)
        self._patience = min(num_steps // 2, _MOST_PATIENCE)
        self._first: float | None = None
        self._flat: float | None = None  # of the newest look
        self._ratios: list[tuple[int, float]] = []  # step and loss / flat loss of the looks that patience covers
        self._alike: list[tuple[int, float]] = []  # the looks in a row that found features nearly the same
        self._began_alike = False
        self._unmoved = 0
        self.warnings: list[Warned] = []

    @property
    def loss(self) -> float | None:
        """Mean of the newest steps."""
        return sum(self._losses) / len(self._losses) if self._losses else None

    def is_due(self, step: int) -> bool:
        """Whether to look at the features of a step, counted from 1."""
        return step == 1 or step % min(max(self._num_steps // 20, 1), _LOOK_EVERY) == 0

    def see(self, step: int, loss: float, grad_norm: float, vitals: Vitals | None) -> list[Warned]:
        """Take in a step, and tell what goes wrong since.

        Args:
            step: counted from 1.
            loss: before the weights moved.
            grad_norm: before clipping.
            vitals: of the same step, if it was looked at.
        """
        self._first = loss if self._first is None else self._first
        self._losses.append(loss)
        if vitals is not None and vitals.flat_loss:
            self._flat = vitals.flat_loss
            self._ratios.append((step, loss / vitals.flat_loss))
            while len(self._ratios) > 1 and self._ratios[1][0] <= step - self._patience:
                del self._ratios[0]
        self._unmoved = self._unmoved + 1 if grad_norm == 0 else 0
        said = {one.name for one in self.warnings}
        found = [Warned(name, step, text) for name, text in self._faults(step, vitals) if name not in said]
        self.warnings += found
        return found

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "losses": list(self._losses),
            "first": self._first,
            "flat": self._flat,
            "ratios": [list(one) for one in self._ratios],
            "alike": [list(one) for one in self._alike],
            "began_alike": self._began_alike,
            "unmoved": self._unmoved,
            "warnings": [one.to_json() for one in self.warnings],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Stand where `state` was taken."""
        self._losses.extend(state["losses"])
        self._first, self._flat = state["first"], state["flat"]
        self._ratios = [(step, ratio) for step, ratio in state["ratios"]]
        self._alike = [(step, cosine) for step, cosine in state["alike"]]
        self._began_alike, self._unmoved = state["began_alike"], state["unmoved"]
        self.warnings = [Warned(**one) for one in state["warnings"]]

    def _faults(self, step: int, vitals: Vitals | None) -> Iterator[tuple[str, str]]:
        if len(self._losses) == self._window and self._flat is not None:
            yield from self._diverging(sum(self._losses) / len(self._losses), self._flat)
        if vitals is not None and len(self._ratios) >= _LEAST_LOOKS:
            yield from self._stuck(step)
        if vitals is not None and vitals.image_cosine is not None:
            yield from self._collapsing(step, vitals.image_cosine)
        if self._unmoved == _UNMOVED_STEPS:
            yield (
                "unmoved",
                f"the gradient has been 0 for {_UNMOVED_STEPS} steps, and nothing moves: another --set train=… or "
                "objective, or see whether the texts of a row differ",
            )

    def _diverging(self, loss: float, flat: float) -> Iterator[tuple[str, str]]:
        assert self._first is not None
        if not loss <= _DIVERGED * max(self._first, flat):  # also where it is no number
            yield (
                "diverging",
                f"training diverges: the loss is {loss:.3g}, after {self._first:.3g} at the first step, and a model "
                f"that knows nothing has {flat:.3g}; begin again with a lower rate: --set lr={self._lr / 10:.1g}",
            )

    def _stuck(self, step: int) -> Iterator[tuple[str, str]]:
        """It has to stay there for half of the run: a model from scratch begins there, and takes its time."""
        since, half = self._ratios[0][0], len(self._ratios) // 2
        halves = [sum(ratio for _, ratio in part) / len(part) for part in (self._ratios[:half], self._ratios[half:])]
        if step - since >= self._patience and all(abs(ratio - 1) <= _STUCK for ratio in halves):
            yield (
                "stuck",
                f"the loss has stayed at that of a model that knows nothing ({self._flat:.3g}) since step {since:,}: "
                f"another rate (--set lr={self._lr * 10:.1g} or {self._lr / 10:.1g}), or see whether texts and "
                "pictures of a row belong together",
            )

    def _collapsing(self, step: int, cosine: float) -> Iterator[tuple[str, str]]:
        """A model from scratch begins with features that are alike, and spreads them: it is given more time."""
        self._began_alike = cosine >= _ALIKE if step == 1 else self._began_alike and cosine >= _ALIKE
        if cosine < _ALIKE:
            self._alike = []
            return
        self._alike.append((step, cosine))
        since, before = self._alike[0]
        spreads = self._began_alike and (1 - before) < _SPREADS * (1 - cosine)
        patience = self._patience if self._began_alike else max(self._num_steps // 10, self._window)
        if len(self._alike) >= 3 and step - since >= patience and not spreads:
            instead = " or --set objective=contrastive" if self._objective == "soft_target" else ""
            yield (
                "collapsing",
                f"the features of different pictures are nearly the same: their mean cosine is {cosine:.4f}; begin "
                f"again with a lower rate (--set lr={self._lr / 10:.1g}){instead}",
            )
