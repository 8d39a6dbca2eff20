"""Notes: what a reader must know before believing the figures of a comparison. Knows the record; nothing of tables."""

from __future__ import annotations

from clipdata.comparison.groups import MIN_GROUP_CLUSTERS
from clipdata.comparison.intervals import MIN_CLUSTERS, MIN_LOOKED_AT
from clipdata.comparison.records import Compared
from clipdata.comparison.request import is_picture
from clipdata.plurals import counted


def notes_of(comparison: Compared) -> tuple[str, ...]:
    """The notes, the gravest first."""
    what = "images" if is_picture(comparison.cluster) else "clusters" if comparison.cluster else "rows"
    clusters, answers = _of_clusters(comparison, what), _of_answers(comparison, what)
    return (*clusters, *_of_training(comparison), *answers, *_of_more(comparison))


def _of_clusters(comparison: Compared, what: str) -> list[str]:
    mean, notes = comparison.mean, []
    if mean.num_rows == 1:
        notes.append("one row alone: no interval can be given")
    elif mean.num_clusters < MIN_CLUSTERS:
        notes.append(f"all {mean.num_rows:,} rows belong to one of the {what}: no interval can be given")
    elif mean.method == "none":
        notes.append(f"only {mean.num_clusters} {what}: one may look at any time from {MIN_LOOKED_AT} on")
    elif mean.num_clusters < MIN_GROUP_CLUSTERS:
        notes.append(f"only {mean.num_clusters} {what}: the interval is a rough guide")
    if mean.method == "anytime":
        notes.append("the intervals stand however often one looks, and are wider than those for one look")
    if mean.method == "studentised":
        notes.append(f"a few {what} moved much more than the others: the interval is widened to that (studentised)")
    if comparison.cluster is None:
        unknown = "no column tells which rows share an image (sha256, path)"
        notes.append(f"{unknown}: rows are resampled one by one, which is too sure if some do")
    return notes


def _of_training(comparison: Compared) -> list[str]:
    trained, mean = comparison.trained, comparison.mean
    if trained and trained.num_rows:
        share = trained.num_rows / mean.num_rows
        return [
            f"{trained.num_rows:,} of these rows ({share:.0%}) were trained on: their gain says nothing of new data"
        ]
    if trained and trained.num_rows_of_seen_clusters:
        return [f"{trained.num_rows_of_seen_clusters:,} compared rows share an image with a row that was trained on"]
    return []


def _of_answers(comparison: Compared, what: str) -> list[str]:
    mean, answers, notes = comparison.mean, comparison.accuracy, []
    if answers and answers.change.num_rows < mean.num_rows:
        notes.append(f"answers are known for {answers.change.num_rows:,} of {mean.num_rows:,} rows")
    if answers and answers.num_tied:
        notes.append(f"in {answers.num_tied:,} rows the right choice shares the top score; they count as wrong")
    if answers and answers.p_value < 0.05 and answers.change.verdict == "unclear" and comparison.cluster:
        notes.append(f"McNemar's test takes rows as independent, and here they share {what}: believe the interval")
    return notes


def _of_more(comparison: Compared) -> list[str]:
    found, notes = comparison.probabilities, []
    if found and found.num_clipped:
        notes.append(
            f"in {found.num_clipped:,} rows the right choice has a probability of 0: the log loss is bounded there"
        )
    if found and found.tempered and found.tempered.num_rows < found.log_loss.num_rows:
        notes.append(f"temperatures were looked at on {counted(found.tempered.num_rows, 'row')}, drawn at random")
    return notes
