"""Files that are no text: each is told for what it is, with what takes it, wherever a text is expected."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import subprocess
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from clipdata.file_kinds import kind_of_binary, kind_of_file
from pipelines.cli.app import main
from tests.pictures import encoded, write_pictures
from tests.tables import number_table

TEXT = b"image,caption\na.jpg,a dog\n"


def _files(folder: Path) -> dict[str, str]:
    """Name of each file → what it is."""
    pq.write_table(pa.table({"n": [1, 2, 3]}), folder / "rows.parquet")
    feather.write_feather(pa.table({"n": [1]}), str(folder / "rows.arrow"))
    np.save(folder / "rows.npy", np.zeros(3))
    for name, pack in (("t.gz", gzip.compress), ("t.bz2", bz2.compress), ("t.xz", lzma.compress)):
        (folder / name).write_bytes(pack(TEXT))
    (folder / "t.zst").write_bytes(pa.compress(TEXT, codec="zstd", asbytes=True))
    with zipfile.ZipFile(folder / "t.zip", "w") as archive:
        archive.writestr("t.csv", TEXT)
    with tarfile.open(folder / "t.tar", "w") as archive:
        about = tarfile.TarInfo("t.csv")
        about.size = len(TEXT)
        archive.addfile(about, io.BytesIO(TEXT))
    (folder / "p.jpg").write_bytes(encoded(1))
    (folder / "p.png").write_bytes(encoded(1, ".png"))
    return {
        "rows.parquet": "a parquet file", "rows.arrow": "a file of Arrow", "rows.npy": "an array of numpy",
        "t.gz": "packed by gzip", "t.bz2": "packed by bzip2", "t.xz": "packed by xz", "t.zst": "packed by zstandard",
        "t.zip": "a zip archive", "t.tar": "a tar archive", "p.jpg": "a picture (jpeg)", "p.png": "a picture (png)",
    }  # fmt: skip


def test_every_kind_is_told_and_a_text_that_begins_like_one_stays_a_text(tmp_path: Path) -> None:
    for name, words in _files(tmp_path).items():
        found = kind_of_file(tmp_path / name)
        assert found is not None, name
        assert words in found.name
    table = number_table(tmp_path, 3)
    data = next(Path(table.uri, "data").glob("*.lance"))
    found = kind_of_file(data)
    assert found is not None
    assert "Lance" in found.name
    for text in (b"PAR1,PK\n1,2\n", b"BZh\tx\n", "图,猫\n".encode(), "图".encode()[:2], b"", b"ends in LANC"):
        assert kind_of_binary(text) is None
    assert kind_of_file(tmp_path / "none") is None


def test_what_takes_a_parquet_file_works_when_typed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pictures(tmp_path / "in", 1)
    pq.write_table(pa.table({"n": [1, 2, 3]}), tmp_path / "it's.parquet")
    (tmp_path / "called.csv").write_bytes((tmp_path / "it's.parquet").read_bytes())
    for name in ("it's.parquet", "called.csv"):
        captions = str(tmp_path / name)
        assert main(["ingest", "captions", str(tmp_path / "in"), captions, "--into", str(tmp_path / "x.lance")]) == 2
        err = capsys.readouterr().err
        assert "is a parquet file; expected text" in err
        hint = err.partition("hint: ")[2].partition(" makes a table")[0]
        line = hint.removeprefix("call it what it is: ").replace("clipdata", "python -m clipdata")
        subprocess.run(["bash", "-c", line], check=True, cwd=Path(__file__).parents[1])
        assert main(["show", str((tmp_path / name).with_suffix(".lance"))]) == 0
        capsys.readouterr()


def test_wherever_a_text_is_expected_a_binary_file_is_told_for_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_pictures(tmp_path / "in", 1)
    number_table(tmp_path, 3)
    for name, words in _files(tmp_path).items():
        (tmp_path / "named.csv").write_bytes((tmp_path / name).read_bytes())
        lines = [
            ["ingest", "captions", "in", name, "--into", "x.lance"],
            ["ingest", "urls", "named.csv", "--into", "x.lance"],
            ["refresh", "t.lance", "--step", f"{name}:x"],
            ["map", "t.lance", f"{name}:x", "column"],
        ]
        for line in lines:
            code = main(line)
            err = capsys.readouterr().err
            assert (code, words in err) == (2, True), (line, err)
            assert "looks like utf-16" not in err
            assert "Traceback" not in err


def test_a_step_file_that_is_no_python_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = number_table(tmp_path, 3)
    (tmp_path / "bad.json").write_text("{}")
    (tmp_path / "binary.py").write_bytes(encoded(1, ".png"))
    told = {"bad.json": "is no Python module: its name does not end in .py", "binary.py": "cannot be read as a module"}
    for name, words in told.items():
        for line in (
            ["map", table.uri, f"{tmp_path / name}:x", "y"],
            ["refresh", table.uri, "--step", f"{tmp_path / name}:x"],
        ):
            assert main(line) == 2
            err = capsys.readouterr().err
            assert words in err
            assert "Traceback" not in err
