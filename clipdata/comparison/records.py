"""What a comparison found: frozen records that text, JSON, HTML and gates are views of.

Everything a view shows is here, already computed. This module knows nothing of tables or views and does no statistics.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from clipdata.comparison.changes import Change, Margin
from clipdata.comparison.score_records import Probabilities, Ranks

SCHEMA_VERSION = 1
RECORDS = "the models' own records"


@dataclass(frozen=True)
class Side:
    """One of the two columns compared.

    Args:
        column: name of the column.
        uri: table it was read from, secrets masked.
        version: version of that table.
        made_by: step and parameters from the column's lineage, or None.
        model: identity of the model behind the column, or None.
        scores: column of score lists behind the accuracy, or None.
        model_name: name of that model for people, where its lineage has one.
    """

    column: str
    uri: str
    version: int
    made_by: str | None = None
    model: str | None = None
    scores: str | None = None
    model_name: str | None = None


@dataclass(frozen=True)
class Answers:
    """Right and wrong answers: the right choice scores above every other choice, or it does not.

    Args:
        change: share of right answers before and after.
        chance: share that guessing would get right: the mean of 1 / number of choices.
        num_both_right: right before and after.
        num_mended: wrong before, right after.
        num_broken: right before, wrong after.
        num_both_wrong: wrong before and after.
        p_value: exact McNemar test of mended against broken; takes rows as independent.
        num_tied: rows where, on either side, the right choice shares the top score; they count as wrong.
    """

    change: Change
    chance: float
    num_both_right: int
    num_mended: int
    num_broken: int
    num_both_wrong: int
    p_value: float
    num_tied: int = 0


@dataclass(frozen=True)
class Group:
    """The rows that share one value of the `by` column.

    Args:
        value: the value as text; None for rows that have none.
        mean: the compared columns over these rows.
        accuracy: right answers over these rows, where scores are known.
        p_value: that the mean did not move, adjusted by Holm: what is under 0.05 is confirmed, and the verdict goes by
            it (in 19 of 20 comparisons no group is called better or worse by chance); None when too few to say.
        q_value: the same adjusted by Benjamini and Hochberg: what is under 0.05 is discovered, worth a look (one in 20
            of the discovered is there by chance).
        discovered: whether it is.
    """

    value: str | None
    mean: Change
    accuracy: Change | None = None
    p_value: float | None = None
    q_value: float | None = None
    discovered: bool = False


@dataclass(frozen=True)
class Row:
    """One row worth looking at.

    Args:
        key: value of the key column, or the row's offset in the table when it has none.
        where: clause that selects this row.
        before: its value before.
        after: its value after.
        difference: after - before.
        shown: columns that tell a person what it is (filename, caption, label).
    """

    key: str
    where: str
    before: float
    after: float
    difference: float
    shown: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Coverage:
    """Which rows both sides know.

    Args:
        num_rows: rows that the where clause selects in the table.
        num_both: rows with a value on both sides: the compared ones.
        num_only_before: rows with a value before and none after.
        num_only_after: rows with a value after and none before.
        num_neither: rows with no value at all.
        num_without_partner: of these rows, how many the other table does not have; None when one table is compared.
        num_not_in_table: rows of the other table that this one does not have; None when one table is compared.
    """

    num_rows: int
    num_both: int
    num_only_before: int
    num_only_after: int
    num_neither: int
    num_without_partner: int | None = None
    num_not_in_table: int | None = None

    @property
    def complete(self) -> bool:
        """Whether both sides cover the same rows."""
        return self.num_both == self.num_rows and not self.num_not_in_table


SeenStatus = Literal["recorded", "untold", "none", "lost", "unknown"]


@dataclass(frozen=True)
class Seen:
    """What the model behind one side was trained on, by its own record.

    Args:
        status: "recorded": it was fine-tuned, and its record was found; "untold": so it was, but nothing holds some of
            the compared rows, or their pictures, against the record; "none": it has no record of fine-tuning; "lost":
            the record of a training cannot be found, or an earlier release made none; "unknown": the column has no
            lineage, or none that names a model.
        trainings: what each of its trainings read, as text.
        num_rows: compared rows that it was trained on; None without a record.
        num_rows_of_seen_pictures: compared rows that show a picture it was trained on, those rows included.
        num_untold: compared rows of which it cannot be told whether it was trained on them.
        num_of_untold_pictures: compared rows of which it cannot be told whether it was trained on their picture.
    """

    status: SeenStatus
    trainings: tuple[str, ...] = ()
    num_rows: int | None = None
    num_rows_of_seen_pictures: int | None = None
    num_untold: int | None = None
    num_of_untold_pictures: int | None = None


@dataclass(frozen=True)
class Trained:
    """How many of the compared rows either model has seen in training.

    Args:
        where: clause that selects the training rows, or RECORDS when the models' own records say it.
        num_rows: compared rows among them.
        num_rows_of_seen_clusters: compared rows that share a cluster (an image) with a training row; None without
            clusters.
        num_untold: compared rows of which it cannot be told whether either model was trained on them.
        num_of_untold_pictures: compared rows of which it cannot be told whether either was trained on their picture.
    """

    where: str
    num_rows: int
    num_rows_of_seen_clusters: int | None = None
    num_untold: int = 0
    num_of_untold_pictures: int = 0


@dataclass(frozen=True)
class Compared:
    """Two columns over the same rows: every figure of a `Comparison`, without its views.

    Args:
        before: the column that is the baseline.
        after: the column compared with it.
        where: clause that selected the rows, or None.
        cluster: column(s) whose equal values were resampled together, or None when rows were.
        mean: the columns' means; its difference is paired.
        num_wins: rows that went up by more than 1e-6 (of values that all lie below 1, that part of the largest).
        num_losses: rows that went down by more than that.
        num_ties: the others.
        coverage: which rows both sides know.
        accuracy: right and wrong answers, when both sides have score lists and the right index is known.
        by: column of `groups`, or None.
        groups: one record a value of `by`, most rows first.
        num_groups_left_out: groups beyond those listed.
        min_group_clusters: with fewer images (or other clusters) a group is "too few to say".
        worst: rows that lost most.
        best: rows that gained most.
        ranks: how early the right choice comes, when it was asked for.
        probabilities: how far the scores can be taken as probabilities, when it was asked for.
        margins: what was asked of "no worse than", and what is found.
        trained: how many rows were trained on; None when nothing says so.
        seen_before: what the model behind `before` says of it; None when nobody asked.
        seen_after: the same of the model behind `after`.
        notes: what a reader must know before believing the figures.
        resamples: bootstrap draws behind the intervals.
        seed: seed of the draws.
    """

    before: Side
    after: Side
    where: str | None
    cluster: str | None
    mean: Change
    num_wins: int
    num_losses: int
    num_ties: int
    coverage: Coverage
    accuracy: Answers | None = None
    by: str | None = None
    groups: tuple[Group, ...] = ()
    num_groups_left_out: int = 0
    min_group_clusters: int = 0
    worst: tuple[Row, ...] = ()
    best: tuple[Row, ...] = ()
    ranks: Ranks | None = None
    probabilities: Probabilities | None = None
    margins: tuple[Margin, ...] = ()
    trained: Trained | None = None
    seen_before: Seen | None = None
    seen_after: Seen | None = None
    notes: tuple[str, ...] = ()
    resamples: int = 0
    seed: int = 0

    @property
    def difference(self) -> float:
        """Mean of after - before."""
        return self.mean.difference

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of the difference, or None when there are too few clusters for one."""
        low, high = self.mean.low, self.mean.high
        return None if low is None or high is None else (low, high)

    def worst_where(self) -> str:
        """Clause that selects the worst rows."""
        return " or ".join(row.where for row in self.worst) or "false"

    def best_where(self) -> str:
        """Clause that selects the best rows."""
        return " or ".join(row.where for row in self.best) or "false"

    def to_dict(self) -> dict[str, Any]:
        """The fields of this record and of those inside it by name; figures that do not exist are None.

        The schema is `clipdata.comparison.json_schema()`. A field may be added in any release; `schema_version` rises
        when one is renamed, removed, or changes its meaning.
        """
        return {"schema_version": SCHEMA_VERSION, **finite(dataclasses.asdict(self))}

    def to_json(self, *, indent: int | None = None) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False, allow_nan=False)


def finite(value: Any) -> Any:
    """A value in which what is no finite number is None, and tuples are lists: as JSON has it."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
