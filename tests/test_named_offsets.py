"""Rows that a condition means by names are those that it means with each row spelled out, for any condition."""

from __future__ import annotations

from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest

import clipdata as cd
from clipdata.errors import NotFoundError, SchemaError
from clipdata.lance_io.named_offsets import named_offsets

NUM_ROWS = 90


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> cd.Table:
    """Rows in several fragments, some of them deleted; two names that overlap."""
    place = tmp_path_factory.mktemp("named") / "t.lance"
    number_N = np.arange(NUM_ROWS)
    score = pa.array(number_N / NUM_ROWS, mask=number_N % 7 == 0)
    rows = {"path": [f"it's {n}.png" for n in number_N], "number": number_N, "score": score}
    lance.write_dataset(pa.table(rows), place, max_rows_per_file=20)
    made = cd.open_table(place)
    cd.select(made, "even", where="number % 2 = 0")
    cd.select(made, "low", where="number < 30")
    made.dataset.delete("number % 11 = 3")
    return made.latest()


@pytest.mark.parametrize(
    "where",
    [
        "@even",
        "NOT @even",
        "@even AND score > 0.5",
        "@even OR score > 0.5",
        "NOT (@even AND @low) AND NOT score > 0.9",
        "(@even OR @low) AND path <> '@even'",
        "@low = @even",
        "score IS NULL AND @low",
    ],
)
def test_names_mean_the_rows_that_they_would_mean_spelled_out(table: cd.Table, where: str) -> None:
    spelled = sorted(table.to_table(["_rowoffset"], where=where).column(0).to_pylist())

    assert named_offsets(table, where).tolist() == spelled  # type: ignore[union-attr]
    assert table.offsets(where).tolist() == spelled
    assert table.count_rows(where) == len(spelled)


def test_a_condition_without_a_name_is_none_of_its_business(table: cd.Table) -> None:
    assert named_offsets(table, "path <> '@even'") is None
    with pytest.raises(NotFoundError, match="no selection @odd"):
        table.count_rows("@odd")
    with pytest.raises(SchemaError, match="'@even AND nope > 3'; there is no column nope"):
        table.count_rows("@even AND nope > 3")


def test_a_map_of_named_rows_computes_them_in_every_fragment(tmp_path: Path, table: cd.Table) -> None:
    where = "@even AND NOT @low OR number = 1"
    done = cd.map_column(
        table, cd.step(reads="number", returns=pa.int64())(lambda number: -number), "negated", where=where
    )

    computed = [n for n in table.to_table(["negated"]).column(0).to_pylist() if n is not None]
    expected = [n for n in range(NUM_ROWS) if n % 11 != 3 and ((n % 2 == 0 and n >= 30) or n == 1)]
    assert sorted(-n for n in computed) == expected
    assert done.computed == len(expected)
