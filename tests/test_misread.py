"""What is wrong with a condition or a SELECT is said of what was typed, and never in words of the engine."""

from __future__ import annotations

import re
from pathlib import Path

import lance
import pyarrow as pa
import pytest

import clipdata as cd
from clipdata.errors import UsageError
from pipelines.cli.app import main
from tests.tables import number_table

ENGINES = re.compile(
    r"FROM t\b|_row|sql parser|Schema error|Valid fields|Utf8|Int64|Float32|Invalid user input|planning|EOF|[{}]"
    r"|Lance|Boolean|DISTINCT|not understood|coerc|andidate|Arrow"
)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> cd.Table:
    place = tmp_path_factory.mktemp("misread") / "t.lance"
    columns = {
        "split": ["test", "train"],
        "score": pa.array([0.1, 0.9], pa.float32()),
        "Größe": [1, 2],
        "image": pa.array([b"a", b"b"], pa.large_binary()),
        "embedding": pa.array([[0.0, 1.0]] * 2, pa.list_(pa.float32(), 2)),
        "n": [1, 2],
        "ok": [True, False],
        "about": [{"votes": 1}] * 2,
        "day": pa.array([20_000, 20_001], pa.date32()),
    }
    lance.write_dataset(pa.table(columns), place)
    return cd.open_table(place)


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("score >", "a column or a value is missing at its end"),
        ("score BETWEEN 1", "AND is missing"),
        (
            "score",
            "it is a value, and not true or false of a row\n  try: compare it with something: score > 0.5, "
            "score = 'test', or score IS NOT NULL",
        ),
        ("n", "it is a value, and not true or false of a row"),
        ("score + 1", "it is a value, and not true or false of a row\n  try: compare it with something: … > 0.5"),
        (
            "scor > 3",
            "there is no column scor; there are: split, score, `Größe`, image, embedding, n, ok, about, day\n"
            "  try: perhaps score",
        ),
        ("ok AND split", "a text stands beside AND, where true or false of a row is expected\n  try: compare each"),
        ("n OR ok", "a number stands beside OR, where true or false of a row is expected"),
        ("embedding AND about", "a list and a struct stands beside AND"),
        ("NOT n", "a number stands beside NOT or IS TRUE, where true or false of a row is expected"),
        ("split IS NOT FALSE", "a text stands beside NOT or IS TRUE, where true or false of a row is expected"),
        ("-ok", "a - stands before something that is no number"),
        ("n / 0 > 1", "it divides by 0"),
        (
            "split > n",
            "the text 'test' is compared with or made a number, and is none\n  try: try_cast(COLUMN as double)",
        ),
        ("cast(split as int) > 1", "the text 'test' is compared with or made a number"),
        ("day > date 'x'", "the text 'x' is compared with or made a date, and is none\n  try: a date is written date"),
        ("about.nope > 1", "there is no field nope in the column before the point"),
        ("score BETWEEN ok AND 1", "a number and true or false stand on two sides of BETWEEN"),
        ("abs(split) > 1", "abs() is asked of a text, which it does not take"),
        ("lower(n) = 'a'", "lower() is asked of a number, which it does not take"),
        ("split IN (1, 2)", "1 stands beside a column of another kind, which holds a text"),
        ("n > 9999999999999999999999", "is none of the column beside it, which holds whole numbers of a range"),
        ("n = 3.0", "3.0 is none of the column beside it, which holds whole numbers of a range"),
        ("n > 2.5", "2.5 is none of the column beside it, which holds whole numbers of a range\n  try: cast(COLUMN"),
        ("WHERE n > 1", "leave out the word WHERE"),
        ("split = 'a' OR " * 40 + "score > 'x'", "'x' stands beside a column of another kind, which holds a number"),
        ("split = test", "there is no column test"),
        ("score > 'x'", "'x' stands beside a column of another kind, which holds a number"),
        ("embedding > 3", "3 stands beside a column of another kind, which holds a list"),
        ("image = 'x'", "which holds bytes"),
        ("score + 'a' > 3", "a number and a text stand on two sides of +"),
        ("split LIKE 3", "a text and a number stand on two sides of LIKE"),
        ("split = 'test", "a text begins with ' and does not end"),
        ('split = "test', 'a name or text begins with " and does not end'),
        ('sp"lit = 3', 'a name or text begins with " and does not end'),
        ("split = `test", "a name begins with ` and does not end"),
        ("split = 'a\"' OR\nsplit = 'b", "a text begins with ' and does not end"),
        ("foo(score) > 1", "there is no function foo()"),
        ("lower(split, 3) = 'x'", "lower() is given 2 values; expected 1"),
        ("cast(score as foo) > 1", "there is no type foo"),
        ("cast(n as varchar) = '3'", "there is no type Varchar\n  try: "),
        ("count(*) > 3", "a figure of many rows"),
        ("split IN (SELECT split FROM dataset)", "it holds split IN (SELECT split FROM dataset), which cannot"),
        ("regexp_like(split, '(')", "no regular expression: unclosed group"),
        ("split.name = 'x'", "a field is asked of a column that holds a text"),
        ("score > $1", "$1 stands for a value that nothing gives"),
        ("score > 0,5", "a comma stands in a number"),
        ("@", "there is no column @"),
    ],
)
def test_a_condition_that_is_not_understood_is_told_in_words_about_itself(
    table: cd.Table, where: str, words: str
) -> None:
    for ask in (table.count_rows, table.offsets, lambda asked: table.to_table(where=asked)):
        with pytest.raises(UsageError) as refused:
            ask(where)
        told = f"{refused.value.message}\n  try: {refused.value.hint}"
        assert words in told
        assert "where is " in told
        assert not ENGINES.search(told.replace(where, ""))


@pytest.mark.parametrize("more", ["split = 'test'", "ORDER BY score", "b c", "; DROP TABLE dataset"])
def test_what_stands_behind_a_whole_condition_is_refused_and_not_passed_over(table: cd.Table, more: str) -> None:
    with pytest.raises(UsageError, match="stands where AND, OR or the end is expected"):
        table.count_rows(f"score > 0.5 {more}")


@pytest.mark.parametrize("where", ["score > 0.5 -- of all", "score > 0.5 /* half */", "score--1 > 0"])
def test_a_comment_is_refused_by_every_verb(table: cd.Table, where: str) -> None:
    for ask in (table.count_rows, table.offsets, lambda asked: cd.delete(table, asked, dry_run=True)):
        with pytest.raises(UsageError, match="begins a comment"):
            ask(where)
    assert table.count_rows("split <> '-- no comment /*' AND score - (-1) > 0") == 2


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("@many AND", "a column or a value is missing at its end"),
        ("@few,@many", "it holds (@few, @many), which cannot"),
        ("@many@few", "@few stands where AND, OR or the end is expected"),
        ("@few)", "its brackets do not match: a ) closes what no ( opened"),
        ("(@few", "its brackets do not match: a ( is not closed"),
        ("@few + 1 > 2", "true or false and a number stand on two sides of +"),
    ],
)
def test_a_name_of_rows_stands_in_the_error_and_not_the_keys_that_it_means(
    tmp_path: Path, where: str, words: str
) -> None:
    table = number_table(tmp_path, 30)
    cd.select(table, "few", where="number < 3")
    cd.select(table, "many", where="number < 20")
    for ask in (table.latest().count_rows, table.latest().offsets):
        with pytest.raises(UsageError) as refused:
            ask(where)
        told = f"{refused.value.message} {refused.value.hint}"
        assert words in told
        assert repr(where) in told
        assert not re.search(r"row_key|1 = |IN \(", told)


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT nope FROM dataset", "there is no column nope; there are: split"),
        ("SELECT split FROM dataset WHERE score >", "is missing at its end"),
        ("SELECT split FROM others", "there is no table others; there is one, called dataset"),
        ("SELECT split, count(*) FROM dataset", "not in GROUP BY"),
        ("SELECT split FROM dataset WHERE (n > 1))", "a bracket closes that none opened"),
        ("SELECT split FROM dataset WHERE ((n > 1)", "a bracket is not closed"),
        ("SELECT split FROM dataset WHERE ok AND split", "a text stands beside AND, where true or false"),
        ("SELECT split FROM dataset WHERE n", "its condition n is a value, and not true or false of a row"),
        ("SELECT split FROM dataset WHERE score + 1", "its condition score + 1 is a value, and not true or false"),
        ("SELECT split FROM dataset WHERE score BETWEEN ok AND 1", "stand on two sides of BETWEEN"),
        ("SELECT split FROM dataset WHERE ok IN (1)", "true or false stands before IN, and a number in its list"),
        ("SELECT split FROM dataset WHERE max(n) > 1", "a figure of many rows"),
        ("SELECT cast(split as int) FROM dataset", "the text 'test' is compared with or made a number"),
    ],
)
def test_a_statement_that_is_not_understood_is_told_in_words_about_itself(
    table: cd.Table, sql: str, words: str
) -> None:
    with pytest.raises(UsageError) as refused:
        table.query(sql)
    assert words in refused.value.message
    assert not ENGINES.search(f"{refused.value.message} {refused.value.hint}")


def test_every_verb_that_takes_a_condition_tells_what_is_wrong_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = number_table(tmp_path, 30)
    uri, out, step = table.uri, str(tmp_path / "out"), tmp_path / "own.py"
    step.write_text(
        "import clipdata as cd\n\n\n@cd.step(reads='text', returns='int64')\ndef long_text(text: str) -> int:\n"
        "    return len(text)\n"
    )
    verbs = {
        "stats": ["stats", uri],
        "map": ["map", uri, f"{step}:long_text", "length"],
        "delete": ["delete", uri, "--dry-run"],
        "select": ["select", uri, "some"],
        "export": ["export", uri, "--out", out, "--format", "csv"],
        "diff": ["diff", uri],
        "ingest": ["ingest", "lance", uri, "--into", out],
    }
    told_of = {"number + 1": "it is a value, and not true or false of a row", "text > number": "the text 'text "}
    for name, arguments in verbs.items():
        for where, words in told_of.items():
            assert main([*arguments, "--where", where]) == 2, name
            told = capsys.readouterr().err
            assert words in told, (name, told)
            assert not ENGINES.search(told.replace(where, "").replace("t.lance", "")), (name, told)


def test_a_statement_with_names_of_rows_is_told_of_itself_and_not_of_their_keys(tmp_path: Path) -> None:
    table = number_table(tmp_path, 30)
    cd.select(table, "few", where="number < 3")
    for condition, words in (
        ("@few)", "a bracket closes that none opened"),
        ("@few AND number", "a number stands beside AND"),
        ("@few + 1 > 2", "true or false and a number stand on two sides of +"),
        ("@few AND", "a column or a value is missing"),
    ):
        with pytest.raises(UsageError) as refused:
            table.latest().query(f"SELECT number FROM dataset WHERE {condition}")
        told = f"{refused.value.message} {refused.value.hint}"
        assert words in told
        assert not re.search(r"00000|IN \(", told)
