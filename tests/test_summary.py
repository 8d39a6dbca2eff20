"""`stats`: what a table holds, as DuckDB and numpy find it, and within the stated error where not all was kept."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clipdata as cd
from clipdata.errors import UsageError
from clipdata.lance_io import rows
from clipdata.schema import image_schema
from clipdata.storage import Storage
from clipdata.summary.records import bars
from clipdata.summary.sketches import Numbers, Values
from ingest.updating.rejects import Rejects
from ingest.updating.source import Reject
from pipelines.cli.app import main
from pipelines.cli.commands.stats import stats as stats_verb
from pipelines.cli.json_output import schema_of
from tests.json_schemas import check_schema
from tests.pictures import encoded
from tests.tables import append_numbers, number_table


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.floats(-1e6, 1e6) | st.integers(0, 3).map(float), max_size=40), max_size=12),
    st.sampled_from([4, 8, 1000]),
)
def test_numbers_are_numpys_own_and_beyond_what_is_kept_their_ranks_are_within_the_error(
    batches: list[list[float]], kept: int
) -> None:
    numbers = Numbers(kept)
    for batch in batches:
        numbers.add(np.array(batch, np.float64))
    everything = np.sort(np.array([value for batch in batches for value in batch]))
    found = numbers.distribution()
    if not len(everything):
        assert found is None
        return

    assert found is not None
    assert found.count == sum(found.counts) == len(everything)
    assert found.mean == pytest.approx(everything.mean(), rel=1e-9, abs=1e-6)
    expected = everything.std(ddof=1) if len(everything) > 1 else None
    assert found.std == (pytest.approx(expected, rel=1e-6, abs=1e-6) if expected is not None else None)
    assert (found.quantiles["0"], found.quantiles["1"]) == (everything[0], everything[-1])
    for share, value in found.quantiles.items():
        if not found.rank_error:
            assert value == np.quantile(everything, float(share))
        else:
            wanted = math.ceil(float(share) * len(everything))
            low, high = np.searchsorted(everything, value, "left"), np.searchsorted(everything, value, "right")
            assert (
                low - found.rank_error * len(everything) - 1 <= wanted <= high + found.rank_error * len(everything) + 1
            )
    if not found.rank_error and everything[0] < everything[-1]:
        assert found.counts == tuple(np.histogram(everything, 20)[0])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from("aaaabbbccdefghijklm"), max_size=50), max_size=8), st.sampled_from([2, 5, 100])
)
def test_common_values_are_counted_and_where_not_all_fit_each_count_is_within_the_error(
    batches: list[list[str]], kept: int
) -> None:
    values = Values(kept)
    for batch in batches:
        values.add(pa.array([*batch, None]))
        values._merge()
    counted = Counter(value for batch in batches for value in batch)

    common = values.common(3)

    if values.error == 0:
        assert values.distinct == len(counted)
        assert [count for _, count in common] == [count for _, count in counted.most_common(3)]
    else:
        assert values.distinct is None
        assert values.error * (kept + 1) <= sum(counted.values())
    for value, count in common:
        assert count <= counted[value] <= count + values.error


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> cd.Table:
    """A table of another tool, with a column of every kind."""
    rng = np.random.default_rng(0)
    n = 3000
    scores = rng.normal(size=n)
    scores[:5] = np.nan
    table = pa.table(
        {
            "id": np.arange(n),
            "score": pa.array(scores, mask=np.arange(n) % 7 == 0),
            "label": rng.choice(["cat", "dog", "fox"], n, p=[0.6, 0.3, 0.1]),
            "split": np.where(rng.random(n) < 0.2, "test", "train"),
            "captions": [["a cat", "the cat"][: k % 3] for k in range(n)],
            "scores": pa.array([[0.25, float("inf")][: k % 3] for k in range(n)], pa.list_(pa.float32())),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(n * 96, np.float32)), 96),
            "flag": rng.random(n) < 0.5,
            "when": pa.array(np.arange(n) * 1_000_000, pa.timestamp("us")),
            "price": pa.array([k % 10 for k in range(n)], pa.int32()).cast(pa.decimal128(12, 2)),
            "kind": pa.array(rng.choice(["x", "y"], n)).dictionary_encode(),
            "nothing": pa.nulls(n),
            "picture": pa.array([b"x" * 100] * n, pa.large_binary()),
            "pair": pa.array([{"a": 1}] * n),
        }
    )
    uri = str(tmp_path_factory.mktemp("stats") / "mixed.lance")
    lance.write_dataset(table, uri, max_rows_per_file=1000)
    return cd.open_table(uri)


def test_a_table_of_any_kind_of_columns_is_what_duckdb_finds(mixed: cd.Table) -> None:
    import duckdb

    data = mixed.to_table(["id", "score", "label", "flag", "when"])
    oracle = duckdb.sql("SELECT count(*), avg(score), stddev(score), median(score) FROM data WHERE NOT isnan(score)")
    count, mean, std, median = oracle.fetchall()[0]

    found = cd.stats(mixed)

    score = found.column("score")
    assert (found.num_rows, score.nulls) == (3000, data["score"].null_count)
    assert score.not_finite + score.nulls + score.numbers.count == 3000
    assert (score.numbers.count, score.numbers.mean) == (count, pytest.approx(mean))
    assert (score.numbers.std, score.numbers.quantiles["0.5"]) == (pytest.approx(std), pytest.approx(median))
    assert found.column("label").common == tuple(Counter(data["label"].to_pylist()).most_common())
    assert found.column("flag").distinct == 2
    assert (found.column("when").earliest, found.column("when").latest) == (
        "1970-01-01 00:00:00",
        "1970-01-01 00:49:59",
    )
    assert found.column("captions").common == (("a cat", 2000), ("the cat", 1000))
    assert (found.column("captions").empty, found.column("captions").lengths.quantiles["1"]) == (1000, 2)
    assert found.column("captions").characters.mean == pytest.approx(17 / 3)
    assert (found.column("scores").numbers.count, found.column("scores").not_finite) == (2000, 1000)
    assert (found.column("vector").nulls, found.column("picture").nulls) == (None, None)
    assert found.column("picture").num_bytes > 0
    assert found.column("nothing").nulls == 3000
    assert found.column("price").numbers.mean == pytest.approx(4.5)
    assert found.column("kind").distinct == 2
    assert [found.column(name).distinct for name in ("score", "scores", "when", "pair")] == [None] * 4
    assert found.num_bytes == sum(one.num_bytes for one in found.columns)
    assert found.refused == {}


def test_sides_of_a_split_without_rows_are_said_to_have_none(mixed: cd.Table) -> None:
    assert "sides of split: no rows" in str(cd.stats(mixed, where="id < 0"))


def test_sides_of_a_split_are_told_with_the_shares_of_the_classes(mixed: cd.Table) -> None:
    (split,) = cd.stats(mixed, columns=["split", "label"]).splits

    sides = mixed.to_table(["split", "label"]).to_pandas()
    assert split.sides == sides["split"].value_counts().sort_index().to_dict()
    expected = sides.groupby("split")["label"].value_counts(normalize=True)
    for side, shares in split.shares.items():
        for name, share in shares.items():
            assert share == pytest.approx(expected[side][name])
    assert "3 classes in label; most apart" in "\n".join(split.lines())


def test_a_condition_and_columns_narrow_what_is_looked_at(mixed: cd.Table) -> None:
    found = cd.stats(mixed, where="label = 'cat'", columns=["label", "id"])

    assert [one.name for one in found.columns] == ["label", "id"]
    assert found.column("label").common == (("cat", found.num_rows),)
    assert cd.stats(mixed, where="id < 0").num_rows == 0
    assert cd.stats(mixed, columns=["picture"]).num_rows == 3000


def test_pictures_refusals_lineages_and_stale_columns_are_told(tmp_path: Path) -> None:
    table = rows.create_table(tmp_path / "images.lance", image_schema([]))
    data = [encoded(number) for number in range(4)]
    fresh = {
        "path": list("abcd"), "image": data, "format": ["jpeg"] * 3 + ["png"],
        "width": pa.array([640, 640, 320, None], pa.int32()), "height": pa.array([480, 640, 640, 10], pa.int32()),
    }  # fmt: skip
    rows.upsert(table, pa.table(fresh))
    rejects = Rejects(table.uri, Storage())
    rejects.add(Reject("e", "", "truncated"), "here")
    rejects.flush()
    cd.map_column(table, cd.steps.Prompt("a {format}"), "said")
    rows.upsert(table, pa.table({"path": ["f"], "format": ["jpeg"]}))

    found = cd.stats(table.uri)

    assert found.refused == {"truncated": 1}
    assert found.stale == ("said",)
    assert found.aspect.quantiles["0.5"] == 1.0
    assert found.aspect.count == 3
    assert found.column("image").num_bytes >= sum(map(len, data))
    assert found.column("path").distinct == 5
    assert "Prompt" in found.column("said").made_by
    assert "stale: said" in str(found)
    assert "refused: 1 row: 1 × truncated" in str(found)


@pytest.mark.parametrize("kind", [pa.string_view(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())], ids=str)
def test_texts_of_a_parquet_file_are_counted_however_arrow_holds_them(kind: pa.DataType, tmp_path: Path) -> None:
    texts = ["one", "three", "one", "", None]
    held = {"text": pa.array(texts).cast(kind)}
    if not pa.types.is_dictionary(kind):
        held["texts"] = pa.array([[text] for text in texts], pa.list_(kind))
    pq.write_table(pa.table(held), tmp_path / "t.parquet")

    found = cd.stats(tmp_path / "t.parquet")

    assert found.column("text").empty == 1
    assert found.column("text").common[0] == ("one", 2)


def test_parquet_files_are_told_before_they_are_a_table(mixed: cd.Table, tmp_path: Path) -> None:
    rows_held = mixed.to_table(["id", "score", "label", "captions", "picture"])
    for place in range(2):
        pq.write_table(rows_held.slice(1500 * place, 1500), tmp_path / f"{place}.parquet")

    found, table = cd.stats(tmp_path), cd.stats(mixed, columns=rows_held.schema.names)

    assert (found.num_rows, found.version) == (3000, None)
    for one, other in zip(found.columns, table.columns, strict=True):
        assert (one.common, one.nulls, one.num_bytes > 0) == (other.common, other.nulls, True)
        for mine, its in ((one.numbers, other.numbers), (one.lengths, other.lengths)):
            assert (mine and mine.quantiles) == (its and its.quantiles)
    assert cd.stats(tmp_path / "0.parquet", columns=["id"]).column("id").numbers.count == 1500
    with pytest.raises(UsageError, match="told whole"):
        cd.stats(tmp_path, where="id > 1")


def test_a_histogram_is_a_bar_a_bin() -> None:
    assert bars([0, 1, 4, 8]) == " ▁▄█"
    assert bars([]) == bars([0]) == ""


def test_the_command_prints_lines_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = number_table(tmp_path, 9)
    append_numbers(table, 9, 11)

    assert main(["stats", table.uri, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    check_schema(found, schema_of("stats", stats_verb.found))
    assert found["num_rows"] == 11
    assert main(["stats", table.uri]) == 0
    shown = capsys.readouterr().out
    assert "number: int64, no null" in shown
    assert "0 | 2.5 | 5 | 7.5 | 10   mean 5 ± 3.317" in shown


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nowhere.lance"], 3, "there is no table"),
        (["{folder}/gone.parquet"], 3, "gone.parquet"),
        (["{folder}/none.parquet"], 2, "is no Parquet"),
        (["{folder}/good.parquet", "--columns", "nosuch"], 2, "no column 'nosuch'"),
        (["{table}", "--columns", "nosuch"], 2, "no column 'nosuch'"),
        (["{table}", "--where", "nosuch = 1"], 2, "nosuch"),
        (["{table}", "--where", "number ="], 2, "number ="),
        (["{table}", "--version", "99"], 3, "no version 99"),
    ],
)
def test_what_is_wrong_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    table = number_table(tmp_path, 2)
    (tmp_path / "none.parquet").write_bytes(b"no parquet at all")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "good.parquet")

    assert main(["stats", *(word.format(table=table.uri, folder=tmp_path) for word in words)]) == code

    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told
