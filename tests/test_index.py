"""`index`: made, brought up to date, measured; and whatever became of the table, a search by it finds what is there."""

from __future__ import annotations

import json
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest

import clipdata as cd
from clipdata.errors import NotFoundError, SchemaError, UsageError
from clipdata.lance_io import rows
from clipdata.lance_io.indices import indices
from clipdata.schema import key_field
from pipelines.cli.app import VERBS, main
from pipelines.cli.json_output import schema_of
from tests.json_schemas import check_schema

SIZE = 16
ROWS = 1500
CHINESE = ["一只猫坐在沙发上", "小猪佩奇在足球场踢足球", "两只小狗", "红色的房子"]


def vectors(seed: int, num: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(num, SIZE)).astype(np.float32)


def of_vectors(vector_ND: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(vector_ND.reshape(-1)), vector_ND.shape[1])


def put(table: cd.Table, start: int, stop: int, *, seed: int = 0) -> None:
    """Rows `start` to `stop`; another seed gives them other vectors."""
    rows.upsert(
        table,
        pa.table(
            {
                "path": [f"{n:05d}" for n in range(start, stop)],
                "number": list(range(start, stop)),
                "caption": [CHINESE[n % 4] for n in range(start, stop)],
                "captions": [[CHINESE[n % 4], None, f"number {n}"] for n in range(start, stop)],
                "vector": of_vectors(vectors(seed, stop)[start:stop]),
            }
        ),
    )


@pytest.fixture
def table(tmp_path: Path) -> cd.Table:
    schema = pa.schema(
        [
            key_field("path"),
            pa.field("number", pa.int64()),
            pa.field("caption", pa.string()),
            pa.field("captions", pa.list_(pa.string())),
            pa.field("vector", pa.list_(pa.float32(), SIZE)),
        ]
    )
    made = rows.create_table(tmp_path / "t.lance", schema)
    for start in range(0, ROWS, 500):
        put(made, start, start + 500)
    return cd.open_table(made.uri)


def found(table: cd.Table, name: str, *, exact: bool = False, **given: object) -> tuple[list[str], str | None, int]:
    told = cd.search(table.uri, like=name, column=given.pop("column", "vector"), top=5, exact=exact, **given)
    (way,) = told.ways
    return [hit.row for hit in told.answers[0].hits], way.index, way.outside


def test_an_index_is_one_commit_that_tells_its_verb_and_is_made_once(table: cd.Table) -> None:
    before = table.version
    made = cd.index(table, "vector", kind="IVF_RQ")
    again = cd.index(table, "vector")

    assert (made.did, made.kind, made.covered, made.outside) == ("made", "IVF_RQ", ROWS, 0)
    assert made.version == table.version == before + 1
    assert made.measured is not None
    assert made.measured.recall >= 0.95
    assert (again.did, again.version) == ("kept", made.version)
    last = cd.log(table)[-1]
    assert last.properties is not None
    assert last.properties.verb == "index"
    assert last.properties.parameters == {"column": "vector", "did": "made", "kind": "IVF_RQ"}
    assert last.properties.rows == {"rows": ROWS}


@pytest.mark.parametrize("kind", ["IVF_RQ", "IVF_SQ", "IVF_HNSW_SQ", "IVF_FLAT"])
def test_whatever_happens_to_the_table_a_search_by_its_index_finds_what_is_there(table: cd.Table, kind: str) -> None:
    cd.index(table, "vector", kind=kind, queries=0)
    assert found(table, "00007")[1:] == (kind, 0)

    put(table, ROWS, ROWS + 150)  # appended
    assert found(table, "01600") == (found(table, "01600", exact=True)[0], kind, 150)
    updated = cd.index(table, "vector", queries=0)
    assert (updated.did, updated.kind, updated.outside) == ("updated", kind, 0)
    assert found(table, "01600") == (found(table, "01600", exact=True)[0], kind, 0)

    nearest = found(table, "00007")[0][0]
    cd.open_table(table.uri).dataset.delete(f"path = '{nearest}'")
    assert nearest not in found(table, "00007")[0]

    put(table, 0, 200, seed=5)  # written anew, with other vectors
    assert found(table, "00007")[0] == found(table, "00007", exact=True)[0]
    cd.open_table(table.uri).dataset.optimize.compact_files()
    assert found(table, "00007")[0] == found(table, "00007", exact=True)[0]
    assert cd.index(table.uri, "vector", queries=0).outside == 0
    for name in ("00007", "00600", "01620"):
        assert found(table, name) == (found(table, name, exact=True)[0], kind, 0)


def test_verbs_that_keep_house_leave_an_index_right(table: cd.Table) -> None:
    cd.index(table, "vector", kind="IVF_SQ", queries=0)
    cd.index(table, "caption")
    indexed = table.version
    gone = found(table, "00007")[0][0]
    cd.delete(table, f"path = '{gone}'")
    cd.compact(table)
    assert found(table, "00007") == (found(table, "00007", exact=True)[0], "IVF_SQ", 0)
    assert gone not in found(table, "00007")[0]
    near = [hit.row for hit in cd.search(table, like="00007", column="vector", top=1200).answers[0].hits]
    cd.delete(table, f"path IN ({', '.join(map(repr, near))}) OR caption LIKE '%小猪%'")
    cd.compact(table)
    assert found(table, "00007") == (found(table, "00007", exact=True)[0], "IVF_SQ", 0)
    assert cd.search(table, words="小猪", words_column="caption").answers[0].hits == []
    version = cd.open_table(table.uri).version
    assert (cd.index(table.uri, "vector", queries=0).version, cd.index(table.uri, "caption").version) == (version,) * 2

    cd.drop(table, "vector", yes=True)
    assert [one.column for one in indices(cd.open_table(table.uri))] == ["caption"]
    cd.restore(table, indexed)
    back = found(table, "00007")
    assert back == (found(table, "00007", exact=True)[0], "IVF_SQ", 0)
    assert back[0][0] == gone
    assert len(cd.search(table, words="小猪", words_column="caption").answers[0].hits) == 10


def made_by(seed: int) -> object:
    @cd.step(reads="number", returns=pa.list_(pa.float32(), SIZE), version=str(seed))
    def embedded(number: int) -> list[float] | None:
        return None if number % 10 == 9 else np.random.default_rng([seed, number]).normal(size=SIZE).tolist()

    return embedded


def test_a_column_that_is_made_anew_or_filled_later_is_never_searched_by_its_old_index(table: cd.Table) -> None:
    cd.map_column(table, made_by(1), "e", limit=1000)
    cd.index(table, "e", kind="IVF_RQ", queries=0)
    cd.map_column(table, made_by(1), "e")  # what was null
    assert found(table, "01207", column="e")[0] == found(table, "01207", column="e", exact=True)[0]

    old = found(table, "00003", column="e")[0]
    cd.map_column(table, made_by(2), "e", overwrite=True)
    new = found(table, "00003", column="e")
    assert new[0] == found(table, "00003", column="e", exact=True)[0] != old

    cd.index(table, "e", kind="IVF_RQ", queries=0)
    assert found(table, "00003", column="e") == (new[0], "IVF_RQ", 0)
    assert cd.search(table, like="00003", column="e").ways[0].not_searched == {"empty": ROWS // 10}


def test_rows_outside_are_many_so_the_index_is_made_anew(table: cd.Table) -> None:
    cd.index(table, "vector", kind="IVF_SQ", queries=0)
    put(table, ROWS, 3 * ROWS)

    assert cd.index(table, "vector", dry_run=True).did == "made"
    assert cd.index(table, "vector", queries=0).did == "made"
    assert cd.index(table, "vector", kind="IVF_RQ", queries=0).did == "made"
    assert [one.kind for one in indices(table)] == ["IVF_RQ"]


def test_a_filter_holds_before_anything_is_searched(table: cd.Table, monkeypatch: pytest.MonkeyPatch) -> None:
    cd.index(table, "vector", kind="IVF_RQ", queries=0)
    monkeypatch.setattr("clipdata.similarity.nearby.EXACT_ROWS", 10)
    where = "number % 30 = 0 AND number > 0"

    by_index = found(table, "00007", where=where)
    assert by_index[1] == "IVF_RQ"
    assert by_index[0] == found(table, "00007", exact=True, where=where)[0]
    assert all(int(name) % 30 == 0 for name in by_index[0])
    by_index = found(table, "00007", distinct="caption")
    assert by_index[0] == found(table, "00007", exact=True, distinct="caption")[0]
    assert len({CHINESE[int(name) % 4] for name in [*by_index[0], "00007"]}) == 4


@pytest.mark.parametrize("column", ["caption", "captions"])
def test_texts_are_indexed_by_the_characters_that_they_hold(table: cd.Table, column: str) -> None:
    def rows_with(words: str, **given: object) -> tuple[set[str], int]:
        told = cd.search(table.uri, words=words, words_column=column, top=5000, **given)
        return {hit.row for hit in told.answers[0].hits}, told.ways[0].outside

    made = cd.index(table, column)
    assert (made.did, made.splits, made.measured, made.outside) == ("made", "ngram", None, 0)
    assert cd.log(table)[-1].properties.parameters["column"] == column
    pigs = {f"{n:05d}" for n in range(ROWS) if n % 4 == 1}
    for words in ("猪", "小猪", "足球", "佩奇"):
        assert rows_with(words) == rows_with(words, exact=True) == (pigs, 0)
    put(table, ROWS, ROWS + 8)
    assert rows_with("小猪") == (pigs | {"01501", "01505"}, 8)
    assert cd.index(table, column).did == "updated"
    cd.open_table(table.uri).dataset.delete("path = '01501'")
    assert rows_with("小猪") == (pigs | {"01505"}, 0)


def test_small_columns_need_no_index_and_a_check_writes_nothing(table: cd.Table) -> None:
    version = table.version
    assert cd.index(table, "vector").did == "none"
    assert cd.index(table, "vector", kind="IVF_RQ", dry_run=True).did == "made"
    with pytest.raises(NotFoundError, match="no index to measure"):
        cd.index(table, "vector", check=True)
    assert cd.open_table(table.uri).version == version

    cd.index(table, "vector", kind="IVF_RQ", queries=0)
    checked = cd.index(table, "vector", check=True)
    assert (checked.did, checked.version, checked.measured.queries) == ("kept", version + 1, 100)


def test_another_tools_index_for_another_metric_is_not_used_and_is_replaced_on_request(table: cd.Table) -> None:
    table.dataset.create_index("vector", "IVF_FLAT", name="theirs", metric="l2", num_partitions=2)

    told = cd.search(table.uri, like="00007", column="vector", top=5)
    assert told.ways[0].index is None
    assert told.ways[0].why == "its index IVF_FLAT answers for l2, not for cosine"
    with pytest.raises(UsageError, match="answers for l2"):
        cd.index(table, "vector")
    cd.index(table, "vector", remake=True)
    assert [(one.name, one.metric) for one in indices(table)] == [("theirs", "cosine")]


@pytest.mark.parametrize("number", ["f2", "f8"])
def test_other_floats_are_found_with_the_cosines_that_reading_every_row_gives(tmp_path: Path, number: str) -> None:
    import lance

    vector_ND = vectors(0, 600).astype(number)
    vector_ND[3], vector_ND[4] = 0, np.nan
    lance.write_dataset(pa.table({"My vector": of_vectors(vector_ND)}), str(tmp_path / "t.lance"))
    table = cd.open_table(tmp_path / "t.lance")
    made = cd.index(table, "My vector", kind="IVF_SQ")
    assert made.measured is not None
    assert made.measured.recall == 1.0

    by_index, exact = (cd.search(table, like="#7", column="My vector", top=700, exact=exact) for exact in (False, True))
    assert (by_index.ways[0].index, exact.ways[0].index) == ("IVF_SQ", None)
    assert exact.ways[0].not_searched == {"zero": 1, "not_finite": 1}
    assert [hit.row for hit in by_index.answers[0].hits] == [hit.row for hit in exact.answers[0].hits]
    assert len(exact.answers[0].hits) == 597
    for one, other in zip(by_index.answers[0].hits, exact.answers[0].hits, strict=True):
        assert one.cosine == pytest.approx(other.cosine, abs=1e-5)


@pytest.mark.parametrize(
    ("column", "given", "error", "said"),
    [
        ("gone", {}, SchemaError, "has no column 'gone'"),
        ("number", {}, SchemaError, "is int64; expected vectors"),
        ("lists", {}, SchemaError, "may differ in length"),
        ("vector", {"kind": "HNSW"}, UsageError, "there is no kind 'HNSW'"),
        ("caption", {"kind": "IVF_RQ"}, UsageError, "is of vectors"),
        ("vector", {"queries": -1}, UsageError, "at least 0"),
    ],
)
def test_what_cannot_be_indexed_is_refused(table: cd.Table, column, given, error, said) -> None:
    table.dataset.add_columns({"lists": "make_array(1.5, 2.5)"})
    with pytest.raises(error, match=said):
        cd.index(table.uri, column, **given)


def test_the_command_prints_json_that_its_schema_describes(table: cd.Table, capsys: pytest.CaptureFixture[str]) -> None:
    schema = schema_of("index", next(verb for verb in VERBS if verb.words == "index").found)
    for words in (
        ["vector"],
        ["vector", "--kind", "IVF_SQ"],
        ["caption"],
        ["vector", "--check"],
        ["vector", "--dry-run"],
    ):
        assert main(["index", table.uri, *words, "--json"]) == 0
        check_schema(json.loads(capsys.readouterr().out), schema)
    assert main(["show", table.uri]) == 0
    shown = capsys.readouterr().out
    assert "index: caption: Inverted (ngram), 1,500 rows" in shown
    assert "index: vector: IVF_SQ (cosine), 1,500 rows" in shown
    assert main(["index", str(Path(table.uri).parent / "gone.lance"), "vector"]) == 3
    assert main(["index", table.uri, "gone"]) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("vector", [None, [0.0] * SIZE, [float("nan")] * SIZE])
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_column_without_a_vector_to_find_is_refused_with_what_to_do(tmp_path: Path, vector, dry_run: bool) -> None:
    uri = str(tmp_path / "unfilled.lance")
    lance.write_dataset(pa.table({"vector": pa.array([vector] * 3, pa.list_(pa.float32(), SIZE))}), uri)

    with pytest.raises(UsageError, match=r"none of 3 rows .* has a vector in column 'vector'") as caught:
        cd.index(uri, "vector", kind="IVF_SQ", dry_run=dry_run)
    assert "clipdata map" in caught.value.hint
    assert cd.open_table(uri).version == 1
