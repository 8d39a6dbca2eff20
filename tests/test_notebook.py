"""Notebook: small tables of HTML in which nothing of the data becomes HTML."""

from __future__ import annotations

import json
from pathlib import Path

import clipdata as cd
from clipdata.notebook import html_facts, html_table


def test_rows_are_a_table_with_everything_escaped_and_cut() -> None:
    rows = [{"<a>": "<script>", "b": b"123", "c": 0.123456789}, {"<a>": "x" * 500, "b": None, "c": "a\x1b[31m"}]

    shown = html_table(rows, title="t & u")

    assert shown.startswith("<div><b>t &amp; u</b></div><table>")
    assert "&lt;script&gt;" in shown
    assert "&lt;3 bytes&gt;" in shown
    assert "0.123457" in shown
    assert len(shown) < 1000
    for raw in ("<script", "<a>", "\x1b"):
        assert raw not in shown


def test_no_rows_are_no_table() -> None:
    assert html_table([]) == ""
    assert html_table([], title="none") == "<div><b>none</b></div>"
    assert html_table([], names=["a"]).count("<th") == 2  # thead and th


def test_facts_are_a_line_each() -> None:
    assert html_facts({"state": "finished", "rows": 3}).count("<tr>") == 3


def test_a_run_shows_what_it_is_and_its_epochs(tmp_path: Path) -> None:
    table = {"uri": "/data/<b>.lance", "version": 3, "num_rows": 1200, "where": "split = 'train'"}
    record = {"encoder": {"name": "tiny", "identity": "0" * 64}, "table": table, "config": {}}
    (tmp_path / "config.json").write_text(json.dumps(record))
    epoch = {"kind": "epoch", "epoch": 1, "loss": 0.5}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(epoch) + "\n")

    shown = cd.open_run(tmp_path)._repr_html_()

    for words in ("not finished", "tiny", "1,200 of /data/&lt;b&gt;.lance, version 3", "0.5"):
        assert words in shown
