"""Hugging Face data sets, both ways: what goes there comes back, and nothing is decoded or encoded on the way."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import clipdata as cd
import ingest
from clipdata.errors import NotFoundError, SchemaError, TransientError, UsageError
from clipdata.lance_io import rows
from clipdata.lance_io.table import open_table
from clipdata.schema import key_field
from pipelines.cli.app import main
from pipelines.fine_tune import fitting, is_data_set
from tests.pictures import encoded, write_pictures
from tests.test_exports import NUM, VALUES, known, python_rows, sorted_rows
from tests.test_exports import pictures as pictures

datasets = pytest.importorskip("datasets")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        datasets.disable_progress_bars()
        yield


def taken(data: Any, into: Path, **how: Any) -> cd.Table:
    return ingest.from_hugging_face(data, into=into, **how).table


def shas(table: cd.Table) -> list[str]:
    held = table.to_table(["image", "sha256"])
    assert [hashlib.sha256(data).hexdigest() for data in held["image"].to_pylist()] == held["sha256"].to_pylist()
    return sorted(held["sha256"].to_pylist())


def labelled(num: int) -> Any:
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=["cat", "dog"]),
            "note": datasets.Value("string"),
        }
    )
    held = [encoded(n, ".png", 12, 16) for n in range(num)]
    given = {
        "image": [{"bytes": data, "path": f"{n}.png"} for n, data in enumerate(held)],
        "label": [n % 2 if n != 1 else None for n in range(num)],
        "note": [None if n == 2 else f"note {n}" for n in range(num)],
    }
    return datasets.Dataset.from_dict(given, features=features)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_table_becomes_a_data_set_and_comes_back_with_every_value(
    pictures: cd.Table, tmp_path: Path, streaming: bool
) -> None:
    data = cd.to_hugging_face(pictures, streaming=streaming)

    assert isinstance(data.features["image"], datasets.Image)
    assert str(data.features["vector"]) == "List(Value('float32'), length=2)"
    first = next(iter(data))
    assert first["image"].size == (16, 12)
    back = taken(data, tmp_path / "back.lance", name="ours")
    assert shas(back) == shas_of(pictures)
    assert sorted_rows(back.to_table(["sha256", *VALUES]), [*VALUES]) == known(pictures, [*VALUES])


def shas_of(table: cd.Table) -> list[str]:
    return sorted(table.to_table(["sha256"])["sha256"].to_pylist())


def test_splits_and_some_columns_of_a_table(pictures: cd.Table) -> None:
    data = cd.to_hugging_face(pictures, ["number", "split", "text"], where="number IS NOT NULL", split_column="split")
    assert {name: part.num_rows for name, part in data.items()} == {"test": 2, "train": 7}
    assert list(data["train"].features) == ["number", "split", "text"]
    assert set(data["test"]["split"]) == {"test"}
    with pytest.raises(SchemaError, match="expected texts that name splits"):
        cd.to_hugging_face(pictures, split_column="number")
    with pytest.raises(SchemaError, match="did you mean"):
        cd.to_hugging_face(pictures, ["numbr"])


def test_data_sets_of_every_kind_bring_classes_splits_nulls_and_untouched_bytes(tmp_path: Path) -> None:
    data = labelled(6)
    expected = sorted(hashlib.sha256(encoded(n, ".png", 12, 16)).hexdigest() for n in range(6))
    both = datasets.DatasetDict({"train": data.select(range(4)), "test": data.select([4, 5])})
    both.save_to_disk(tmp_path / "saved")
    (tmp_path / "parquet" / "data").mkdir(parents=True)
    for name, part in both.items():
        part.to_parquet(tmp_path / "parquet" / "data" / f"{name}-00000-of-00001.parquet")
    given = {
        "dict": both,
        "iterable": both["train"].to_iterable_dataset(),
        "saved": tmp_path / "saved",
        "parquet": str(tmp_path / "parquet"),
    }
    for name, one in given.items():
        table = taken(one, tmp_path / f"{name}.lance")
        read = table.to_table().sort_by("path")
        assert table.num_rows == (4 if name == "iterable" else 6), name
        assert set(shas(table)) <= set(expected), name
        assert set(read["split"].to_pylist()) == ({"train"} if name == "iterable" else {"train", "test"}), name
        told = {row["note"]: (row["label"], row["label_name"]) for row in read.to_pylist()}
        assert told["note 0"] == (0, "cat"), name
        assert (told["note 3"], told[None][1]) == ((1, "dog"), "cat"), name
        assert None in read["label"].to_pylist(), name

    again = ingest.from_hugging_face(both, into=tmp_path / "dict.lance").to_dict()
    assert (again["read"], again["inserted"], again["updated"], again["deleted"]) == (0, 0, 0, 0)
    only = taken(str(tmp_path / "saved"), tmp_path / "test.lance", split="test")
    assert only.to_table(["split"])["split"].to_pylist() == ["test", "test"]


def test_an_export_as_a_folder_or_parquet_comes_back_row_for_row(pictures: cd.Table, tmp_path: Path) -> None:
    columns = ["image", "filename", "sha256", *VALUES]
    cd.export(pictures, tmp_path / "folder", format="folder", split_column="split", columns=columns)
    cd.export(pictures, tmp_path / "files" / "t.parquet", columns=columns)
    same = {"folder": ["number", "share", "text", "flag", "captions", "split"], "files": [*VALUES]}
    for name, values in same.items():
        back = taken(tmp_path / name, tmp_path / f"{name}.lance")
        assert shas(back) == shas_of(pictures), name
        assert sorted_rows(back.to_table(["sha256", *values]), values) == known(pictures, values), name


def test_rows_without_pictures_are_metadata_and_arrays_lists(tmp_path: Path) -> None:
    features = datasets.Features({"a": datasets.Array2D((2, 2), "float32"), "s": {"x": datasets.Value("int32")}})
    data = datasets.Dataset.from_dict(
        {"a": [np.ones((2, 2)), np.zeros((2, 2))], "s": [{"x": 1}, None]}, features=features
    )
    read = taken(data, tmp_path / "t.lance").to_table(["a", "s", "split"]).to_pylist()
    assert {json.dumps(row["a"]) for row in read} == {"[[1.0, 1.0], [1.0, 1.0]]", "[[0.0, 0.0], [0.0, 0.0]]"}
    assert {row["split"] for row in read} == {"train"}


def test_a_picture_that_only_a_path_names_is_read_and_one_that_is_gone_refused(tmp_path: Path) -> None:
    paths = [str(path) for path in write_pictures(tmp_path / "in", 3)]
    data = datasets.Dataset.from_dict({"image": paths}).cast_column("image", datasets.Image())
    Path(paths[1]).unlink()
    done = ingest.from_hugging_face(data, into=tmp_path / "t.lance", name="paths")
    assert (done.table.num_rows, dict(done.refused)) == (2, {"missing": 1})
    assert done.table.to_table(["filename"])["filename"].to_pylist() == ["0000.jpg", "0002.jpg"]


@pytest.mark.parametrize("layout", ["metadata", "split metadata", "parquet", "class folders", "saved"])
def test_fine_tune_knows_folders_of_hugging_face(tmp_path: Path, layout: str) -> None:
    data = tmp_path / "data"
    told = [{"file_name": f"{n:04d}.jpg", "text": f"a picture {n}"} for n in range(4)]
    if "metadata" in layout:
        inside = data / "train" if "split" in layout else data
        write_pictures(inside, 4)
        (inside / "metadata.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in told))
    elif layout == "class folders":
        for name in ("cat", "dog"):
            write_pictures(data / "train" / name, 2)
    elif layout == "saved":
        labelled(4).save_to_disk(data)
    else:
        (data / "data").mkdir(parents=True)
        labelled(4).to_parquet(data / "data" / "train-00000-of-00001.parquet")
    assert is_data_set(str(data)) == (layout in ("split metadata", "parquet", "saved"))
    place = taken(data, tmp_path / "t.lance").uri if is_data_set(str(data)) else str(data)
    assert fitting(place).pipeline == ("dual-encoder" if "metadata" in layout else "prompt-classification")


def test_the_command_takes_a_folder_in(pictures: cd.Table, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cd.export(pictures, tmp_path / "out", format="folder", columns=["image", "text"])
    assert main(["ingest", "hugging-face", str(tmp_path / "out"), "--into", str(tmp_path / "t.lance"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == NUM


@pytest.mark.parametrize(
    ("data", "code", "said"),
    [
        ("no/such/folder", 3, "no folder"),
        ("./nothing", 3, "no folder"),
        ("nobody/nothing", 5, "hub cannot be asked"),
        ("empty", 2, "cannot read empty"),
        ("t.csv", 3, "no folder"),
    ],
)
def test_what_is_no_data_set_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, data: str, code: int, said: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "t.csv").write_text("a\n1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    assert main(["ingest", "hugging-face", data, "--into", "t.lance", "--json"]) == code
    shown = capsys.readouterr()
    assert said in json.loads(shown.out)["error"]["message"]
    assert "Traceback" not in shown.err
    assert not (tmp_path / "t.lance").exists()


def test_what_is_no_data_set_in_python_is_refused_too(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a list is no data set"):
        ingest.from_hugging_face([1], into=tmp_path / "t.lance")
    with pytest.raises(NotFoundError, match="no split 'dev'; it has train"):
        ingest.from_hugging_face(labelled(2), into=tmp_path / "t.lance", split="dev")
    schema = pa.schema([key_field("path"), pa.field("d", pa.map_(pa.string(), pa.int64()))])
    table = rows.create_table(tmp_path / "m.lance", schema)
    with pytest.raises(SchemaError, match="no feature"):
        cd.to_hugging_face(open_table(table.uri))
    assert TransientError.exit_code == 5
    assert python_rows(pa.table({"a": [1]}), ["a"]) == [{"a": 1}]


def test_a_file_is_no_data_set_and_the_hint_takes_it_in(tmp_path: Path) -> None:
    (tmp_path / "meta.csv").write_text("a\n1\n")
    with pytest.raises(NotFoundError, match="there is no folder") as caught:
        ingest.from_hugging_face(str(tmp_path / "meta.csv"), into=tmp_path / "t.lance")
    assert f"clipdata ingest parquet {tmp_path}/meta.csv" in str(caught.value.hint)
