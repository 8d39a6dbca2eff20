"""What two versions, or two tables, do not have in common, beside a naive comparison of all their rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

import clipdata as cd
from clipdata.errors import NotFoundError, SchemaError, UsageError
from clipdata.lance_io import rows
from clipdata.schema import key_field
from tests.pictures import encoded
from tests.tables import append_numbers, number_table

WORDS = ["append", "change", "delete", "compact", "column", "fill", "overwrite", "drop", "restore"]

REMAINDERS = {"fill": lambda number: number % 2 / 1.0, "overwrite": lambda number: number % 3 / 1.0}


def naive(
    before: pa.Table, after: pa.Table, key: str, meets: Callable[[dict[str, Any]], bool] = lambda row: True
) -> tuple[set[Any], set[Any], dict[str, int], int]:
    """Keys added and removed, changed values by column, and rows changed, of rows that meet a condition on a side."""
    one, two = ({row[key]: row for row in side.to_pylist()} for side in (before, after))
    meant = {name for side in (one, two) for name, row in side.items() if meets(row)}
    shared = [name for name in before.schema.names if name in after.schema.names and name != key]
    one, two = ({name: row for name, row in side.items() if name in meant} for side in (one, two))
    both = one.keys() & two.keys()
    counts = {name: sum(repr(one[k][name]) != repr(two[k][name]) for k in both) for name in shared}
    rows_changed = sum(any(repr(one[k][name]) != repr(two[k][name]) for name in shared) for k in both)
    return two.keys() - one.keys(), one.keys() - two.keys(), {n: c for n, c in counts.items() if c}, rows_changed


def bytes_read() -> int:
    """By this process so far."""
    told = Path("/proc/self/io").read_text(encoding="ascii")
    return int(told.split("rchar:")[1].split()[0])


def check(found: cd.Diff, before: pa.Table, after: pa.Table, key: str, **meets: Any) -> None:
    added, removed, values, rows_changed = naive(before, after, key, **meets)
    assert (found.rows_added, found.rows_removed) == (len(added), len(removed))
    assert set(found.added) <= added
    assert set(found.removed) <= removed
    assert (found.values, found.rows_changed) == (values, rows_changed)
    assert (found.rows_before, found.rows_after) == (before.num_rows, after.num_rows)
    for name, count in values.items():
        assert sum(one.column == name for one in found.changed) == min(count, 3)
    one, two = ({row[key]: row for row in side.to_pylist()} for side in (before, after))
    for change in found.changed:
        assert (change.before, change.after) == (one[change.key][change.column], two[change.key][change.column])


@settings(
    max_examples=25,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=7), data=st.data())
def test_any_two_versions_differ_as_all_their_rows_say(tmp_path: Path, words: list[str], data: Any) -> None:
    note(words)
    folder = tmp_path / str(len(list(tmp_path.iterdir())))
    folder.mkdir()
    table = number_table(folder, 9, rows_per_write=3)
    next_number = 9
    for word in words:
        table = table.latest()
        if word == "append":
            append_numbers(table, next_number, next_number + 4)
            next_number += 4
        elif word == "change":
            keys = table.to_table(["path"]).column("path").to_pylist()[::3]
            fresh = {"path": keys, "number": [next_number + n for n in range(len(keys))], "text": ["new"] * len(keys)}
            rows.upsert(table, pa.table(fresh), changed="number")
        elif word == "delete":
            table.dataset.delete("number % 5 = 1")
        elif word == "compact":
            table.dataset.optimize.compact_files()
        elif word == "restore" and table.version > 2:
            lance.dataset(table.uri, version=table.version // 2 + 1).restore()
        elif word == "drop" and "a" in table.schema.names:
            table.dataset.drop_columns(["a"])
        elif word == "column" and "a" not in table.schema.names:
            table.dataset.add_columns(pa.field("a", pa.int64()))
        elif word in ("fill", "overwrite") and (word == "overwrite" or "s" not in table.schema.names):
            step = cd.step(reads="number", returns=pa.float64(), version=word)(REMAINDERS[word])
            cd.map_column(table, step, "s", overwrite=word == "overwrite")
    versions = [entry["version"] for entry in table.latest().dataset.versions() if entry["version"] > 1]
    first, second = data.draw(st.sampled_from(versions)), data.draw(st.sampled_from(versions))
    sides = [cd.open_table(table.uri, version=version).to_table() for version in (first, second)]

    check(cd.diff(table, first, second), *sides, "path")
    meant = cd.diff(table, first, second, where="number % 2 = 0")
    check(meant, *sides, "path", meets=lambda row: row["number"] is not None and row["number"] % 2 == 0)


def test_a_side_without_a_column_of_the_condition_has_no_row_that_meets_it(tmp_path: Path) -> None:
    table = number_table(tmp_path, 6)
    first = table.version
    cd.map_column(table, cd.step(reads="number", returns=pa.int64())(lambda number: number * 2), "twice")
    append_numbers(table.latest(), 6, 9)
    rows.upsert(table.latest(), pa.table({"path": ["p/0"], "number": [99], "text": ["new"]}), changed="number")

    found = cd.diff(table, first, where="twice > 4")

    assert (found.rows_added, found.rows_removed) == (0, 0)
    assert [column.name for column in found.columns] == ["twice"]
    (lacking,) = found.lacking
    assert (lacking.side, lacking.columns) == (f"{table.uri}@{first}", ("twice",))
    assert f"{table.uri}@{first} has no column twice, so none of its rows meets the condition" in str(found)
    assert "a condition on columns of both asks rows of both: path, number, text" in str(found)
    for where in ("nope > 4", "nope > 4 AND twice > 4"):
        with pytest.raises(SchemaError, match="no column nope"):
            cd.diff(table, first, where=where)


def test_a_word_of_a_condition_that_is_a_column_of_the_other_side_alone_takes_no_row_from_it(tmp_path: Path) -> None:
    table = number_table(tmp_path, 6)
    first = table.version
    cd.map_column(table, cd.step(reads="number", returns=pa.int64())(lambda number: number), "lower")
    append_numbers(table.latest(), 6, 9)

    found = cd.diff(table, table.latest().version, first, where="lower(text) IS NOT NULL")

    assert (found.rows_removed, found.lacking) == (3, ())


def test_a_condition_that_one_side_alone_understands_is_told_with_that_side(tmp_path: Path) -> None:
    number, other = number_table(tmp_path, 3), tmp_path / "other.lance"
    lance.write_dataset(number.to_table().set_column(1, "number", pa.array(["0", "1", "2"])), other)

    with pytest.raises(
        SchemaError, match=r"t.lance@\d does not take the condition, and .*other.lance@1 does: "
    ) as told:
        cd.diff(number, other=other, on="path", where="number = 'one'")

    assert told.value.hint == "a condition on columns of both, alike on both: path, text"


def test_what_files_tell_is_not_read(tmp_path: Path) -> None:
    table = number_table(tmp_path, 30, rows_per_write=10)
    first = table.version
    cd.map_column(table, cd.step(reads="number", returns=pa.int64())(abs), "size")
    append_numbers(table, 30, 33)

    found = cd.diff(table, first)

    assert (found.rows_added, found.rows_changed, found.rows_hashed) == (3, 0, 3)
    assert [(column.name, column.what) for column in found.columns] == [("size", "added")]
    assert "(number" in str(found.columns[0].after)
    assert str(found).splitlines() == [
        f"{table.uri}@{first} → {table.uri}@{table.latest().version}, by path: 30 → 33 rows",
        "  rows added: 3 (such as 000030, 000031, 000032)",
        f"  column size: added ({found.columns[0].after})",
    ]
    assert str(cd.diff(table, first, first)).endswith("they are the same")


def test_two_tables_are_compared_by_key_or_by_a_column_that_is_named(tmp_path: Path) -> None:
    one, two = number_table(tmp_path, 20, name="a.lance"), number_table(tmp_path, 24, name="b.lance")
    two.dataset.delete("number < 2")
    two.dataset.update({"text": "'other'"}, where="number = 5")
    two = two.latest()

    check(cd.diff(one, other=two), one.to_table(), two.to_table(), "path")
    check(cd.diff(one, other=two, on="number"), one.to_table(), two.to_table(), "number")
    assert cd.diff(one, other=two, columns=["number"]).rows_changed == 0
    two.dataset.update({"text": "'other'"}, where="number = 6")
    with pytest.raises(UsageError, match="have a 'text' that another row has too, such as 'other'"):
        cd.diff(one, other=two.latest(), on="text")
    with pytest.raises(SchemaError, match="'gone'"):
        cd.diff(one, other=two, columns=["gone"])
    with pytest.raises(NotFoundError, match="there is no tag 'raw'"):
        cd.diff(one, "raw")


def test_values_of_every_type_are_compared_and_nan_is_nan(tmp_path: Path) -> None:
    schema = pa.schema(
        [
            key_field("k"),
            pa.field("f", pa.float32()),
            pa.field("l", pa.list_(pa.string())),
            pa.field("v", pa.list_(pa.float32(), 2)),
            pa.field("s", pa.struct([("a", pa.int8())])),
        ]
    )
    made = []
    for name, f, last in (("a", [math.nan, 1, None], ["y"]), ("b", [math.nan, 1, 0], [])):
        table = rows.create_table(tmp_path / f"{name}.lance", schema)
        values = {"k": list("xyz"), "f": f, "l": [["p"], None, last], "v": [[1, 2], None, [3, 4]]}
        rows.upsert(table, pa.table({**values, "s": [{"a": 1}, None, {"a": None}]}, schema=schema))
        made.append(table.latest())

    found = cd.diff(made[0], other=made[1])

    assert (found.values, found.rows_changed) == ({"f": 1, "l": 1}, 1)
    assert [(one.key, one.column, one.before, one.after) for one in found.changed] == [
        ("z", "f", None, 0.0), ("z", "l", "['y']", "[]")
    ]  # fmt: skip


def test_no_byte_of_a_picture_is_read_where_its_digest_tells(tmp_path: Path) -> None:
    import ingest

    for number in range(6):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{number}.jpg").write_bytes(encoded(number) + bytes(200_000))
    table = ingest.from_images(tmp_path / "in", into=tmp_path / "t.lance").table
    (tmp_path / "in" / "3.jpg").write_bytes(encoded(33) + bytes(200_000))
    ingest.from_images(tmp_path / "in", into=tmp_path / "t.lance")
    cd.open_table(table.uri).dataset.optimize.compact_files()

    before = bytes_read()
    found = cd.diff(table.uri, table.version)

    assert (found.values["image"], found.rows_changed, found.rows_hashed) == (1, 1, 12)
    assert bytes_read() - before < 600_000, "twelve pictures take four times as much"
    assert next(one for one in found.changed if one.column == "image").key == "3.jpg"


def test_a_table_without_a_key_is_compared_by_its_own_row_ids_and_no_other_table(tmp_path: Path) -> None:
    lance.write_dataset(pa.table({"n": range(5)}), tmp_path / "t.lance", enable_stable_row_ids=True)
    dataset = lance.dataset(tmp_path / "t.lance")
    dataset.delete("n = 2")
    dataset.update({"n": "n + 10"}, where="n = 4")

    found = cd.diff(tmp_path / "t.lance", 1)

    assert (found.rows_removed, found.values, found.key) == (1, {"n": 1}, "_rowid")
    with pytest.raises(UsageError, match="nothing tells which row"):
        cd.diff(tmp_path / "t.lance", other=number_table(tmp_path, 2, name="o.lance"))


def test_a_table_without_a_key_is_compared_by_a_column_that_has_another_value_in_every_row(tmp_path: Path) -> None:
    """As `select` does: another writer's table declares nothing."""
    uri = str(tmp_path / "t.lance")
    for shift in (0, 1):
        values = {"path": ["a", "a", "b"], "id": [1, 2, 3], "n": [0, 5, shift]}
        lance.write_dataset(pa.table(values), uri, mode="overwrite")

    found = cd.diff(uri, 1)

    assert (found.key, found.values) == ("id", {"n": 1})
    compared = cd.compare(uri, "n@1", "n")
    assert (compared.mean.num_rows, compared.mean.difference) == (3, pytest.approx(1 / 3))
