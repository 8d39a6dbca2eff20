"""Planted labels: the sample's classes and right answers, a share of them swapped for others, with the truth beside.

What is known to be wrong tells how well a step finds it. Which are swapped depends on the seed and the row alone. It
knows the sample's own files.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from clipdata.errors import UsageError
from pipelines.sample import names_path, questions_path
from pipelines.sample.questions import LETTERS, digest


def planted_classes(share: float = 0.1, seed: int = 0, *, split: str | None = None) -> pa.Table:
    """Classes of the sample's pictures, a share of them wrong.

    Args:
        share: of the pictures whose class is swapped for one of the 32 others, each as likely.
        seed: of which, and for what.
        split: "train" or "test" leaves the classes of the other one as they are.

    Returns:
        a row a picture: `filename`, `split`, `class_name` as given, `true_class` and `swapped`.

    Raises:
        UsageError: the share is none.
    """
    held = pq.read_table(names_path(), columns=["filename", "split", "class_name"]).sort_by("filename")
    names, sides, true = (column.to_pylist() for column in held.columns)
    planted = _planted(names, true, sorted(set(true)), share, seed)
    given = [wrong if split in (None, side) else right for wrong, right, side in zip(planted, true, sides, strict=True)]
    columns = {"filename": names, "split": sides, "class_name": given, "true_class": true}
    return pa.table({**columns, "swapped": _differ(given, true)})


def planted_questions(share: float = 0.1, seed: int = 0) -> pa.Table:
    """Questions of the sample, a share of whose labels name a wrong answer.

    Args:
        share: of the questions whose letter is swapped for one of the four others.
        seed: of which, and for what.

    Returns:
        a row a question: `filename`, `caption_choices`, `label` as given, `true_label`, `split` and `swapped`.

    Raises:
        UsageError: the share is none.
    """
    held = pq.read_table(questions_path(), columns=["filename", "caption_choices", "split", "label"])
    asked = ["\x00".join([row["filename"], *row["caption_choices"]]) for row in held.to_pylist()]
    true = held["label"].to_pylist()
    given = _planted(asked, true, LETTERS, share, seed)
    columns = {name: held[name] for name in ("filename", "caption_choices", "split")}
    return pa.table({**columns, "label": given, "true_label": true, "swapped": _differ(given, true)})


def _planted(names: Sequence[str], true: Sequence[str], labels: Sequence[str], share: float, seed: int) -> list[str]:
    """The labels of rows, a share of them swapped for another one, each as likely."""
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise UsageError(f"the share of planted labels is {share!r:.80}; expected one from 0 to 1")
    given = []
    for name, label in zip(names, true, strict=True):
        swapped = int(digest(seed, "planted", name), 16) / 2**64 < share
        others = (other for other in labels if other != label)
        given.append(min(others, key=lambda other: digest(seed, "for", name, other)) if swapped else label)
    return given


def _differ(given: Sequence[str], true: Sequence[str]) -> list[bool]:
    return [one != other for one, other in zip(given, true, strict=True)]
