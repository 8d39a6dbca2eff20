"""GroupSplit: what hangs together stays together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest

import clipdata as cd
from clipdata.errors import SchemaError, UsageError
from clipdata.lance_io import rows
from clipdata.schema import key_field

SCHEMA = pa.schema(
    [
        key_field("id"),
        pa.field("sha256", pa.string()),
        pa.field("caption_choices", pa.list_(pa.string())),
        pa.field("label_ind", pa.int32()),
    ]
)


def add(folder: Path, questions: Sequence[tuple[str | None, str]], first: int = 0) -> cd.Table:
    """Rows of (picture, right caption)."""
    table = rows.create_table(folder / "t.lance", SCHEMA)
    fresh = [
        {"id": f"{first + n:05d}", "sha256": picture, "caption_choices": ["wrong", caption], "label_ind": 1}
        for n, (picture, caption) in enumerate(questions)
    ]
    rows.upsert(table, pa.Table.from_pylist(fresh, schema=SCHEMA))
    return cd.open_table(table.uri)


def sides(table: cd.Table) -> dict[str, str | None]:
    read = cd.open_table(table.uri).to_table(["id", "split"])
    return dict(zip(read["id"].to_pylist(), read["split"].to_pylist(), strict=True))


def test_equal_pictures_and_equal_right_captions_stay_on_one_side(tmp_path: Path) -> None:
    chained = [("p1", "a"), ("p2", "a"), ("p2", "b"), ("p3", "b")]
    table = add(tmp_path, chained + [(f"q{n}", f"c{n}") for n in range(200)])
    cd.map_column(table, cd.steps.GroupSplit(table, test_share=0.5), "split")
    found = sides(table)
    assert len({found[f"{n:05d}"] for n in range(4)}) == 1
    assert 60 < sum(side == "test" for side in found.values()) < 145


def test_a_location_stands_for_its_table_and_other_arguments_are_held_to_their_kinds(tmp_path: Path) -> None:
    table = add(tmp_path, [(f"p{n}", f"c{n}") for n in range(5)])
    assert cd.map_column(table, cd.steps.GroupSplit(table.uri), "split").computed == 5
    for wrong in ({"test_share": "0.2"}, {"seed": 0.5}, {"picture": 5}, {"choices": ["a"]}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            cd.steps.GroupSplit(table, **wrong)


def test_the_split_does_not_depend_on_the_order_of_rows(tmp_path: Path) -> None:
    questions = [(f"p{n}", f"c{n // 2}") for n in range(60)]
    forward, backward = add(tmp_path / "a", questions), add(tmp_path / "b", questions[::-1])
    for table in (forward, backward):
        cd.map_column(table, cd.steps.GroupSplit(table), "split")
    read = [
        cd.open_table(t.uri).to_table(["sha256", "split"]).sort_by("sha256").to_pylist() for t in (forward, backward)
    ]
    assert read[0] == read[1]


def test_rows_added_later_join_the_side_of_their_group(tmp_path: Path) -> None:
    table = add(tmp_path, [(f"p{n}", f"c{n}") for n in range(50)])
    cd.map_column(table, cd.steps.GroupSplit(table, test_share=0.5), "split")
    before = sides(table)
    table = add(tmp_path, [(f"new{n}", f"c{n}") for n in range(50)], first=50)
    done = cd.map_column(table, cd.steps.GroupSplit(table, test_share=0.5), "split")
    assert done.computed == 50
    after = sides(table)
    assert all(after[f"{n:05d}"] == after[f"{n + 50:05d}"] == before[f"{n:05d}"] for n in range(50))


def test_a_row_that_joins_two_sides_is_reported(tmp_path: Path) -> None:
    table = add(tmp_path, [(f"p{n}", f"c{n}") for n in range(30)])
    cd.map_column(table, cd.steps.GroupSplit(table, test_share=0.5), "split")
    found = sides(table)
    train = next(key for key, side in found.items() if side == "train")
    test = next(key for key, side in found.items() if side == "test")
    table = add(tmp_path, [(f"p{int(train)}", f"c{int(test)}")], first=30)
    done = cd.map_column(table, cd.steps.GroupSplit(table, test_share=0.5), "split")
    assert done.notes["groups with rows on both sides"] == 1


def test_a_share_out_of_range_is_refused(tmp_path: Path) -> None:
    table = add(tmp_path, [("p", "c")])
    with pytest.raises(UsageError, match="between 0 and 1"):
        cd.steps.GroupSplit(table, test_share=1.5)


def test_rows_without_a_picture_tie_nothing_together_and_wait(tmp_path: Path) -> None:
    nowhere = [(None, f"c{n}") for n in range(40)]
    table = add(tmp_path, [(f"p{n}", f"c{n}") for n in range(40)] + nowhere)
    done = cd.map_column(table, cd.steps.GroupSplit(table, test_share=0.5), "split")
    assert done.notes["groups"] == 40
    found = sides(table)
    assert {found[f"{n:05d}"] for n in range(40)} == {"train", "test"}
    assert {found[f"{n:05d}"] for n in range(40, 80)} == {None}


def test_a_label_outside_the_choices_leaves_the_row_to_its_picture(tmp_path: Path) -> None:
    table = add(tmp_path, [(f"p{n}", "c") for n in range(3)])
    outside = {"id": "00003", "sha256": "p9", "caption_choices": ["wrong", "c"], "label_ind": 2}
    no_choices = {"id": "00004", "sha256": "p8", "caption_choices": [], "label_ind": 0}
    rows.upsert(table, pa.Table.from_pylist([outside, no_choices], schema=SCHEMA))
    assert cd.steps.GroupSplit(table).notes() == {"groups": 3}


def test_a_split_that_came_with_the_data_or_from_another_seed_does_not_count(tmp_path: Path) -> None:
    table = add(tmp_path, [(f"p{n}", f"c{n}") for n in range(60)])
    cd.map_column(table, cd.steps.GroupSplit(table, test_share=0.5), "split")
    before = sides(table)
    cd.map_column(table, cd.steps.GroupSplit(table, test_share=0.5, seed=1), "split", overwrite=True)
    assert before != sides(table)

    @cd.step(reads="sha256", returns="string")
    def all_test(picture: str) -> str:
        return "test"

    cd.map_column(table, all_test, "given")
    cd.map_column(table, cd.steps.GroupSplit(table, test_share=0.5, column="given"), "fold")
    read = cd.open_table(table.uri).to_table(["id", "fold"])
    assert dict(zip(read["id"].to_pylist(), read["fold"].to_pylist(), strict=True)) == before


def test_a_picture_that_came_after_the_groups_were_found_gets_a_reason(tmp_path: Path) -> None:
    table = add(tmp_path, [("p", "c")])
    step = cd.steps.GroupSplit(table)
    done = cd.map_column(add(tmp_path, [("late", "d")], first=1), step, "split")
    assert done.failed == {"a picture that was not there when the groups were found": 1}


def test_columns_of_other_types_are_refused(tmp_path: Path) -> None:
    table = add(tmp_path, [("p", "c")])
    with pytest.raises(SchemaError, match="expected lists"):
        cd.steps.GroupSplit(table, choices="id")
    with pytest.raises(SchemaError, match="expected integers"):
        cd.steps.GroupSplit(table, label_index="id")
