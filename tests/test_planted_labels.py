"""Labels planted in the sample: as many as were asked for, known, and the same for a seed."""

from __future__ import annotations

from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from clipdata.errors import UsageError
from pipelines.sample import names_path, questions_path
from pipelines.sample.planted_labels import planted_classes, planted_questions


def test_a_share_of_the_classes_is_swapped_and_the_truth_stands_beside() -> None:
    planted = planted_classes(0.1, seed=3)
    names = pq.read_table(names_path(), columns=["filename", "class_name"])
    true = dict(zip(*(names[name].to_pylist() for name in ("filename", "class_name")), strict=True))

    rows = planted.to_pylist()
    assert len(rows) == len(true) == 1800
    assert all(row["true_class"] == true[row["filename"]] for row in rows)
    assert all(row["swapped"] == (row["class_name"] != row["true_class"]) for row in rows)
    assert 140 <= pc.sum(planted["swapped"]).as_py() <= 220
    assert set(planted["class_name"].to_pylist()) == set(true.values())
    assert planted.equals(planted_classes(0.1, seed=3))
    assert not planted.equals(planted_classes(0.1, seed=4))
    assert pc.sum(planted_classes(0)["swapped"]).as_py() == 0
    assert pc.sum(planted_classes(1)["swapped"]).as_py() == 1800
    one_side = planted_classes(1, split="train")
    assert one_side["swapped"].equals(pc.equal(one_side["split"], "train"))


def test_a_share_of_the_questions_names_a_wrong_answer() -> None:
    planted, held = planted_questions(0.2), pq.read_table(questions_path())

    assert planted["true_label"].to_pylist() == held["label"].to_pylist()
    assert planted["caption_choices"].equals(held["caption_choices"])
    swapped = planted.filter(planted["swapped"])
    assert 0.17 < len(swapped) / len(planted) < 0.23
    assert set(swapped["label"].to_pylist()) == set("ABCDE")
    assert all(row["label"] != row["true_label"] for row in swapped.to_pylist())


@pytest.mark.parametrize("share", [-0.1, 1.1, "0.1", True])
def test_a_share_that_is_none_is_refused(share: Any) -> None:
    with pytest.raises(UsageError, match="expected one from 0 to 1"):
        planted_classes(share)
