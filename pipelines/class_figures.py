"""ClassFigures: how often the right class scores highest, before and after training, and what is taken for what.

They are read off the columns of scores that a table has already, so that no picture is looked at again. It knows
columns and classes, and no pipeline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from clipdata.training.classification import Classification, ClassTally, confusion_table

if TYPE_CHECKING:
    from clipdata.lance_io.table import Table

_SCORES_AT_ONCE = 4_000_000
_MOST_ROWS = 8192


@dataclass(frozen=True)
class ClassFigures:
    """Two classifications of the same rows.

    Args:
        before, after: what was found.
        classes: names, in the order of the scores.
    """

    before: Classification
    after: Classification
    classes: tuple[str, ...] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {"classes": list(self.classes), "before": self._side(self.before), "after": self._side(self.after)}

    def __str__(self) -> str:
        before, after = self.before, self.after
        figures = [(f"top-{k}", before.top[k], after.top[k], after.chance[k]) for k in after.telling]
        figures.append(
            ("mean recall per class", self.before.mean_recall, self.after.mean_recall, 1 / self.after.num_classes)
        )
        lines = [f"{'':<22} {'before':>8} {'after':>8} {'chance':>8}"]
        lines += [f"  {name:<22}{was:>7.1%} {now:>8.1%} {chance:>8.1%}" for name, was, now, chance in figures]
        lines.append(
            f"  {self.after.num_rows:,} held-out pictures of {self.after.num_classes:,} classes{self._apart()}"
        )
        return "\n".join([*lines, "", "after training:", confusion_table(self.after, self.classes)])

    def _side(self, found: Classification) -> dict[str, Any]:
        shares = zip(self.classes, found.recall_C.tolist(), strict=True)
        recall = {name: share if share == share else None for name, share in shares}  # NaN where a class has no row
        return {**found.to_json(), "recall": recall, "confusion": found.answers(self.classes)}

    def _apart(self) -> str:
        tied = f"; ties counted as wrong: {self.before.num_tied:,} before, {self.after.num_tied:,} after"
        left_out = f"; {self.after.num_left_out:,} without scores left out"
        ties = self.before.num_tied or self.after.num_tied
        return (tied if ties else "") + (left_out if self.after.num_left_out else "")


def class_figures(
    table: Table, scores: tuple[str, str], label_index: str, classes: Sequence[str], *, where: str
) -> ClassFigures:
    """Judge the rows of a table by two columns of scores.

    Args:
        scores: columns of lists, one score a class, before and after.
        label_index: column with the place of the right class.
        classes: names.
        where: SQL condition on the rows.
    """
    tallies = [ClassTally(len(classes)) for _ in scores]
    rows_at_once = max(1, min(_MOST_ROWS, _SCORES_AT_ONCE // len(classes)))
    condition = " AND ".join([f"({where})", *(f"`{name}` IS NOT NULL" for name in (*scores, label_index))])
    for batch in table.scan([*scores, label_index], where=condition, batch_rows=rows_at_once):
        for name, tally in zip(scores, tallies, strict=True):
            tally.add(*_tensors(batch, name, label_index, len(classes)))
    before, after = (tally.result() for tally in tallies)
    return ClassFigures(before, after, tuple(classes))


def _tensors(batch: Any, scores: str, label_index: str, num_classes: int) -> tuple[Any, Any]:
    import torch

    score_BC = batch.column(scores).flatten().to_numpy().reshape(batch.num_rows, num_classes)
    return torch.from_numpy(score_BC.copy()), torch.tensor(batch.column(label_index).to_pylist(), dtype=torch.int64)
