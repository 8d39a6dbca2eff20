"""Kinds of strange texts of metadata, each with how many rows have to be kept and for which reasons others are not.

Every file holds good rows beside what is strange in it: CSV, TSV and JSON lines. What is strange in parquet is in
`tests.faults.parquet_kinds`.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Mapping
from typing import NamedTuple

import pyarrow as pa

MB = 1 << 20


class Kind(NamedTuple):
    """A file and what has to become of it.

    Args:
        file: its name.
        data: its bytes.
        num_kept: rows in the table.
        refused: reason → how often.
    """

    file: str
    data: bytes
    num_kept: int
    refused: Mapping[str, int] = {}


def texts() -> dict[str, Kind]:
    """CSV, TSV and JSON lines."""
    return {**_csv(), **_packed(), **_json_lines(), **_values_of_json()}


def _csv() -> dict[str, Kind]:
    good = "filename,caption\na.jpg,x\nb.jpg,y\n"
    long = "x" * 200_000

    def csv(text: str, num_kept: int = 2, encoding: str = "utf-8", **refused: int) -> tuple[bytes, int, dict[str, int]]:
        return text.encode(encoding), num_kept, refused

    bad = {"num_kept": 0, "bad_encoding": 1}
    many = "".join(f"{n}.jpg,x\n" for n in range(2000))
    wide = ",".join(f"c{n}" for n in range(200))
    found = {
        "byte-order mark": csv("\ufeff" + good),
        "UTF-16": csv(good, encoding="utf-16", **bad),
        "UTF-16 without a mark": csv(good, encoding="utf-16-le", **bad),
        "UTF-32": csv(good, encoding="utf-32", **bad),
        "GB18030": csv(good.replace("x", "猫在沙发上"), encoding="gb18030", **bad),
        "Shift JIS": csv(good.replace("x", "猫がいる"), encoding="shift_jis", **bad),
        "Latin 1": csv(good.replace("x", "café"), encoding="latin-1", **bad),
        "half a letter": (good.encode() + b"c.jpg,\xed\xa0\x80\n", 0, {"bad_encoding": 1}),
        "letter cut off at the end": (good.encode() + "c.jpg,猫".encode()[:-1], 0, {"bad_encoding": 1}),
        "NUL in a value": csv(good + "c.jpg,x\0y\n", 3),
        "many NULs": (good.encode() + bytes(200), 0, {"bad_encoding": 1}),
        "control letters": csv(good + "c.jpg,\x1b[31m\x07\x08\n", 3),
        "names that come twice": csv(
            good.replace("filename,caption", "filename,c,c").replace(",x", ",x,1").replace(",y", ",y,2")
        ),
        "names that are empty": csv(good.replace("filename,caption", "filename,")),
        "name that is a statement": csv(good.replace("caption", "c; DROP TABLE t--")),
        "name of 70000 letters": csv(good.replace("caption", "c" * 70_000)),
        "200 columns": csv(f"filename,{wide}\na.jpg{',1' * 200}\nb.jpg{',2' * 200}\n"),
        "rows too short and too long": csv(good + "c.jpg\nd.jpg,x,y\n", corrupt=2),
        "quote that is never closed": csv(good + '"c.jpg,x\nd.jpg,y\n', 3, corrupt=1),
        "quote inside a value": csv(good + 'c.jpg,5" nail\n', 3),
        "letters behind a quote": csv(good + 'c.jpg,"x"y\nd.jpg,z\n', 3, corrupt=1),
        "line ends inside quotes": csv(good + 'c.jpg,"x\r\ny\rz\n"\n', 3),
        "line ends of three systems": csv("filename,caption\r\na.jpg,x\rb.jpg,y\n"),
        "no line end at the end": csv(good[:-1]),
        "blank lines": csv(good.replace("\n", "\n\n\n")),
        "spaces around values": csv(good.replace(",", " , ").replace("filename ", "filename")),
        "delimiter at every end": csv(good.replace("\n", ",\n")),
        "header alone": csv("filename,caption\n", 0),
        "header without a line end": csv("filename,caption", 0),
        "nothing": csv("", 0, empty=1),
        "only blank lines": csv("\n\n\n", 0, empty=1),
        "only comments": csv("# a\n# b\n", 0, empty=1),
        "other columns": csv("name,caption\na,x\n", 0, no_column=1),
        "empty file names": csv(good + ",z\n", null_key=1),
        "1e400 and huge numbers": csv(good + "c.jpg,1e400\nd.jpg,99999999999999999999999999\n", 4),
        "formula": csv(good + "c.jpg,=cmd|' /C calc'!A0\n", 3),
        "value of 200,000 letters": csv(good + f"c.jpg,{long}\nd.jpg,x\n", 3, corrupt=1),
        "equal rows": csv(good + "a.jpg,x\n" * 3, 5),
        "2000 rows, a bad one, and as many": csv(good + many + "x\n" + many, 4002, corrupt=1),
        "bytes of a picture": (b"\xff\xd8\xff\xe0" + bytes(range(256)) * 9, 0, {"not_text": 1}),
        "page of an error": csv("<!DOCTYPE html>\n<html>404</html>\n", 0, no_column=1),
        "parquet under this name": (b"PAR1" + bytes(99), 0, {"not_text": 1}),
    }
    return {f"CSV: {what}": Kind(f"c{n:02d}.csv", *made) for n, (what, made) in enumerate(found.items())} | {
        "TSV: quotes that are letters": Kind("t00.tsv", b'filename\tcaption\na\t5" by 6"\nb\tx\n', 2),
        "TSV: spaces instead": Kind("t01.tsv", b"filename  caption\na  x\n", 0, {"no_column": 1}),
        "TSV: separated by semicolons": Kind("t02.tsv", b"filename;caption\na;x\n", 1),
    }


def _packed() -> dict[str, Kind]:
    good = b"filename,caption\na.jpg,x\nb.jpg,y\n"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("m.csv", good)
    # 300 MB in less than 300 KB, one stream behind the other: packing them at once would take each test process 5 s.
    swelling = bz2.compress(good) + bz2.compress(b"c" * MB) * 300
    return {
        "packed: gzip": Kind("p0.csv.gz", gzip.compress(good), 2),
        "packed: two gzips in one file": Kind("p1.csv.gz", gzip.compress(good) + gzip.compress(b"c.jpg,z\n"), 3),
        "packed: gzip with something behind": Kind("p2.csv.gz", gzip.compress(good) + b"junk", 0, {"corrupt": 1}),
        "packed: gzip cut": Kind("p3.csv.gz", gzip.compress(good)[:-9], 0, {"truncated": 1}),
        "packed: gzip with a wrong checksum": Kind("p4.csv.gz", gzip.compress(good)[:-8] + bytes(8), 0, {"corrupt": 1}),
        "packed: no gzip": Kind("p5.csv.gz", good, 0, {"corrupt": 1}),
        "packed: gzip in gzip": Kind("p6.csv.gz", gzip.compress(gzip.compress(good)), 0, {"not_text": 1}),
        "packed: zip under a gzip's name": Kind("p7.csv.gz", archive.getvalue(), 0, {"corrupt": 1}),
        "packed: swells 1000-fold": Kind("p8.csv.bz2", swelling, 0, {"not_text": 1}),
        "packed: xz cut": Kind("p9.csv.xz", lzma.compress(good)[:-9], 0, {"truncated": 1}),
        "packed: zstd cut": Kind("pa.csv.zst", pa.compress(good * 99, "zstd", asbytes=True)[:-9], 0, {"truncated": 1}),
        "packed: nothing": Kind("pb.csv.gz", b"", 0, {"empty": 1}),
        "packed: nothing inside": Kind("pc.csv.gz", gzip.compress(b""), 0, {"empty": 1}),
    }


def _lines(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _json_lines() -> dict[str, Kind]:
    good = ('{"filename": "a.jpg", "caption": "x"}', '{"filename": "b.jpg", "caption": "y"}')

    def nested(depth: int) -> str:
        return '{"filename": "c.jpg", "deep": ' + "[" * depth + "]" * depth + "}"

    found: dict[str, tuple[bytes, int, dict[str, int]]] = {
        "byte-order mark": (b"\xef\xbb\xbf" + _lines(*good), 2, {}),
        "UTF-16": (_lines(*good).decode().encode("utf-16"), 0, {"bad_encoding": 1}),
        "no JSON": (_lines(*good, "c.jpg,x"), 2, {"corrupt": 1}),
        "cut off": (_lines(*good) + b'{"filename": "c.jp', 2, {"corrupt": 1}),
        "lists and numbers for records": (_lines(*good, "[1]", "3", "null", '"c"'), 2, {"corrupt": 4}),
        "two records a line": (_lines(*good, f"{good[0]} {good[1]}"), 2, {"corrupt": 1}),
        "comma behind each": (_lines(good[0], good[1] + ","), 1, {"corrupt": 1}),
        "one list of all": (f"[{','.join(good)}]".encode(), 0, {"no_column": 1}),
        "nested 100,000 deep": (_lines(*good, nested(100_000)), 2, {"corrupt": 1}),
        "nested 500 deep": (_lines(*good, nested(500)), 2, {"corrupt": 1}),
        "nested 190 deep": (_lines(*good, nested(190)), 3, {}),
        "field that comes twice": (_lines(*good, '{"filename": "c.jpg", "filename": "d.jpg"}'), 3, {}),
        "number of 5000 digits": (_lines(*good, '{"filename": "c.jpg", "n": ' + "9" * 5000 + "}"), 2, {"corrupt": 1}),
        "half a letter": (_lines(*good, '{"filename": "c.jpg", "caption": "\\ud83d"}'), 3, {}),
        "half a letter in a field's name": (_lines(*good, '{"filename": "c.jpg", "\\ud83d": 1}'), 2, {"corrupt": 1}),
        "half a letter in a file's name": (_lines(*good, '{"filename": "\\ud83d.jpg"}'), 2, {"null_key": 1}),
        "NUL in a value and a name": (_lines(*good, '{"filename": "c.jpg", "a\\u0000b": "x\\u0000y"}'), 3, {}),
        "blank lines": (_lines(good[0], "", "  ", good[1]), 2, {}),
        "no file name": (_lines(*good, '{"c": "z"}', '{"filename": null}', '{"filename": ""}'), 2, {"null_key": 3}),
        "empty records": (_lines(*good, "{}"), 2, {"null_key": 1}),
        "nothing": (b"", 0, {"no_column": 1}),
        "fields that differ from row to row": (
            _lines(*good, *(json.dumps({"filename": f"{n}", f"field_{n}": n}) for n in range(100))), 102, {}
        ),
        "line of two million letters": (_lines(*good, '{"filename": "' + "c" * 2_000_000 + '"}'), 0, {"not_text": 1}),
    }  # fmt: skip
    return {f"JSON lines: {what}": Kind(f"j{n:02d}.jsonl", *made) for n, (what, made) in enumerate(found.items())}


def _values_of_json() -> dict[str, Kind]:
    """Values of one field that differ in kind; they all stay."""
    found = {
        "not a number": "NaN",
        "infinity": "-Infinity",
        "1e400": "1e400",
        "integer beyond 64 bits": str(2**64),
        "integer beyond what a float tells": str(2**53 + 1),
        "minus zero": "-0.0",
        "text among numbers": '"3"',
        "list among numbers": "[3]",
        "empty list": "[]",
        "list of several kinds": '[1, "a", null, [2]]',
        "record": '{"a": {"b": [1]}}',
        "truth": "true",
        "date": '"2026-02-30"',
        "date with a zone": '"2026-11-27T03:20:00+05:30"',
    }
    kinds = {
        f"JSON lines, value: {what}": Kind(
            f"v{n:02d}.jsonl", _lines('{"filename": "a", "v": 1}', f'{{"filename": "b", "v": {value}}}'), 2
        )
        for n, (what, value) in enumerate(found.items())
    }
    # Other files have made floats of the column, and this is no float: better no row than another number.
    inexact = "JSON lines, value: integer beyond what a float tells"
    beyond = "JSON lines, value: 1e400"
    return kinds | {
        inexact: kinds[inexact]._replace(num_kept=1, refused={"bad_value": 1}),
        beyond: kinds[beyond]._replace(num_kept=1, refused={"corrupt": 1}),
    }
