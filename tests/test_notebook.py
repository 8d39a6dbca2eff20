"""Notebook: small tables of HTML in which nothing of the data becomes HTML."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import lance
import pyarrow as pa

import clipdata as cd
from clipdata.notebook import html_facts, html_table
from tests.contests import SCHEMA, contest_rows
from tests.viewing import viewed_rows, viewed_table


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
    record = {"encoder": {"name": "tiny", "identity": "0" * 64}, "table": table, "config": {"objective": {}}}
    (tmp_path / "config.json").write_text(json.dumps(record))
    epoch = {"kind": "epoch", "epoch": 1, "step": 10, "loss": 0.5}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(epoch) + "\n")

    shown = cd.open_run(tmp_path)._repr_html_()

    for words in ("not finished", "tiny", "1,200 of /data/&lt;b&gt;.lance, version 3", "0.5"):
        assert words in shown


def test_a_table_shows_small_pictures_and_why_there_is_none(tmp_path: Path) -> None:
    rows = contest_rows(3).to_pylist()
    rows[1]["image"] = b"no picture"
    rows[2]["image"] = None
    lance.write_dataset(pa.Table.from_pylist(rows, SCHEMA), tmp_path / "t.lance")

    shown = cd.open_table(tmp_path / "t.lance")._repr_html_()

    assert shown.count("data:image/webp;base64,") == 1
    assert "not_an_image" in shown


def test_a_comparison_draws_its_intervals(tmp_path: Path) -> None:
    rows = pa.table({"path": list("abcdefgh"), "before": [0.1] * 8, "after": [0.1 + 0.01 * n for n in range(8)]})
    lance.write_dataset(rows, tmp_path / "t.lance")

    shown = cd.compare(tmp_path / "t.lance", "before", "after")._repr_html_()

    assert shown.count('<svg preserveAspectRatio="none" class="interval"') == 1
    assert "svg.interval" in shown


def test_a_comparison_shows_the_pictures_of_its_rows_with_a_key_and_without(tmp_path):
    keyed = viewed_table(tmp_path)
    lance.write_dataset(viewed_rows(20).drop_columns(["path"]).replace_schema_metadata(None), tmp_path / "plain.lance")

    for place in (keyed.uri, tmp_path / "plain.lance"):
        found = cd.compare(place, "score", "score_tuned")
        html = found._repr_html_()
        assert html.count('<img src="data:image') == len(found.worst) + len(found.best) > 0
    shutil.rmtree(tmp_path / "plain.lance")
    assert "<img" not in found._repr_html_()
    assert "gained most" in found._repr_html_()
