"""A name in another case means one column, the same in a condition, a SELECT and an option; or it is refused."""

from __future__ import annotations

from pathlib import Path

import lance
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import clipdata as cd
from clipdata.errors import SchemaError
from clipdata.lance_io.cased_names import with_columns_quoted

ROWS = {
    "id": ["a", "b"],
    "Score": [1.0, 2.0],
    "score": ["x", "y"],
    "Split": ["train", "test"],
    "labelA": [1, 2],
    "LabelA": [3, 4],
    "Date": pa.array([20_000, 20_001], pa.date32()),
    "About": [{"Votes": 1}, {"Votes": 2}],
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> cd.Table:
    place = tmp_path_factory.mktemp("cased") / "theirs.lance"
    lance.write_dataset(pa.table(ROWS), place)
    return cd.open_table(place)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("Score", "Score"),
        ("score", "score"),
        ("Split", "Split"),
        ("split", "Split"),
        ("SPLIT", "Split"),
        ("date", "Date"),
    ],
)
def test_a_name_means_the_column_of_its_case_or_the_only_one_of_another_wherever_it_stands(
    table: cd.Table, name: str, column: str
) -> None:
    written = name if name != "date" else "`Date`"
    expected = table.to_table([column]).column(0)

    assert table.query(f"SELECT {written} FROM dataset").column(0) == expected
    assert table.query(f"SELECT id FROM dataset WHERE {written} IS NOT NULL").num_rows == 2
    assert table.count_rows(f"{written} IS NOT NULL") == 2
    assert [one.name for one in cd.stats(table, columns=[name]).columns] == [column]


@pytest.mark.parametrize("name", ["SCORE", "labela", "LABELA"])
def test_a_name_that_stands_for_several_columns_is_refused_with_them_by_all(table: cd.Table, name: str) -> None:
    asks = (
        lambda: table.query(f"SELECT {name} FROM dataset"),
        lambda: table.query(f"SELECT id FROM dataset WHERE {name} IS NULL"),
        lambda: table.count_rows(f"{name} IS NULL"),
        lambda: cd.stats(table, columns=[name]),
    )
    for ask in asks:
        with pytest.raises(
            SchemaError, match=f"{name} stands for several columns, which differ in case alone: "
        ) as told:
            ask()
        assert "`" in str(told.value.hint)
    assert table.count_rows(f"id <> '{name}' AND `Score` > 1") == 1


def test_columns_of_a_parquet_file_are_named_as_those_of_a_table(tmp_path: Path) -> None:
    pq.write_table(pa.table({"Split": ["a"], "labelA": [1], "LabelA": [2]}), tmp_path / "t.parquet")
    assert [one.name for one in cd.stats(tmp_path / "t.parquet", columns=["split"]).columns] == ["Split"]
    with pytest.raises(SchemaError, match="several columns"):
        cd.stats(tmp_path / "t.parquet", columns=["labela"])


@pytest.mark.parametrize(
    ("sql", "plain"),
    [
        ("SELECT split FROM dataset", 'SELECT "Split" FROM dataset'),
        ("SELECT score, 'Split' FROM dataset", "SELECT score, 'Split' FROM dataset"),
        ("SELECT max(Score) AS Score FROM dataset", 'SELECT max("Score") AS "Score" FROM dataset'),
        ("SELECT id AS split FROM dataset ORDER BY split", "SELECT id AS split FROM dataset ORDER BY split"),
        ("SELECT d.split FROM dataset AS d", 'SELECT d."Split" FROM dataset AS d'),
        ("SELECT About.Votes FROM dataset", 'SELECT "About".Votes FROM dataset'),
        ("SELECT Date > date '2020-01-01' FROM dataset", "SELECT \"Date\" > date '2020-01-01' FROM dataset"),
        ("SELECT cast(id AS date) FROM dataset", "SELECT cast(id AS date) FROM dataset"),
        ("WITH split AS (SELECT id FROM dataset) SELECT * FROM split",) * 2,
    ],
)  # fmt: skip
def test_a_select_keeps_its_own_names_texts_and_fields(table: cd.Table, sql: str, plain: str) -> None:
    assert with_columns_quoted(sql, list(ROWS)) == plain
    assert with_columns_quoted(sql, ["id", "split", "score", "about"]) == sql
