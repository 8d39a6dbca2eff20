"""`export` and `query --out` on the command line: what they print, refuse and leave behind."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import ingest
from pipelines.cli.app import main
from pipelines.cli.commands.export import export
from pipelines.cli.commands.query import query
from pipelines.cli.json_output import schema_of
from tests.json_schemas import check_schema
from tests.pictures import write_pictures
from tests.tables import number_table


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict]:
    code = main([*map(str, words), "--json"])
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    return code, json.loads(shown.out)


def test_it_writes_what_the_suffix_says_and_reports_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pictures(tmp_path / "in", 4)
    ingest.from_images(tmp_path / "in", into=tmp_path / "t.lance", reference=True)
    out = tmp_path / "t.parquet"
    told = run(capsys, "export", tmp_path / "t.lance", "--out", out, "--dry-run")
    assert (told[0], told[1]["dry_run"], told[1]["num_rows"], out.exists()) == (0, True, 4, False)
    code, found = run(capsys, "export", tmp_path / "t.lance", "--out", out, "--columns", "path,image", "--limit", 3)
    check_schema(found, schema_of("export", export.found))
    assert (code, found["format"], found["num_rows"], found["columns"]) == (0, "parquet", 3, ["path", "image"])
    assert pq.read_table(out).num_rows == 3

    (tmp_path / "in" / "0001.jpg").unlink()
    folder = ["export", tmp_path / "t.lance", "--format", "folder", "--out"]
    code, found = run(capsys, *folder, tmp_path / "out", "--max-rejects", 0)
    assert (code, found["refused"], found["error"]["code"]) == (6, {"missing": 1}, 6)
    code, found = run(capsys, *folder, tmp_path / "none", "--where", "filename = '0001.jpg'")
    assert (code, found["num_rows"], (tmp_path / "none").exists()) == (6, 0, False)

    assert main(["export", str(tmp_path / "t.lance"), "--out", str(tmp_path / "x.jsonl")]) == 0
    assert "4 rows as jsonl" in capsys.readouterr().out


def test_the_answer_to_a_query_goes_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = number_table(tmp_path, 5).uri
    code, found = run(capsys, "query", table, "SELECT number FROM dataset", "--out", tmp_path / "a.csv", "--limit", 2)
    check_schema(found, schema_of("query", query.found))
    assert (code, found["rows"], found["written"]["num_rows"]) == (0, [], 2)
    assert (tmp_path / "a.csv").read_text() == '"number"\n0\n1\n'


def test_an_answer_says_that_pictures_kept_elsewhere_are_not_in_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pictures(tmp_path / "in", 2)
    images = ingest.from_images(tmp_path / "in", into=tmp_path / "images.lance").table
    pq.write_table(images.to_table(["filename"]), tmp_path / "meta.parquet")
    meta = ingest.from_parquet(tmp_path / "meta.parquet", into=tmp_path / "meta.lance").table
    both = ingest.merge(images, meta, on="filename", into=tmp_path / "both.lance")

    for what in ("SELECT filename, image FROM dataset", "SELECT * FROM dataset"):
        code = main(["query", both.uri, what, "--out", str(tmp_path / "a.parquet"), "--overwrite"])
        assert (code, "'image' is null in a query" in capsys.readouterr().err) == (0, True)

    code, found = run(capsys, "query", images.uri, "SELECT image FROM dataset", "--out", tmp_path / "a.csv")
    assert (code, "--columns" in found["error"]["hint"]) == (2, False)
    assert found["error"]["message"].startswith("query: csv cannot hold 'image'")

    for name in ("b.xyz", "a dir"):
        words = ["query", images.uri, "SELECT path FROM dataset", "--out"]
        code, found = run(capsys, *words, str(tmp_path / name))
        assert (code, "--format" in str(found)) == (2, False)
        hint = found["error"]["hint"]
        typed = shlex.split(hint)
        assert typed[0] == "--out"
        assert run(capsys, *words, typed[1])[0] == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["export", "no.lance", "--out", "x.csv"], 3, "no table"),
        (["export", "t.lance", "--out", "x.docx"], 2, "nothing tells the format"),
        (["export", "t.lance", "--out", "x.csv", "--columns", "nmber"], 2, "did you mean number"),
        (["export", "t.lance", "--out", "x.csv", "--columns", ""], 2, "--columns is empty"),
        (["export", "t.lance", "--out", "x.csv", "--where", "number ="], 2, "number ="),
        (["export", "t.lance", "--out", "x.csv", "--limit", "0"], 2, "--limit"),
        (["export", "t.lance", "--out", "x.csv", "--max-rejects", "many"], 2, "--max-rejects"),
        (["export", "t.lance", "--out", "x.csv", "--version", "99"], 3, "no version 99"),
        (["export", "t.lance", "--out", "x.csv", "--caption", "text"], 2, "caption belongs to shards"),
        (["export", "t.lance", "--out", "x", "--format", "folder"], 2, "column of pictures"),
        (["export", "t.lance", "--out", "file/x.csv"], 1, "file"),
        (["query", "t.lance", "SELECT 1 AS one", "--out", "x.txt"], 2, "a file that ends in .parquet, .csv"),
        (["query", "t.lance", "SELECT 1 AS one", "--out", "folder"], 2, "a file that ends in .parquet, .csv"),
        (["query", "t.lance", "SELECT nope FROM dataset", "--out", "x.csv"], 2, "nope"),
        (["query", "t.lance", "COPY dataset TO 'x.csv'", "--out", "x.csv"], 2, "expected one SELECT"),
    ],
)
def test_wrong_words_are_refused_in_one_line_and_leave_nothing(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    code: int,
    said: str,
) -> None:
    number_table(tmp_path, 3)
    (tmp_path / "file").write_text("a file")
    monkeypatch.chdir(tmp_path)
    found = run(capsys, *words)
    assert found[0] == code, found
    assert said in found[1].get("error", {}).get("message", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "t.lance"]
