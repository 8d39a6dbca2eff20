"""Rows with a name: every condition can say it, and it goes on meaning them whatever is done to the table."""

from __future__ import annotations

import json
from pathlib import Path

import lance
import pyarrow as pa
import pytest

import clipdata as cd
from clipdata.errors import NotFoundError, SchemaError, UsageError
from clipdata.lance_io import rows
from clipdata.stream import Stream
from pipelines.cli.app import VERBS, main
from pipelines.cli.json_output import schema_of
from tests.json_schemas import check_schema
from tests.tables import append_numbers, number_table


@pytest.fixture
def table(tmp_path: Path) -> cd.Table:
    made = number_table(tmp_path, 8, rows_per_write=4)
    cd.select(made, "odd", where="number % 2 = 1")
    return made


def numbers(table: cd.Table, where: str) -> list[int]:
    return table.to_table(["number"], where=where).column(0).to_pylist()


def test_every_condition_can_say_a_name(table: cd.Table) -> None:
    assert numbers(table, "@odd") == [1, 3, 5, 7]
    assert numbers(table, "NOT @odd AND (number > 2 OR @odd)") == [4, 6]
    assert table.count_rows("@odd AND number < 4") == 2
    assert table.offsets("@odd").tolist() == [1, 3, 5, 7]
    assert table.query("SELECT count(*) AS n FROM dataset WHERE @odd").to_pylist() == [{"n": 4}]
    assert cd.stats(table, where="@odd").num_rows == 4
    assert len(list(Stream(table, ["number"], batch_size=1, where="@odd", shuffle=False))) == 4


def test_a_name_in_a_text_or_a_quoted_column_is_none(table: cd.Table) -> None:
    assert numbers(table, "text = '@odd'") == []
    assert numbers(table, "text <> 'a @nobody' AND number = 1") == [1]


def test_a_map_fills_the_rows_of_a_name_alone(table: cd.Table) -> None:
    @cd.step(reads="number", returns=pa.int64(), version="1")
    def twice(number: int) -> int:
        return 2 * number

    cd.map_column(table, twice, "twice", where="@odd")

    assert table.to_table(["twice"]).column(0).to_pylist() == [None, 2, None, 6, None, 10, None, 14]
    assert cd.log(table)[-1].properties.parameters["where"] == "@odd"


def test_a_name_means_the_same_rows_after_upserts_compaction_and_deletes(table: cd.Table) -> None:
    append_numbers(table, 8, 12)
    changed = pa.table({"path": ["000001"], "number": [100], "text": ["changed"]})
    rows.upsert(table.latest(), changed, changed="text")
    cd.delete(table.uri, "number = 3")
    cd.compact(table.uri)

    assert sorted(numbers(table.latest(), "@odd")) == [5, 7, 100]
    cd.delete(table.uri, "@odd")
    assert sorted(numbers(table.latest(), "number >= 0")) == [0, 2, 4, 6, 8, 9, 10, 11]


def test_a_name_belongs_to_versions_and_older_ones_take_it_from_the_newest(table: cd.Table) -> None:
    before = cd.open_table(table.uri, version=table.version - 1)
    assert numbers(before, "@odd") == [1, 3, 5, 7]
    version = table.version
    cd.select(table, "odd", where="number = 5", overwrite=True)
    assert numbers(table, "@odd") == [5]
    assert numbers(cd.open_table(table.uri, version=version), "@odd") == [1, 3, 5, 7]
    cd.restore(table.uri, version)
    assert numbers(table.latest(), "@odd") == [1, 3, 5, 7]


def test_rows_are_chosen_by_their_positions_too_and_by_other_names(table: cd.Table) -> None:
    done = cd.select(table, "some", offsets=[6, 0, 6], chosen_by="two of them")
    assert (done.done, done.num_rows) == ("made", 2)
    assert numbers(table, "@some") == [0, 6]
    assert cd.select(table, "both", where="@odd OR @some").num_rows == 6
    listed = cd.select(table)
    assert [(one.name, one.num_rows, one.chosen_by) for one in listed.selections] == [
        ("both", 6, "@odd OR @some"),
        ("odd", 4, "number % 2 = 1"),
        ("some", 2, "two of them"),
    ]
    assert "@some: 2 rows" in str(listed)


def test_the_same_rows_again_write_nothing_and_others_are_refused(table: cd.Table) -> None:
    version = table.version
    assert cd.select(table, "odd", where="number IN (1, 3, 5, 7)").done == "kept"
    with pytest.raises(UsageError, match=r"@odd .* means 4 other rows already"):
        cd.select(table, "odd", where="number = 1")
    assert table.latest().version == version
    assert cd.select(table, "odd", where="number = 1", overwrite=True).done == "changed"
    assert cd.select(table, "odd", delete=True).selections == ()
    assert [entry.properties.verb for entry in cd.log(table) if entry.properties] == ["select"] * 3


def test_an_unknown_name_is_told_with_those_there_are(table: cd.Table) -> None:
    cd.select(table, "first", where="number = 0")
    for ask in (
        lambda: table.count_rows("@blurry"),
        lambda: table.to_table(where="number > 1 AND @blurry"),
        lambda: table.query("SELECT * FROM dataset WHERE @blurry"),
        lambda: cd.delete(table, "@blurry"),
        lambda: cd.search(table, words="text", words_column="text", where="@blurry"),
    ):
        with pytest.raises(NotFoundError, match="no selection @blurry; there are: @first, @odd"):
            ask()
    with pytest.raises(NotFoundError, match="there are: @first, @odd"):
        cd.select(table, "blurry", delete=True)


@pytest.mark.parametrize("name", ["1st", "a b", "", "x'y", "a.b", "n" * 101, None, 3])
def test_a_name_that_no_condition_could_say_is_refused(table: cd.Table, name: object) -> None:
    with pytest.raises(UsageError):
        cd.select(table, name, where="number = 1")  # type: ignore[arg-type]


def test_no_row_is_no_selection(table: cd.Table) -> None:
    with pytest.raises(UsageError, match="no row is chosen"):
        cd.select(table, "none", where="number > 100")
    with pytest.raises(UsageError, match="a name with a condition or with positions"):
        cd.select(table, "none")


def test_a_table_of_another_tool_remembers_rows_by_what_tells_them_apart(tmp_path: Path) -> None:
    made = pa.table({"filename": ["a", "a", "c'd"], "id": [7, 8, 9], "x": [0.1, 0.2, 0.3]})
    lance.write_dataset(made, tmp_path / "foreign.lance")
    lance.write_dataset(made.drop_columns(["id"]), tmp_path / "keyless.lance")

    assert cd.select(tmp_path / "foreign.lance", "high", where="x > 0.15").selections[0].column == "id"
    assert cd.open_table(tmp_path / "foreign.lance").offsets("@high").tolist() == [1, 2]
    with pytest.raises(SchemaError, match="none of filename"):
        cd.select(tmp_path / "keyless.lance", "high", where="x > 0.15")


def test_texts_with_quotes_are_keys_too(tmp_path: Path) -> None:
    names = ["it's", 'say "x"', "back`tick", "纸 @odd"]
    lance.write_dataset(pa.table({"filename": names, "n": [0, 1, 2, 3]}), tmp_path / "quoted.lance")
    for place, _ in enumerate(names):
        cd.select(tmp_path / "quoted.lance", f"row-{place}", where=f"n = {place}")
        assert cd.open_table(tmp_path / "quoted.lance").offsets(f"@row-{place}").tolist() == [place]


def test_on_the_command_line_a_name_is_made_used_listed_and_removed(
    table: cd.Table, capsys: pytest.CaptureFixture[str]
) -> None:
    found_of = {verb.words: verb.found for verb in VERBS}

    def run(*words: str) -> dict[str, object]:
        assert main([*words, "--json"]) == 0
        found: dict[str, object] = json.loads(capsys.readouterr().out)
        check_schema(found, schema_of(words[0], found_of[words[0]]))
        return found

    assert run("select", table.uri, "low", "--where", "number < 3")["num_rows"] == 3
    assert run("stats", table.uri, "--where", "@low AND @odd")["num_rows"] == 1
    assert [one["name"] for one in run("select", table.uri, "--list")["selections"]] == ["low", "odd"]  # type: ignore[attr-defined]
    assert run("select", table.uri, "--delete", "low")["done"] == "deleted"
    assert main(["stats", table.uri, "--where", "@low"]) == 3
    assert "there are: @odd" in capsys.readouterr().err
