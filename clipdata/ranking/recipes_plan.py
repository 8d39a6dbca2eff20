"""RecipesPlan: what training recipes would do, as their dry run says it. It knows plans of single trainings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clipdata.printable import printable
from clipdata.training.plan import TrainingPlan
from clipdata.training.run import Run


@dataclass(frozen=True)
class RecipesPlan:
    """What training recipes would do.

    Args:
        path: folder of the runs.
        plans: recipe → its first training; a run where that is finished.
        num_runs: of all recipes and seeds.
        num_finished: of these.
        where: condition of the rows to train on; None for all.
        held_out: condition of the rows to choose by.
    """

    path: str
    plans: Mapping[str, TrainingPlan | Run]
    num_runs: int
    num_finished: int
    where: str | None
    held_out: str

    @property
    def estimate_s(self) -> float | None:
        """Seconds of the trainings that are left, as long as their recipes' first ones; None where nothing tells."""
        each = [plan.estimate_s for plan in self.plans.values() if isinstance(plan, TrainingPlan)]
        told = [one for one in each if one is not None]
        left = self.num_runs - self.num_finished
        return sum(told) / len(told) * left if told and len(told) == len(each) else None

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        plans = {name: plan.to_dict() for name, plan in self.plans.items()}
        plain = {name: getattr(self, name) for name in ("path", "where", "held_out", "estimate_s")}
        return {"dry_run": True, **plain, "runs": self.num_runs, "finished": self.num_finished, "plans": plans}

    def __str__(self) -> str:
        done = f", {self.num_finished} of them finished" if self.num_finished else ""
        about = "" if self.estimate_s is None else f"; about {self.estimate_s:,.3g} s of steps in all"
        lines = [
            f"{self.num_runs} runs of {len(self.plans)} recipes in {self.path}{done}; nothing was written{about}",
            f"  train on rows where {self.where or 'all'}",
            f"  choose by rows where {self.held_out}",
        ]
        for name, plan in self.plans.items():
            lines.append(f"  {name}: {str(plan).splitlines()[0]}")
            lines += [f"  {line}" for line in str(plan).splitlines()[1:]]
        return "\n".join(map(printable, lines))
