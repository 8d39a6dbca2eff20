"""What a pipeline found, as text and as JSON values. It knows records, and no pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from clipdata.plurals import counted
from clipdata.storage import redact

if TYPE_CHECKING:
    from clipdata.comparison import Comparison
    from clipdata.lance_io.table import Table
    from clipdata.training.run import Run


class Evaluation(Protocol):
    """Figures of one kind: a record that is shown to people, and to programs."""

    def __str__(self) -> str:
        """A table for people."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        ...


@dataclass(frozen=True)
class PipelineResult:
    """What a pipeline found.

    Args:
        table: what it worked on, with all its columns.
        run: the training run.
        comparison: before and after, on the held-out rows.
        trained: before and after, on the very rows that the model was trained on.
        changed: whether anything was written this time.
        evaluations: further figures, by name ("retrieval", "zero_shot").
        report: location of the page that tells all of it; None where none could be written.
    """

    table: Table
    run: Run
    comparison: Comparison
    trained: Comparison | None
    changed: bool
    evaluations: Mapping[str, Evaluation] = field(default_factory=dict)
    report: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "table": self.table.uri,
            "version": self.table.version,
            "run": self.run.to_dict(),
            "comparison": self.comparison.to_dict(),
            "trained": self.trained.to_dict() if self.trained is not None else None,
            "evaluations": {name: found.to_dict() for name, found in self.evaluations.items()},
            "changed": self.changed,
            "report": self.report,
        }

    def __str__(self) -> str:
        beside = [self._side_by_side(self.trained)] if self.trained is not None else []
        canary = [str(self.run.canary)] if self.run.canary is not None else []
        found = (f"{one}" for one in self.evaluations.values())
        page = [f"report: {redact(self.report)}"] if self.report is not None else []
        return "\n\n".join([str(self.comparison), *canary, *found, *beside, *page])

    def _side_by_side(self, trained: Comparison) -> str:
        """What was learned by heart, beside what it is worth."""
        chance = self.comparison.accuracy.chance if self.comparison.accuracy is not None else None
        guessing = f"; guessing gives {chance:.3f}" if chance is not None else ""
        told = {"trained on": trained, "held out": self.comparison}
        return "\n".join([f"mean {self.comparison.after.column}{guessing}", *(_line(*one) for one in told.items())])


def _line(name: str, found: Comparison) -> str:
    mean = found.mean
    interval = (
        f", 95 % interval {mean.low:+.3f} … {mean.high:+.3f}" if mean.low is not None and mean.high is not None else ""
    )
    rows = counted(mean.num_rows, "row")
    return f"  {name:<11} {mean.before:.3f} → {mean.after:.3f}  ({rows}: {mean.difference:+.3f}{interval})"
