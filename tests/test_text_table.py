"""Rows as text within a width."""

from __future__ import annotations

from rich.cells import cell_len

from pipelines.cli.text_table import Layout, lay_out

WIDE = [["a.jpg", "a caption " * 20, "3"], ["图" * 30, "short", "12"]]
HEADER = ["path", "caption", "rows"]


def test_columns_are_aligned_and_nothing_stands_at_the_end_of_a_line() -> None:
    assert lay_out([["a", "1"], ["long", "22"]], ["name", "n"], Layout()) == "name  n\na     1\nlong  22"


def test_wide_rows_fit_and_only_long_cells_are_cut() -> None:
    lines = lay_out(WIDE, HEADER, Layout(width=50)).splitlines()

    assert all(cell_len(line) <= 50 for line in lines)
    assert lines[1].startswith("a.jpg")
    assert "…" in lines[1]
    assert lines[1].rstrip().endswith("3")
    assert "…" in lines[2]


def test_full_cuts_nothing() -> None:
    text = lay_out(WIDE, HEADER, Layout(width=50, full=True))

    assert "…" not in text
    assert WIDE[0][1].strip() in text
    assert "图" * 30 in text


def test_more_columns_than_fit_become_a_line_each() -> None:
    names = [f"column_{number}" for number in range(20)]
    row = [f"value {number} " * 20 for number in range(20)]

    text = lay_out([row, row], names, Layout(width=60))

    assert len(text.splitlines()) == 41
    assert all(cell_len(line) <= 60 for line in text.splitlines())
    assert lay_out([row], names, Layout(width=60, vertical=True, full=True)).count("value 19") == 20


def test_a_cell_is_one_line_whatever_it_holds() -> None:
    assert lay_out([["a\nb\x1b[31m"]], ["c"], Layout()) == "c\na\\nb\\x1b[31m"
