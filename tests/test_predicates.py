"""Conditions mean what SQL says: `where` splits the rows in three, and agrees with DuckDB and pyarrow.

`benchmarks/predicates.py` does it with 5,000 conditions.
"""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import clipdata as cd
from tests.predicates import Conditions, awkward_table, literal

SEED = 0
NUM_CONDITIONS = 300


@pytest.fixture(scope="module")
def awkward(tmp_path_factory: pytest.TempPathFactory) -> tuple[cd.Table, pa.Table]:
    return awkward_table(tmp_path_factory.mktemp("awkward"))


def test_conditions_split_the_rows_in_three_as_duckdb_and_pyarrow_do(awkward: tuple[cd.Table, pa.Table]) -> None:
    table, held = awkward
    conditions = Conditions(SEED)

    for number in range(NUM_CONDITIONS):
        condition = conditions.next()
        where = condition.lance
        three = [table.count_rows(one) for one in (where, f"NOT ({where})", f"({where}) IS NULL")]
        judged = condition.arrow(held)
        by_duckdb = duckdb.sql(
            f"SELECT count(*) FILTER (p), count(*) FILTER (NOT p), count(*) FILTER (p IS NULL) "
            f"FROM (SELECT ({condition.duckdb}) AS p FROM held)"
        ).fetchall()[0]
        by_arrow = [pc.sum(judged).as_py() or 0, pc.sum(pc.invert(judged)).as_py() or 0, judged.null_count]

        assert sum(three) == held.num_rows, f"condition {number} of seed {SEED}: {where}"
        assert three == list(by_duckdb), f"condition {number} of seed {SEED} in DuckDB: {where}"
        assert three == by_arrow, f"condition {number} of seed {SEED} in pyarrow: {where}"


def test_the_rows_of_a_condition_are_the_same_rows(awkward: tuple[cd.Table, pa.Table]) -> None:
    table, held = awkward
    conditions = Conditions(SEED + 1)

    for _ in range(20):
        condition = conditions.next()
        found = table.to_table(["path"], where=condition.lance)["path"].to_pylist()
        assert sorted(found) == held.filter(condition.arrow(held))["path"].to_pylist(), condition.lance


@pytest.mark.parametrize("text", ["it's", "50%", "a_b", "\\", "", '"', "`", "--", "/*", "a\nb"])
def test_a_text_is_found_by_itself_however_it_is_written(awkward: tuple[cd.Table, pa.Table], text: str) -> None:
    table, held = awkward

    found = table.count_rows(f"t = {literal(text)}")

    assert found == pc.sum(pc.equal(held["t"], text)).as_py()


def test_two_lists_with_nothing_in_common_are_false_also_of_a_null(awkward: tuple[cd.Table, pa.Table]) -> None:
    """The known difference "two lists" of `tests/predicates.py`; when this fails, it is one no more."""
    table, held = awkward

    assert table.count_rows("(t IN ('a')) IS NULL") == held["t"].null_count > 0
    assert table.count_rows("(t IN ('a', 'b') AND t IN ('A', 'B')) IS NULL") == 0
