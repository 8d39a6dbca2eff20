"""ClassSplit: every class is on both sides, equal pictures on one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest

import clipdata as cd
from clipdata.errors import SchemaError, UsageError
from clipdata.lance_io import rows
from clipdata.schema import key_field

SCHEMA = pa.schema([key_field("id"), pa.field("sha256", pa.string()), pa.field("label_ind", pa.int32())])
Picture = tuple[str | None, int | None]


def add(folder: Path, pictures: Sequence[Picture], first: int = 0) -> cd.Table:
    """Rows of (picture, place of its class)."""
    table = rows.create_table(folder / "t.lance", SCHEMA)
    fresh = [{"id": f"{first + n:05d}", "sha256": one, "label_ind": label} for n, (one, label) in enumerate(pictures)]
    rows.upsert(table, pa.Table.from_pylist(fresh, schema=SCHEMA))
    return cd.open_table(table.uri)


def split(table: cd.Table, **options: object) -> cd.steps.ClassSplit:
    step = cd.steps.ClassSplit(table, **options)
    cd.map_column(table, step, "split")
    return step


def sides(table: cd.Table) -> dict[str, str | None]:
    read = cd.open_table(table.uri).to_table(["id", "split"])
    return dict(zip(read["id"].to_pylist(), read["split"].to_pylist(), strict=True))


def counts(table: cd.Table) -> Counter[tuple[int, str]]:
    read = cd.open_table(table.uri).to_table(["label_ind", "split"])
    return Counter(zip(read["label_ind"].to_pylist(), read["split"].to_pylist(), strict=True))


def test_each_class_gives_its_share_and_one_picture_at_least(tmp_path: Path) -> None:
    sizes = {0: 40, 1: 7, 2: 2, 3: 1}
    table = add(tmp_path, [(f"{label} {n}", label) for label, size in sizes.items() for n in range(size)])

    step = split(table, test_share=0.25)

    found = counts(table)
    assert [found[label, "test"] for label in sizes] == [10, 2, 1, 0]
    assert [found[label, "train"] for label in sizes] == [30, 5, 1, 1]
    assert step.notes() == {"classes": 4, "classes of one picture, trained on": 1}


def test_equal_pictures_are_on_one_side_whatever_they_are_called(tmp_path: Path) -> None:
    table = add(tmp_path, [(f"p{n % 20}", n % 3) for n in range(120)])

    split(table, test_share=0.5)

    read = cd.open_table(table.uri).to_table(["sha256", "split"]).to_pylist()
    assert len({(row["sha256"], row["split"]) for row in read}) == 20
    assert {row["split"] for row in read} == {"train", "test"}


def test_the_split_does_not_depend_on_the_order_of_rows(tmp_path: Path) -> None:
    pictures: list[Picture] = [(f"p{n}", n % 4) for n in range(60)]
    found = []
    for name, order in (("a", pictures), ("b", pictures[::-1])):
        table = add(tmp_path / name, order)
        split(table)
        read = cd.open_table(table.uri).to_table(["sha256", "split"]).to_pylist()
        found.append({row["sha256"]: row["split"] for row in read})
    assert found[0] == found[1]


def test_rows_that_come_later_leave_the_others_where_they_are(tmp_path: Path) -> None:
    table = add(tmp_path, [(f"p{n}", n % 2) for n in range(20)])
    split(table)
    before = sides(table)

    table = add(tmp_path, [(f"q{n}", n % 2) for n in range(20)] + [("p3", 1)], first=100)
    split(table)

    after = sides(table)
    assert {key: after[key] for key in before} == before
    assert after["00120"] == before["00003"]
    assert [counts(table)[label, "test"] >= 4 for label in (0, 1)] == [True, True]


def test_a_row_without_a_class_or_picture_has_no_side(tmp_path: Path) -> None:
    table = add(tmp_path, [("a", 0), ("b", 0), ("c", None), (None, 0)])

    split(table)

    assert [side is None for side in sides(table).values()] == [False, False, True, True]


def test_what_it_is_given_is_held_to_its_kinds(tmp_path: Path) -> None:
    table = add(tmp_path, [("a", 0), ("b", 0)])
    for wrong in ({"test_share": 1}, {"seed": 0.5}, {"picture": 5}, {"label_index": ""}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            cd.steps.ClassSplit(table, **wrong)
    with pytest.raises(SchemaError, match="has no column 'label'"):
        cd.steps.ClassSplit(table, label_index="label")
    with pytest.raises(SchemaError, match="'sha256' holds string"):
        cd.steps.ClassSplit(table, label_index="sha256")
