"""Querying: what a SELECT answers, and that no statement does anything but answer."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from clipdata.errors import SchemaError, UsageError
from tests.tables import number_table

REFUSED = [
    "COPY (SELECT number FROM dataset) TO '{out}/stolen.csv'",
    "copy dataset to '{out}/stolen.json'",
    "/* SELECT */ COPY (SELECT 1) TO '{out}/stolen.csv'",
    "-- SELECT\nCOPY (SELECT 1) TO '{out}/stolen.csv'",
    "-- SELECT 1\rCOPY (SELECT 1) TO '{out}/stolen.csv'",
    "/* a /* b */ SELECT 1 */ COPY (SELECT 1) TO '{out}/stolen.csv'",
    "/*! SELECT */ SELECT 1",
    "EXPLAIN SELECT 1",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{out}/stolen.csv'",
    "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{out}/secret.csv'",
    "CREATE TABLE t AS SELECT 1",
    "CREATE VIEW t AS SELECT 1",
    "DROP TABLE dataset",
    "INSERT INTO dataset SELECT * FROM dataset",
    "UPDATE dataset SET number = 1",
    "DELETE FROM dataset",
    "MERGE INTO dataset USING dataset d ON true WHEN MATCHED THEN DELETE",
    "SET datafusion.execution.batch_size = 1",
    "SHOW TABLES",
    "DESCRIBE dataset",
    "PREPARE p AS SELECT 1",
    "VALUES (1)",
    "FROM dataset",
    "SELECT number INTO t FROM dataset",
    "SELECT 1; COPY (SELECT 1) TO '{out}/stolen.csv'",
    "; SELECT 1",
    "SELECT 1;; SELECT 2",
    "WITH t AS (SELECT 1) INSERT INTO dataset SELECT * FROM t",
    "WITH t AS (INSERT INTO dataset VALUES (1) RETURNING *) SELECT * FROM t",
    "WITH t AS (/* x */ DELETE FROM dataset) SELECT 1",
    "WITH t AS (SELECT 1) UPDATE dataset SET number = 1",
    "WITH t AS (SELECT 1) -- x\n MERGE INTO dataset USING t ON true WHEN MATCHED THEN DELETE",
    "(DELETE FROM dataset)",
    "SELECT E'\\'' ; COPY (SELECT 1) TO '{out}/stolen.csv' --'",
    "SELECT q'[']'; COPY (SELECT 1) TO '{out}/stolen.csv' --'",
    "SELECT $$'$$; COPY (SELECT 1) TO '{out}/stolen.csv' --'",
    "SELECT 'open",
    'SELECT "open',
    "SELECT (1",
    "SELECT 1)",
    "SELECT * FROM generate_series(1, 1000000000000)",
    "SELECT * FROM dataset, range(1, 9)",
    "SELECT * FROM dataset d JOIN dataset e ON d.number = e.number, range(1, 9)",
    "SELECT * FROM (dataset CROSS JOIN range(1, 9))",
    'SELECT * FROM "range"(1, 9)',
    "SELECT * FROM /* x */ range /* y */ (1, 9)",
    "SELECT * FROM datafusion.public.range(1, 9)",
    "SELECT number FROM dataset WHERE number IN (SELECT value FROM range(1, 9))",
    "SELECT DISTINCT FROM range(1, 9)",
    "SELECT * FROM LATERAL range(1, 9)",
    "SELECT * FROM read_parquet('{out}/secret.parquet')",
    "SELECT 1 UNION ALL FROM range(1, 9)",
    "SELECT * FROM unnest([1]) WITH ORDINALITY, range(1, 9)",
    "",
    " -- nothing",
]

ANSWERED = [
    ("SELECT count(*) AS n FROM dataset", 10),
    ("select count(*) as n from DATASET;", 10),
    ("-- how many?\nSELECT count(*) AS n FROM dataset -- ; COPY", 10),
    ("/* COPY */ SELECT /* ; */ count(*) AS n FROM dataset", 10),
    ("(SELECT count(*) AS n FROM dataset)", 10),
    ("WITH few AS (SELECT number FROM dataset WHERE number < 3) SELECT count(*) AS n FROM few", 3),
    ("WITH a(x) AS (SELECT number FROM dataset), b AS (SELECT x FROM a) SELECT count(*) AS n FROM b", 10),
    ("SELECT count(*) AS n FROM dataset WHERE text <> 'COPY (x); INSERT INTO'", 10),
    ("SELECT count(*) AS n FROM dataset WHERE text = 'it''s; /*'", 0),
    ('SELECT count(*) AS "insert into" FROM dataset', 10),
    ("SELECT count(*) AS n FROM dataset WHERE number IS DISTINCT FROM abs(-3)", 9),
    ("SELECT extract(year FROM to_date('2026-01-02')) AS n", 2026),
    ("SELECT sum(n) AS n FROM (SELECT 4 AS n UNION ALL SELECT count(*) FROM public.dataset)", 14),
    ("SELECT count(*) AS n FROM dataset d JOIN (VALUES (1), (2)) v(k) ON d.number = v.k", 2),
    ("SELECT count(*) AS n FROM (dataset d JOIN dataset e USING (number))", 10),
    ("SELECT count(*) AS n FROM dataset, unnest([1, 2])", 20),
    ("SELECT length(replace(max(text), 'text', '')) AS n FROM dataset", 2),
    ("SELECT (SELECT max(`number`) FROM dataset) AS n", 9),
]


@pytest.mark.parametrize("attempt", REFUSED)
def test_a_query_is_one_select_over_the_table_and_nothing_else(tmp_path: Path, attempt: str) -> None:
    table = number_table(tmp_path, 3)
    (tmp_path / "secret.csv").write_text("secret\nvalue\n")
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(UsageError, match="expected one SELECT, or WITH … SELECT, over the table, which is called"):
        table.query(attempt.replace("{out}", str(tmp_path)))

    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(("statement", "n"), ANSWERED)
def test_a_select_is_answered_whatever_its_texts_names_and_comments_say(tmp_path: Path, statement: str, n: int) -> None:
    assert number_table(tmp_path, 10).query(statement).column(0).to_pylist() == [n]


def test_no_file_is_a_table_of_a_query(tmp_path: Path) -> None:
    table = number_table(tmp_path, 3)
    (tmp_path / "secret.csv").write_text("secret\nvalue\n")

    for place in (f"'{tmp_path}/secret.csv'", f'"{tmp_path}/secret.csv"', "information_schema.tables"):
        with pytest.raises(SchemaError, match="there is no table"):
            table.query(f"SELECT * FROM {place}")


def test_a_refused_statement_is_named_without_its_control_characters(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\\x1b") as refused:
        number_table(tmp_path, 3).query("\x1bCOPY dataset TO 'x'")

    assert "\x1b" not in str(refused.value)


def test_a_query_reads_no_more_rows_than_asked_for(tmp_path: Path) -> None:
    table = number_table(tmp_path, 10, rows_per_write=4)

    assert table.query("SELECT number FROM dataset", limit=5).num_rows == 5
    assert table.query("SELECT number FROM dataset", limit=0).schema == pa.schema([pa.field("number", pa.int64())])
    assert table.query("SELECT number FROM dataset", limit=50).num_rows == 10


def test_an_answer_too_large_to_hold_is_refused(tmp_path: Path) -> None:
    table = number_table(tmp_path, 1000)

    with pytest.raises(UsageError, match="rows of the answer take more than") as refused:
        table.query("SELECT * FROM dataset", max_bytes=1000)

    assert "LIMIT" in str(refused.value)
