"""Printable: what of a text may reach a terminal as it is."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import lance
import pyarrow as pa
import pytest

import clipdata as cd
from clipdata.errors import ConfigError, ImageRefused, NotFoundError
from clipdata.notebook import html_table
from clipdata.printable import printable, shell_word, storable
from pipelines.cli.app import main
from tests.tables import number_table

TITLE = "\x1b]0;owned\x07\x9b31m\u202e"


@pytest.mark.parametrize(
    ("letters", "shown"),
    [
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("a\rb\nc\td", r"a\rb\nc\td"),
        ("\x00\x7f\x85", r"\x00\x7f\x85"),
        ("\u202eexe.jpg\u202c", r"\u202eexe.jpg\u202c"),
        ("\u2066x\u2069", r"\u2066x\u2069"),
        ("one\u2028two\u2029", r"one\u2028two\u2029"),
        ("caf\udce9.jpg", r"caf\xe9.jpg"),
        ("half \ud83d", r"half \ud83d"),
    ],
)
def test_what_gives_orders_is_spelled_out(letters: str, shown: str) -> None:
    assert printable(letters) == shown


@pytest.mark.parametrize(
    "text",
    [
        "漫画の猫",
        "e\u0301té",
        "👩\u200d👩\u200d👧",
        "قِطّة",
        "می\u200cخواهم",
        "🏴\U000e0067\U000e0062\U000e007f",
        "a\\x1b b",
    ],
)
def test_letters_of_every_language_stay(text: str) -> None:
    assert printable(text) == text


def test_what_is_kept_stays() -> None:
    assert printable("a\n\tb\x1b", keep="\n\t") == "a\n\tb\\x1b"


@pytest.mark.parametrize(
    "error",
    [
        NotFoundError(f"no {TITLE}\nhere", hint=f"ls {TITLE}"),
        ConfigError([f"there is no field {TITLE}"]),
        ImageRefused("corrupt", TITLE),
    ],
)
def test_an_error_gives_no_orders_whatever_it_quotes(error: cd.ClipdataError) -> None:
    for text in (str(error), error.message, error.hint or "", *map(str, error.args)):
        assert text == printable(text, keep="\n")
    assert r"\x1b]0;owned\x07\x9b31m\u202e" in str(error)


def test_no_view_of_a_table_a_column_or_a_comparison_gives_orders(tmp_path: Path) -> None:
    rows = {"path": list("abcdefgh"), "caption": [TITLE] * 8, "before": [0.5] * 8, "after": [n / 8 for n in range(8)]}
    lance.write_dataset(pa.table({**rows, f"odd {TITLE}": [1] * 8}), tmp_path / "t.lance")
    table = cd.open_table(tmp_path / "t.lance")
    compared = cd.compare(table, "before", "after", by="caption")
    mapped = cd.Mapped(TITLE, 1, {TITLE: 1}, 0, 1, 2, 0.5, {TITLE: TITLE})
    lineage = cd.Lineage(step=TITLE, step_version="1", parameters={"by": TITLE}, inputs=(TITLE,))

    for view in (table, compared, mapped, mapped.__class__("c", 0, {}, 1, 0, 1, 0.0), lineage.describe()):
        assert str(view) == printable(str(view), keep="\n")
    for html in (table._repr_html_(), mapped._repr_html_(), html_table([{TITLE: TITLE}], title=TITLE)):
        assert html == printable(html, keep="\n")
    assert r"\x1b]0;owned" in str(compared)


def test_a_cell_of_a_notebook_keeps_its_letters() -> None:
    assert "👩\u200d👧 می\u200cخواهم" in html_table([{"caption": "👩\u200d👧 می\u200cخواهم"}])


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "a b's",
        "bad\udcff.lance",
        "\udcffabc",
        "n\x1b[31m'x'",
        "a\nb\tc",
        "\x85\x9b",
        "\u202egpj.exe",
        "back\\slash\x01",
        "图\x07",
    ],
)
def test_a_word_of_a_hint_is_printable_and_what_a_shell_makes_of_it_is_the_text(text: str) -> None:
    word = shell_word(text)

    assert printable(word) == word
    made = subprocess.run(
        ["bash", "-c", f"printf %s {word}"], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}
    )
    assert made.stdout == os.fsencode(text)


def test_a_byte_that_is_no_utf8_is_spelled_as_that_byte_quoted_or_not() -> None:
    name = os.fsdecode(b"caf\xe9")
    error = NotFoundError(f"there is no {name}, {name!r}, {[name]!r}")

    assert error.message == r"there is no caf\xe9, 'caf\xe9', ['caf\xe9']"
    assert NotFoundError(f"{chr(92) + 'udce9'!r}").message == r"'\\udce9'"
    assert storable(f"{name}\x1b猫") == "caf\\xe9\x1b猫"


def test_what_is_typed_in_no_utf8_is_told_one_way_by_every_verb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    number_table(tmp_path, 3)
    bad = os.fsdecode(b"bad\xff")
    lines = [
        ["show", bad], ["log", bad], ["merge", "t.lance", bad, "--into", "x.lance"], ["restore", "t.lance", bad],
        ["drop", "t.lance", bad], ["query", "t.lance", f"SELECT {bad}"], ["tag", "t.lance", bad],
        ["ingest", "parquet", bad, "--into", "x.lance"], ["stats", "t.lance", "--where", f"text = '{bad}'"],
    ]  # fmt: skip
    for line in lines:
        assert main(line) in (2, 3)
        err = capsys.readouterr().err
        assert r"bad\xff" in err, (line, err)
        assert "udcff" not in err, (line, err)
        assert "control character" not in err
