"""LeakProofSplit: rows of two sides share nothing of what they are split by, and the shares come out as asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clipdata as cd
from clipdata.engines.local import LocalEngine
from clipdata.engines.task import FragmentDone, FragmentTask
from clipdata.errors import SchemaError, UsageError
from clipdata.steps.rebuilding import Models, rebuild
from clipdata.steps.sides import allot
from clipdata.steps.splits import LeakProofSplit
from tests.test_duplicate_steps import add, values


def split(table: cd.Table, *args: Any, **options: Any) -> LeakProofSplit:
    step = LeakProofSplit(table, *args, **options)
    cd.map_column(table, step, options.get("column", "split"))
    return step


def test_rows_that_share_any_of_the_columns_are_on_one_side_through_any_number_of_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    num = 300
    picture = [f"p{n}" for n in rng.integers(0, 250, num)]
    captions = [[f"Caption  {n}", f"caption {n} b"] if n % 3 else [] for n in rng.integers(0, 400, num)]
    captions[5] = ["caption 1", " CAPTION 2 ", None]
    table = add(tmp_path, {"sha256": picture, "captions": captions})

    step = split(table, ["sha256", "captions"], shares="train=0.7,val=0.1,test=0.2")

    found = values(table, "split")
    for kind in ([[one] for one in picture], [[c.casefold().split() for c in row if c] for row in captions]):
        sides: dict[str, set[str]] = {}
        for row, side in zip(kind, found, strict=True):
            for value in row:
                sides.setdefault(str(value), set()).add(side)
        assert all(len(one) == 1 for one in sides.values())
    counts = Counter(found)
    largest = step.notes()["rows of the largest group"]
    assert rebuild(cd.open_table(table.uri), "split", Models()).parameters == step.parameters
    for side, share in (("train", 0.7), ("val", 0.1), ("test", 0.2)):
        assert abs(counts[side] - share * num) <= max(2, largest / 2)


@pytest.mark.parametrize("num", [2, 3, 5, 8, 10, 33, 100])
def test_the_share_of_a_small_table_is_exact_to_a_row_and_no_side_is_empty(num: int, tmp_path: Path) -> None:
    table = add(tmp_path, {"sha256": [f"p{n}" for n in range(num)]})
    split(table, shares={"train": 0.8, "test": 0.2})
    num_test = Counter(values(table, "split"))["test"]
    assert num_test == max(round(0.2 * num), 1)


def test_a_class_is_shared_out_alike_and_the_whole_holds_to_the_share(tmp_path: Path) -> None:
    labels = [f"class {n % 40}" for n in range(120)] + ["large"] * 200
    table = add(tmp_path, {"sha256": [f"p{n}" for n in range(320)], "label": labels})
    split(table, "sha256", "label", shares="train=0.9,test=0.1")
    found = list(zip(labels, values(table, "split"), strict=True))
    assert Counter(side for _, side in found)["test"] == 32
    assert abs(Counter(found)["large", "test"] - 20) <= 1
    assert max(count for (label, side), count in Counter(found).items() if side == "test" and label != "large") <= 1


def test_rows_never_change_sides_and_new_ones_make_up_for_what_is_lacking(tmp_path: Path) -> None:
    table = add(tmp_path, {"sha256": [f"p{n}" for n in range(20)], "caption": [f"c{n}" for n in range(20)]})
    split(table, ["sha256", "caption"])
    before = values(table, "split")
    table.dataset.delete("split = 'test'")
    left = [side for side in before if side != "test"]

    bridge = {"sha256": ["p0", *(f"q{n}" for n in range(19))], "caption": ["c0", *(f"d{n}" for n in range(19))]}
    table = add(tmp_path, bridge, first=100)
    step = split(table, ["sha256", "caption"])
    after = values(table, "split")
    assert after[: len(left)] == left
    assert after[len(left)] == "train"
    assert Counter(after)["test"] == round(0.2 * len(after))
    assert step.num_leaks == 0


def test_new_rows_that_join_groups_of_two_sides_are_counted_and_move_nothing(tmp_path: Path) -> None:
    table = add(tmp_path, {"sha256": [f"p{n}" for n in range(20)], "caption": [f"c{n}" for n in range(20)]})
    split(table, ["sha256", "caption"])
    before = values(table, "split")
    joined = {"sha256": [f"p{before.index('train')}"], "caption": [f"c{before.index('test')}"]}
    table = add(tmp_path, joined, first=20)
    step = split(table, ["sha256", "caption"])
    assert step.notes()["groups with rows on both sides"] == 1
    assert values(table, "split")[:20] == before


class FirstOnly:
    """An engine that dies once the first fragment is filled."""

    def run(self, tasks: Iterable[FragmentTask], counter: Any) -> Iterator[FragmentDone]:
        yield next(LocalEngine().run(tasks, counter))
        raise KeyboardInterrupt


def test_what_an_interrupted_split_stored_does_not_count_once_rows_were_added(tmp_path: Path) -> None:
    pictures = [f"p{n}" for n in range(40)]
    add(tmp_path, {"sha256": pictures})
    table = add(tmp_path, {"sha256": pictures}, first=100)  # a fragment of its own, of the same pictures
    with pytest.raises(KeyboardInterrupt):
        cd.map_column(table, LeakProofSplit(table, shares="train=0.5,test=0.5"), "split", engine=FirstOnly())

    table = add(tmp_path, {"sha256": [f"p{n % 17}" for n in range(60)]}, first=200)
    split(table, shares="train=0.5,test=0.5")

    found = values(table, "split")
    assert found[:40] == found[40:80]
    assert abs(Counter(found)["test"] - 70) <= 1


def test_rows_without_a_value_wait_and_those_whose_lists_say_nothing_get_a_reason(tmp_path: Path) -> None:
    table = add(tmp_path, {"captions": pa.array([["a"], ["b"], [], [" "], None], pa.list_(pa.string()))})
    done = cd.map_column(table, LeakProofSplit(table, ["captions"]), "split")
    assert set(values(table, "split")[:2]) == {"train", "test"}
    assert values(table, "split")[2:] == [None, None, None]
    assert done.failed == {"no value that tells the row from others": 2}
    assert done.waiting == 1


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_sides_lie_within_a_group_of_their_shares_and_held_groups_stay(data: st.DataObject) -> None:
    rows_G = np.array(data.draw(st.lists(st.integers(1, 30), min_size=1, max_size=60)))
    num = len(rows_G)
    seed = data.draw(st.integers(0, 2**32))
    rng = np.random.default_rng(seed)
    share_S = np.array(data.draw(st.sampled_from([[0.8, 0.2], [0.5, 0.5], [0.7, 0.2, 0.1]])))
    held_GS = np.zeros((num, len(share_S)), np.int64)
    held = rng.random(num) < data.draw(st.sampled_from([0.0, 0.3]))
    held_GS[held, rng.integers(0, len(share_S), held.sum())] = rows_G[held]
    stratum_G = np.unique(rng.integers(0, 4, num), return_inverse=True)[1]
    order_G = rng.integers(0, 2**63, num).astype(np.uint64)

    for by_stratum in (False, True):
        side_G = allot(rows_G, order_G, stratum_G, held_GS, share_S, by_stratum=by_stratum)
        assert (side_G[held] == held_GS[held].argmax(axis=1)).all()
        assert set(side_G.tolist()) <= set(range(len(share_S)))
        if num >= len(share_S) and not held.any() and not by_stratum:
            assert len(set(side_G.tolist())) == len(share_S)
            got_S, wanted_S = np.bincount(side_G, weights=rows_G, minlength=len(share_S)), share_S * rows_G.sum()
            small = (wanted_S < rows_G.max()).sum()  # what a single group may be too much for has one all the same
            assert (np.abs(got_S - wanted_S) <= max(small, 1) * rows_G.max() + 1).all()
        turned = rng.permutation(num)
        again = allot(
            rows_G[turned], order_G[turned], stratum_G[turned], held_GS[turned], share_S, by_stratum=by_stratum
        )
        assert len(set(order_G.tolist())) < num or (again == side_G[turned]).all()


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"by": []}, UsageError, "expected names of columns"),
        ({"by": ["id", "id"]}, UsageError, "each once"),
        ({"by": ["id", 5]}, UsageError, "by is 5"),
        ({"by": "id", "stratify": "id"}, UsageError, "each once"),
        ({"by": "nothing"}, SchemaError, "has no column 'nothing'"),
        ({"by": "score"}, SchemaError, "expected texts or integers, or lists of these"),
        ({"by": "id", "stratify": "score"}, SchemaError, "expected texts or integers"),
        ({"by": "id", "shares": "train"}, UsageError, "shares"),
        ({"by": "id", "shares": "train=0.8,test=much"}, UsageError, "'test': 'much'"),
        ({"by": "id", "shares": {"train": 0.8, "test": 0.3}}, UsageError, "add up to 1.1"),
        ({"by": "id", "shares": {"train": 1.0}}, UsageError, "two sides"),
        ({"by": "id", "shares": {"train": 1.2, "test": -0.2}}, UsageError, "positive"),
        ({"by": "id", "seed": 0.5}, UsageError, "seed is 0.5"),
    ],
)
def test_what_cannot_be_split_is_refused(
    options: dict[str, Any], error: type[Exception], said: str, tmp_path: Path
) -> None:
    table = add(tmp_path, {"score": [0.5, 1.0]})
    with pytest.raises(error, match=said):
        LeakProofSplit(table, **options)
