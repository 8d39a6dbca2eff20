"""Pickles that a stranger planted in what clipdata reads run nothing, and no name leads out of its folder."""

from __future__ import annotations

import builtins
import io
import pickle
import shutil
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import clipdata as cd
import ingest
from clipdata.errors import ClipdataError, UsageError
from clipdata.json_parsing import parse_json
from pipelines import configs
from pipelines.train_arguments import TrainArguments
from tests.contests import contest_table
from tests.golden.make_golden import HERE, Halves
from tests.pictures import encoded, write_pictures
from tests.tables import number_table

WEIGHTS = ("open_clip_pytorch_model.bin", "open_clip_model.pt", "pytorch_model.bin", "open_clip_model.safetensors")
CONFIG = cd.TrainConfig(epochs=2, batch_size=8, lr=1e-3)


class Runs:
    """What makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return builtins.open, (str(self.marker), "w")


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "it ran"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny one, as this release wrote it."""
    folder = tmp_path_factory.mktemp("golden")
    with tarfile.open(HERE / f"{cd.__version__}.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "model"


def raw(marker: Path) -> bytes:
    return pickle.dumps(Runs(marker))


def zipped(marker: Path) -> bytes:
    stream = io.BytesIO()
    torch.save({"state_dict": Runs(marker), "w": Runs(marker)}, stream)
    return stream.getvalue()


def test_the_planted_pickles_would_run(marker: Path) -> None:
    pickle.loads(raw(marker)).close()
    assert marker.exists()
    marker.unlink()
    torch.load(io.BytesIO(zipped(marker)), weights_only=False)
    assert marker.exists()


@pytest.mark.parametrize("planted", [raw, zipped])
def test_in_every_file_of_a_run_they_run_nothing(
    model: Path, tmp_path: Path, marker: Path, planted: Callable[[Path], bytes]
) -> None:
    table, encoder = contest_table(tmp_path), cd.load_encoder(model, device="cpu")
    whole = cd.train(table, encoder, CONFIG, out=tmp_path / "whole")
    files = [path.relative_to(whole.path) for path in Path(whole.path).rglob("*") if path.is_file()]
    assert {"state.pt", "weights.safetensors", "metrics.jsonl"} <= {path.name for path in files}

    for number, file in enumerate(sorted(files)):
        folder = tmp_path / f"run-{number}"
        shutil.copytree(whole.path, folder)
        (folder / file).write_bytes(planted(marker))
        if file.parts[0] == "checkpoints":
            shutil.rmtree(folder / "export")  # so that it is gone on with from there
        for call in (
            lambda at=folder: cd.open_run(at).to_dict(),
            lambda at=folder: cd.open_run(at).encoder(),
            lambda at=folder: cd.train(table, encoder, CONFIG, out=at),
        ):
            with suppress(ClipdataError):
                call()
        assert not marker.exists(), file
        shutil.rmtree(folder)


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("planted", [raw, zipped])
def test_in_weights_they_run_nothing(
    model: Path, tmp_path: Path, marker: Path, name: str, planted: Callable[[Path], bytes]
) -> None:
    folder = Path(shutil.copytree(model, tmp_path / "model"))
    for weights in folder.glob("*.safetensors"):
        weights.unlink()
    (folder / name).write_bytes(planted(marker))

    with pytest.raises(ClipdataError):
        cd.load_encoder(f"local-dir:{folder}", device="cpu")

    assert not marker.exists()


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".npz", ".json", ".safetensors"])
def test_in_the_weights_of_a_head_they_run_nothing(tmp_path: Path, marker: Path, suffix: str) -> None:
    path = tmp_path / f"head{suffix}"
    if suffix == ".npz":
        np.savez(path, weight=np.array([Runs(marker)], dtype=object), allow_pickle=True)
    else:
        path.write_bytes(zipped(marker) if suffix == ".pt" else raw(marker))
    table = number_table(tmp_path)

    with pytest.raises(ClipdataError):
        cd.map_column(table, cd.steps.HeadScores("number", path), "scored")

    assert not marker.exists()


def test_in_a_table_its_state_and_its_schema_they_run_nothing(tmp_path: Path, marker: Path) -> None:
    schema = pa.schema([pa.field("filename", pa.string()), pa.field("image", pa.binary(), metadata={
        b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": raw(marker),
    })])  # fmt: skip
    columns = pa.table({"filename": ["a.jpg", "b.jpg"], "image": [raw(marker), encoded(1)]}, schema=schema)
    pq.write_table(columns, tmp_path / "m.parquet")
    plain = columns.cast(pa.schema([("filename", pa.string()), ("image", pa.binary())]))
    lance.write_dataset(plain, str(tmp_path / "foreign.lance"))
    ingest.from_parquet(tmp_path / "m.parquet", into=tmp_path / "t.lance")
    ingest.from_lance(tmp_path / "foreign.lance", into=tmp_path / "own.lance")

    write_pictures(tmp_path / "in", 6)
    table = ingest.from_images(tmp_path / "in", into=tmp_path / "pictures.lance").table
    with pytest.raises(KeyboardInterrupt):
        cd.map_column(table, Halves(3), "halves", batch_rows=2)
    state = [path for path in (tmp_path / "pictures.lance.state").rglob("*") if path.is_file()]
    assert state
    for path in state:
        path.write_bytes(raw(marker))
    with suppress(ClipdataError):
        cd.map_column(cd.open_table(table.uri), Halves(), "halves")

    assert not marker.exists()


def test_in_a_tar_they_run_nothing_and_leave_its_folder_alone(tmp_path: Path, marker: Path) -> None:
    (tmp_path / "shards").mkdir()
    with tarfile.open(tmp_path / "shards" / "0.tar", "w") as archive:
        for name in ("a.pyd", "a.pickle", "a.pth", "a.jpg", "../b.jpg", "/tmp/c.jpg", "d/../../e.jpg"):
            about = tarfile.TarInfo(name)
            data = encoded(1) if name.endswith("jpg") else raw(marker)
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))

    done = ingest.from_shards(tmp_path / "shards", into=tmp_path / "t.lance")

    assert done.table.num_rows == 1
    assert done.refused["unsafe_name"] == 3
    assert not marker.exists()
    assert {path.name for path in tmp_path.iterdir()} <= {
        "shards", "t.lance", "t.lance.state", "t.rejects.lance", "t.taken.lance"
    }  # fmt: skip


def test_in_configs_they_run_nothing(tmp_path: Path, marker: Path) -> None:
    (tmp_path / "c.json").write_bytes(raw(marker))
    for read in (
        lambda: configs.read(str(tmp_path / "c.json"), "caption-contest"),
        lambda: TrainArguments.read(tmp_path / "c.json"),
        lambda: cd.TrainConfig.from_json(raw(marker)),
        lambda: cd.new_encoder(str(tmp_path / "c.json")),
    ):
        with pytest.raises(ClipdataError):
            read()
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json("[" * 100_000)
    assert not marker.exists()


KEYS = [
    "../up.jpg",
    "/tmp/clipdata-absolute.jpg",
    "a/../../up.jpg",
    "..",
    "C:\\up.jpg",
    "a\0b.jpg",
    "~/up.jpg",
    "x" * 300,
]


@pytest.mark.parametrize("kind", ["folder", "shards"])
def test_no_key_of_a_table_leads_out_of_an_export(tmp_path: Path, kind: str) -> None:
    columns = {"path": KEYS, "image": pa.array([encoded(n) for n in range(len(KEYS))], pa.large_binary())}
    lance.write_dataset(pa.table(columns), str(tmp_path / "t.lance"))
    (tmp_path / "in").mkdir()
    before = {path.name for path in tmp_path.iterdir()}

    with suppress(UsageError):
        cd.export(tmp_path / "t.lance", tmp_path / "in" / "out", format=kind)

    assert {path.name for path in tmp_path.iterdir()} == before
    assert {path.name for path in (tmp_path / "in").iterdir()} <= {"out", ".out.clipdata.lock", "out.lock"}
    assert not Path("/tmp/clipdata-absolute.jpg").exists()
    if kind == "shards":
        for shard in (tmp_path / "in" / "out").glob("*.tar"):
            with tarfile.open(shard) as archive:
                archive.extractall(tmp_path / "unpacked", filter="data")  # which refuses names that lead out


def test_no_name_in_a_list_of_captions_reads_outside_its_pictures(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 1)
    (tmp_path / "secret.jpg").write_bytes(encoded(9))
    names = ["0000.jpg", "../secret.jpg", str(tmp_path / "secret.jpg"), "file:///etc/passwd", "x/../../secret.jpg"]
    (tmp_path / "captions.csv").write_text("filename,caption\n" + "".join(f"{name},x\n" for name in names))

    done = ingest.from_captions(tmp_path / "in", tmp_path / "captions.csv", into=tmp_path / "t.lance")

    assert done.table.to_table(["path"])["path"].to_pylist() == ["0000.jpg"]
