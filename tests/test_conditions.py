"""Conditions of every verb are read in one place: what would find other rows than meant is refused, and explained."""

from __future__ import annotations

import datetime
import decimal
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import clipdata as cd
import ingest
from clipdata.errors import SchemaError, UsageError

MOMENT = datetime.datetime(2026, 1, 31, 12)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> cd.Table:
    place = tmp_path_factory.mktemp("conditions") / "t.lance"
    columns = {
        "split": pa.array(["test", "train"]),
        "at": pa.array([MOMENT, MOMENT + datetime.timedelta(days=1)], pa.timestamp("us")),
        "day": pa.array([MOMENT.date(), MOMENT.date() + datetime.timedelta(days=1)]),
        "hour": pa.array([datetime.time(11), datetime.time(13)], pa.time64("us")),
        "price": pa.array([decimal.Decimal("1.50"), decimal.Decimal("2.50")], pa.decimal128(10, 2)),
        "took": pa.array([5, 7], pa.duration("s")),
    }
    lance.write_dataset(pa.table(columns), place)
    return cd.open_table(place)


@pytest.mark.parametrize("drawn", ["random() < 0.5", "split = 'test' AND RAND ( ) > 1", "uuid() = split"])
def test_what_draws_anew_is_refused_by_whatever_asks(table: cd.Table, drawn: str) -> None:
    for ask in (
        lambda: table.count_rows(drawn),
        lambda: table.to_table(where=drawn),
        lambda: table.offsets(drawn),
        lambda: cd.stats(table, where=drawn),
        lambda: cd.select(table, "drawn", where=drawn),
    ):
        with pytest.raises(UsageError, match="another value each time"):
            ask()


def test_a_text_may_speak_of_what_draws(table: cd.Table) -> None:
    assert table.count_rows("split <> 'random()'") == 2


def test_a_column_in_double_quotes_is_a_text_and_refused(table: cd.Table) -> None:
    with pytest.raises(SchemaError, match=r'"split", which is a text') as refused:
        table.count_rows("\"split\" = 'test'")
    assert refused.value.hint == "write `split` for the column, or 'split' for the text"
    assert table.count_rows("split = \"test\" AND '\"split\"' <> ''") == 1


@pytest.mark.parametrize(
    ("false", "hint", "right"),
    [
        ("at > '2026-01-31 13:00:00'", "timestamp '2026-01-31 12:00:00'", "at > timestamp '2026-01-31 13:00:00'"),
        ("day > '2026-01-31'", "date '2026-01-31'", "day > date '2026-01-31'"),
        ("hour > '12:00:00'", "arrow_cast(COLUMN, 'Int64')", "arrow_cast(hour, 'Int64') > 43200000000"),
        ("price > 2.0", "cast(1.5 as decimal(10, 2))", "price > cast(2.0 as decimal(10, 2))"),
        ("took > 6", "cast(COLUMN as bigint)", "cast(took as bigint) > 6"),
    ],
)
def test_a_literal_of_another_type_is_refused_with_the_one_that_would_do(
    table: cd.Table, false: str, hint: str, right: str
) -> None:
    with pytest.raises(SchemaError) as refused:
        table.count_rows(false)
    assert hint in str(refused.value.hint)
    assert table.offsets(right).tolist() == [1]


def test_a_nan_is_above_all_numbers_whatever_made_it(tmp_path: Path) -> None:
    nans = [np.nan, -np.nan]  # 0 / 0 has a sign on x86, and Lance orders by bits
    values = pa.array(np.array([*nans, 0.1, 0.9], np.float32))
    pq.write_table(pa.table({"filename": list("abcd"), "score": values}), tmp_path / "m.parquet")
    table = ingest.from_parquet(tmp_path / "m.parquet", into=tmp_path / "t.lance").table

    @cd.step(reads="score", returns="float64", batch=True, version="1")
    def odd(score: pa.Array) -> np.ndarray:
        return np.where(np.isnan(score.to_numpy()), -np.nan, 1.0)

    cd.map_column(table, odd, "odd")

    assert table.to_table(["filename"], where="score < 0.5")["filename"].to_pylist() == ["c"]
    assert table.to_table(["filename"], where="score > 0.5 AND NOT isnan(score)")["filename"].to_pylist() == ["d"]
    assert table.count_rows("odd < 0.5") == 0
    assert table.count_rows("odd > 1.5") == 2
    assert not np.signbit(table.to_table(["odd", "score"])["score"].to_numpy()).any()
