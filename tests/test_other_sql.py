"""What people bring from other dialects and from Python is answered where it can be, and else told as it is said."""

from __future__ import annotations

import datetime

import lance
import pyarrow as pa
import pytest

import clipdata as cd
from clipdata.errors import UsageError


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> cd.Table:
    place = tmp_path_factory.mktemp("other_sql") / "t.lance"
    moments = [datetime.datetime(2026, 1, day) for day in (1, 2, 3)]
    columns = {
        "caption": ["  a dog ", "a cat", None],
        "score": [0.5, 1.5, None],
        "n": [1, 2, 3],
        "ok": [True, False, None],
        "at": pa.array(moments, pa.timestamp("us")),
        "match": [1, 2, 3],
        "it's": [1, 1, 1],
        "tags": [["a"], ["b"], []],
        "about": [{"tags": ["a"]}] * 3,
        "image": pa.array([b"a", b"b", b"c"], pa.large_binary()),
    }
    lance.write_dataset(pa.table(columns), place)
    return cd.open_table(place)


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        ("trim(caption) = 'a dog'", [0]),
        ("TRIM ( caption ) = 'a cat' OR floor(score) = 0", [0, 1]),
        ("ceil(score) = 2", [1]),
        ("substr(caption, 1, 1) = 'a' AND caption <> 'trim(caption)'", [1]),
        ("substring(caption, 3, 1) = 'c'", [1]),
        ("coalesce(n, null) = 1", [0]),
        ("caption <> '= null' AND n IS DISTINCT FROM null", [0, 1]),
    ],
)
def test_what_is_meant_is_answered(table: cd.Table, where: str, rows: list[int]) -> None:
    assert table.offsets(where).tolist() == rows


@pytest.mark.parametrize(
    ("where", "instead"),
    [
        ("caption = null", "COLUMN IS NULL"),
        ("score == None", "COLUMN IS NULL"),
        ("ok AND NULL = caption", "COLUMN IS NULL"),
        ("caption != null", "COLUMN IS NOT NULL"),
        ("score <> NULL", "COLUMN IS NOT NULL"),
    ],
)
def test_what_null_is_compared_with_is_true_of_no_row_and_refused(table: cd.Table, where: str, instead: str) -> None:
    with pytest.raises(UsageError, match="nothing equals null") as refused:
        table.count_rows(where)
    assert refused.value.hint == instead
    table.count_rows(instead.replace("COLUMN", "caption"))


@pytest.mark.parametrize(
    ("where", "hint"),
    [
        ("where n = 1", "leave out the word WHERE"),
        ("caption = ‘a’", "straight quotes"),
        ("n = 1;", "leave out the ;"),
        ("and n = 1", "begin with a column"),
        ("n = 1 and", "behind the last AND"),
        ("n = 1 limit 5", "a condition alone"),
        ("n = 1 && ok", "AND joins"),
        ("n = 1 || ok", "OR joins"),
        ("!ok", "NOT stands"),
        ("n => 1", "the signs are"),
        ("n <=> 1", "IS NOT DISTINCT FROM"),
        ("n = +1", "leave out the +"),
        ("1 < n < 3", "BETWEEN 1 AND 3"),
        ("case when n = 1 then ok else not ok end", "by AND and OR"),
        ("iif(n = 1, ok, true)", "by AND and OR"),
        ("extract(year from at) = 2026", "date_part('year', COLUMN)"),
        ("year(at) = 2026", "date_part('year', COLUMN)"),
        ("at > now() - interval '1 day'", "write the moment itself"),
        ("at at time zone 'UTC' > at", "in UTC"),
        ("ok is unknown", "COLUMN IS NULL"),
        ("ok is not unknown", "COLUMN IS NOT NULL"),
        ("isna(caption)", "COLUMN IS NULL"),
        ("caption is empty", "COLUMN = ''"),
        ("n is 1", "COLUMN = 1"),
        ("n in ()", "name the values"),
        ("n in [1, 2]", "round brackets"),
        ("n in (1, 2,)", "leave out the comma"),
        ("n = any([1])", "array_has"),
        ("(n, caption) = (1, 'a')", "one by one"),
        ("caption ~ 'a'", "regexp_like"),
        ("caption rlike 'a'", "regexp_like"),
        ("position('a' in caption) = 1", "strpos"),
        ("trim(both ' ' from caption) = 'a'", "btrim"),
        ("substring(caption from 1 for 2) = 'a'", "substr(COLUMN, 1, 5)"),
        ("n between symmetric 3 and 1", "the smaller AND the larger"),
        ("n div 2 = 1", "floor(COLUMN / 2)"),
        ("n mod 2 = 1", "COLUMN % 2"),
        ("n ** 2 = 4", "power(COLUMN, 2)"),
        ("caption.str.startswith('a')", "starts_with(COLUMN, 'a')"),
        ("len(caption) > 3", "length(COLUMN)"),
        ("len(tags) = 1", "cardinality(COLUMN)"),
        ("mod(n, 2) = 1", "COLUMN % 2"),
        ("ceiling(score) = 1", "ceil(COLUMN)"),
        ("sign(n) = 1", "signum(COLUMN)"),
        ("strlen(caption) = 1", "length(COLUMN)"),
        ("startswith(caption, 'a')", "starts_with(COLUMN, 'a')"),
        ("regexp_matches(caption, 'a')", "regexp_like"),
        ("charindex('a', caption) = 1", "strpos"),
        ("caption notnull", "COLUMN IS NOT NULL"),
        ("caption isnull", "COLUMN IS NULL"),
        ("'a' in tags", "array_has"),
        ("tags = []", "cardinality(COLUMN) = 0"),
        ("[caption] = 'a'", "`the name`"),
        ("(n > 1) & ok", "AND joins"),
        ("(n > 1) | ok", "OR says either"),
        ("+n = 1", "leave out the +"),
        ("caption !~ 'a'", "NOT regexp_like"),
        ("caption ~~ 'a%'", "COLUMN LIKE"),
        ("caption = 'a' collate nocase", "lower(COLUMN)"),
        ("caption like 'a!%' escape '!'", "makes them letters"),
        ("score = nan", "isnan(COLUMN)"),
        ("n > 1_000", "without a _"),
        ("n = 0x1f", "digits 0 to 9"),
    ],
)
def test_what_no_condition_can_hold_is_told_with_what_to_type_instead(table: cd.Table, where: str, hint: str) -> None:
    with pytest.raises(UsageError) as refused:
        table.count_rows(where)
    assert hint in str(refused.value.hint)
    assert "not understood" not in refused.value.message


@pytest.mark.parametrize(
    "where",
    [
        "date_part('year', at) = 2026",
        "at > timestamp '2026-01-01 12:00:00'",
        "array_has(tags, 'a')",
        "cardinality(tags) = 0",
        "regexp_like(caption, '^a.*b$')",
        "strpos(caption, 'a') = 0",
        "btrim(caption, 'a') = ''",
        "floor(n / 2) = 1",
        "power(n, 2) = 4",
        "starts_with(caption, 'a') OR ends_with(caption, 'a') OR contains(caption, 'a')",
        "length(caption) > 3",
        "caption LIKE '10\\%'",
        "NOT regexp_like(caption, '^a.*b$')",
        "signum(n) = 1",
        "ceil(score) = 1",
        "encode(image, 'hex') = '61'",
        "array_to_string(tags, ' ') = 'a b'",
        "isnan(score)",
        "n IS NOT DISTINCT FROM 1",
    ],
)
def test_what_is_told_can_be_asked(table: cd.Table, where: str) -> None:
    assert 0 <= table.count_rows(where) <= 3


@pytest.mark.parametrize(
    ("asked", "instead"),
    [
        ("length(tags) = 2", "cardinality(tags) = 1"),
        ("concat(caption, `tags`) <> ''", "array_to_string(tags, ' ') = 'a'"),
        ("caption || about.tags <> ''", "cardinality(about.tags) = 1"),
        ("reverse(image) = 'a'", "encode(image, 'hex') = '61'"),
    ],
)
def test_a_list_or_bytes_are_never_taken_for_a_text(table: cd.Table, asked: str, instead: str) -> None:
    for ask in (table.count_rows, lambda where: table.query(f"SELECT count(*) FROM dataset WHERE {where}")):
        with pytest.raises(UsageError, match=r"would take the (list|bytes)"):
            ask(asked)
        assert ask(instead) is not None
    own = table.query("SELECT max(length(tags)) AS most FROM (SELECT caption AS tags FROM dataset)")
    assert own["most"].to_pylist() == [8]
    with pytest.raises(UsageError, match=r"would take the list"):
        table.count_rows("`it's` = 1 AND length(tags) = 2 AND caption <> 'a'")
    assert table.count_rows("`it's` = 1 AND caption = 'a cat'") == 1
    assert table.count_rows("length(caption) > 2 AND caption || caption <> 'length(tags)'") == 2


def test_a_prefix_of_a_text_is_refused_where_lance_would_end_inside(table: cd.Table) -> None:
    for prefix in ("N", "b", "E", "U&"):
        with pytest.raises(UsageError, match=f"{prefix} stands before a text"):
            table.count_rows(f"caption = {prefix}'a'")
    assert table.count_rows("caption='a cat' AND at>timestamp'2026-01-01 00:00:00'") == 1


def test_a_column_that_is_called_like_an_operator_is_none(table: cd.Table) -> None:
    with pytest.raises(UsageError) as refused:
        table.count_rows("match > 'x'")
    assert refused.value.hint == "a number is written without quotes: 5"
