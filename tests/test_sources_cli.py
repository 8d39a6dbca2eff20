"""The other ways in, and the way out, on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import clipdata as cd
from ingest import DownloadRules
from pipelines.cli.app import VERBS, main
from pipelines.cli.json_output import schema_of
from tests.json_schemas import check_schema
from tests.pictures import write_pictures


def done(capsys: pytest.CaptureFixture[str], *arguments: object, expected: int = 0) -> dict:
    code = main([*(str(argument) for argument in arguments), "--json"])
    out, err = capsys.readouterr()
    assert code == expected, err
    printed = json.loads(out)
    words = " ".join(map(str, arguments))
    check_schema(printed, next(schema_of(one.words, one.found) for one in VERBS if words.startswith(one.words)))
    return printed


def test_class_folders_with_split_lists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pictures(tmp_path / "in" / "apple_pie", 3)
    write_pictures(tmp_path / "in" / "soup", 2)
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "train.txt").write_text("apple_pie/0000\napple_pie/0001\nsoup/0000\n\n")
    (tmp_path / "meta" / "test.txt").write_text("soup/0001\n")
    into = tmp_path / "t.lance"
    found = done(capsys, "ingest", "class-list", tmp_path / "in", "--lists", tmp_path / "meta", "--into", into)
    assert found["inserted"] == 4
    assert cd.open_table(into).count_rows("label = 'apple pie' AND split = 'train'") == 2


def test_captions_one_row_an_image_or_one_row_a_caption(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pictures(tmp_path / "in", 2)
    file = tmp_path / "tokens.txt"
    file.write_text("0000.jpg#0\ta dog, running\n0000.jpg#1\ta brown dog\n0001.jpg#0\ta cat\n")
    done(capsys, "ingest", "captions", tmp_path / "in", file, "--into", tmp_path / "a.lance")
    done(capsys, "ingest", "captions", tmp_path / "in", file, "--into", tmp_path / "b.lance", "--rows", "caption")
    assert cd.open_table(tmp_path / "a.lance").to_table(["captions"])["captions"].to_pylist() == [
        ["a dog, running", "a brown dog"],
        ["a cat"],
    ]
    assert cd.open_table(tmp_path / "b.lance").num_rows == 3


def test_a_table_goes_out_as_shards_and_comes_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pictures(tmp_path / "in", 5)
    done(capsys, "ingest", "images", tmp_path / "in", "--into", tmp_path / "t.lance")
    exported = done(capsys, "export", tmp_path / "t.lance", "--out", tmp_path / "shards", "--rows-per-shard", "2")
    assert (exported["num_files"], exported["num_rows"]) == (3, 5)
    done(capsys, "ingest", "shards", tmp_path / "shards", "--into", tmp_path / "back.lance")
    left, right = (cd.open_table(tmp_path / name).to_table(["filename", "image"]) for name in ("t.lance", "back.lance"))
    assert sorted(left["image"].to_pylist()) == sorted(right["image"].to_pylist())


def test_urls_of_this_machine_are_refused_unless_allowed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "list.csv").write_text("text,url,filename\na picture,http://127.0.0.1:9/x.jpg,x.jpg\n")
    found = done(capsys, "ingest", "urls", tmp_path / "list.csv", "--into", tmp_path / "t.lance", expected=6)
    assert found["refused"] == {"private_address": 1}


def test_urls_take_an_encoding_and_limits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "list.csv").write_bytes("text,url\n黄色连衣裙,http://127.0.0.2:9/x.jpg\n".encode("gb18030"))
    limits = ["--per-host", 1, "--delay", 0.5, "--deadline", 2, "--max-bytes", 1000, "--retries", 0, "--in-flight", 3]
    limits += ["--allow-private", "127.0.0.2"]
    command = ["ingest", "urls", tmp_path / "list.csv", "--into", tmp_path / "t.lance", *limits]
    found = done(capsys, *command, "--encoding", "gb18030", expected=6)
    assert found["refused"] == {"connection": 1}
    assert main([str(word) for word in command]) == 2
    assert "--encoding" in capsys.readouterr().err


def test_the_help_of_urls_names_the_limits_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    main(["ingest", "urls", "--help"])
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    rules = DownloadRules()
    for words in (
        f"Requests at once; {rules.num_in_flight} by default",
        f"Requests at once to one host; {rules.num_per_host} by default",
        f"requests to one host; {rules.delay_s:g} by default",
        f"one download; {rules.deadline_s:g} by default",
        f"passing fault; {rules.num_retries} by default",
        f"largest download; {rules.max_bytes} by default",
    ):
        assert words in shown


def test_the_closing_line_of_a_second_ingest_says_whether_it_counts_rows_or_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "a.csv").write_text("filename,label\n1.jpg,A\n2.jpg,B\n3.jpg,C\n")
    pictures = write_pictures(tmp_path / "in", 2)
    for source, where, into in (("parquet", tmp_path / "meta", "m"), ("images", tmp_path / "in", "i")):
        done(capsys, "ingest", source, where, "--into", tmp_path / f"{into}.lance")
    (tmp_path / "meta" / "b.csv").write_text("filename,label\n4.jpg,A\n5.jpg,B\n")
    (tmp_path / "in" / "new.png").write_bytes(pictures[0].read_bytes())

    assert main(["ingest", "parquet", str(tmp_path / "meta"), "--into", str(tmp_path / "m.lance"), "--dry-run"]) == 0
    assert "2 files listed, 1 unchanged, 1 to read" in capsys.readouterr().out
    assert main(["ingest", "parquet", str(tmp_path / "meta"), "--into", str(tmp_path / "m.lance")]) == 0
    assert "rows: 2 new, 0 replaced; files: 2 listed, 1 unchanged" in capsys.readouterr().out
    assert main(["ingest", "images", str(tmp_path / "in"), "--into", str(tmp_path / "i.lance")]) == 0
    assert "1 new, 0 replaced, 2 unchanged" in capsys.readouterr().out
    of_files = done(capsys, "ingest", "parquet", tmp_path / "meta", "--into", tmp_path / "m.lance")
    of_rows = done(capsys, "ingest", "images", tmp_path / "in", "--into", tmp_path / "i.lance")
    assert [(found["items"], found["unchanged"]) for found in (of_files, of_rows)] == [("files", 2), ("rows", 3)]
