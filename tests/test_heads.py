"""Heads on embeddings: equal to torch in every format of file, and what does not fit is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pytest
import safetensors.torch
import torch
from torch import nn

import clipdata as cd
from clipdata.errors import ClipdataError, LineageMismatchError, NotFoundError, SchemaError, UsageError
from clipdata.steps.rebuilding import Models, rebuild
from pipelines.cli.named_steps import build_step

SIZE = 6


def aesthetic(*between: nn.Module) -> nn.Sequential:
    """The layout of LAION's predictor, small: dropout between linear layers."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(SIZE, 5), *between, nn.Dropout(0.2), nn.Linear(5, 3), *between, nn.Linear(3, 1)
    ).eval()


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(7, SIZE)).astype(np.float32)


@pytest.fixture
def table(tmp_path: Path, vectors: np.ndarray) -> cd.Table:
    rows: list[Any] = [*vectors.tolist(), None, [0.0] * SIZE, [float("nan")] * SIZE, [None] * SIZE]
    lists: list[Any] = [*rows[:-1], [1.0]]
    columns = {
        "embedding": pa.array(rows, pa.list_(pa.float32(), SIZE)),
        "half": pa.array(
            np.array(vectors.tolist() + [[0] * SIZE] * 4, np.float16).tolist(), pa.list_(pa.float16(), SIZE)
        ),
        "lists": pa.array(lists, pa.large_list(pa.float64())),
        "text": ["x"] * 11,
        "few": pa.array([[1.0, 2.0]] * 11, pa.list_(pa.float32(), 2)),
    }
    lance.write_dataset(pa.table(columns), str(tmp_path / "t.lance"))
    return cd.open_table(tmp_path / "t.lance")


def saved(folder: Path, suffix: str, state: dict[str, torch.Tensor]) -> Path:
    path = folder / f"head{suffix}"
    arrays = {name: value.numpy() for name, value in state.items()}
    if suffix == ".npz":
        np.savez(path, **arrays)
    elif suffix == ".json":
        path.write_text(json.dumps({name: value.tolist() for name, value in arrays.items()}))
    elif suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save({"state_dict": state, "epoch": 3} if suffix == ".pt" else state, path)
    return path


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pth", ".pt", ".json"])
def test_a_head_gives_what_torch_gives_in_every_format(
    tmp_path: Path, table: cd.Table, vectors: np.ndarray, suffix: str
) -> None:
    head = aesthetic()
    state = {f"layers.{name}": value for name, value in head.state_dict().items()}
    step = cd.steps.Head(saved(tmp_path, suffix, state))
    done = cd.map_column(table, step, "aesthetic")

    units = torch.from_numpy(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    expected = head(units).detach().numpy().reshape(-1)
    read = table.to_table(["aesthetic", "aesthetic__error"]).to_pydict()
    assert read["aesthetic"][:7] == pytest.approx(expected.tolist(), abs=1e-6)
    assert read["aesthetic"][8] == pytest.approx(head(torch.zeros(1, SIZE)).item(), abs=1e-6)
    assert [read["aesthetic"][row] for row in (7, 9, 10)] == [None] * 3
    assert read["aesthetic__error"][9] == "NaN or infinity"
    assert done.num_failed == 2
    lineage = table.lineage("aesthetic")
    assert lineage is not None
    assert lineage.model is not None
    assert lineage.parameters["weights"] == f"head{suffix}@sha256:{lineage.model}"
    assert lineage.trained_on is None  # nobody recorded it
    assert table.count_rows(cd.filters.laion_aesthetics(table, least=-100)[0].condition) == 8


@pytest.mark.parametrize(("activation", "layer"), [("relu", nn.ReLU()), ("gelu", nn.GELU())])
def test_what_stands_between_layers_is_said_and_several_outputs_are_a_vector(
    tmp_path: Path, table: cd.Table, vectors: np.ndarray, activation: str, layer: nn.Module
) -> None:
    torch.manual_seed(1)
    head = nn.Sequential(*[nn.Linear(SIZE, SIZE), layer] * 10, nn.Linear(SIZE, 2))  # layer 2 comes before layer 10
    path = saved(tmp_path, ".safetensors", {name: value.clone() for name, value in head.state_dict().items()})
    given = {"weights": str(path), "embedding": "lists", "activation": activation, "normalise": "false"}
    step = build_step("head", given, model=None, device=None, say=lambda _: None)
    cd.map_column(table, step, "two")
    found = table.to_table(["two", "two__error"]).to_pydict()

    expected = head(torch.from_numpy(vectors)).detach().numpy()
    np.testing.assert_allclose(np.array(found["two"][:7]), expected, atol=1e-5)
    assert found["two__error"][10] == "a vector of another length: 1 instead of 6"
    assert table.schema.field("two").type == pa.list_(pa.float32(), 2)


def test_one_layer_needs_no_name_and_half_precision_is_read(
    tmp_path: Path, table: cd.Table, vectors: np.ndarray
) -> None:
    path = tmp_path / "probe.npz"
    np.savez(path, coef_=np.arange(SIZE) / 10, intercept_=np.array(0.5))
    cd.map_column(table, cd.steps.Head(path, "half", normalise=False), "probe")

    found = table.to_table(["probe"]).column(0).to_pylist()[:7]
    assert found == pytest.approx((vectors @ (np.arange(SIZE) / 10) + 0.5).tolist(), abs=5e-3)


def test_a_column_is_gone_on_with_wherever_the_file_lies_and_made_again_by_it(
    tmp_path: Path, table: cd.Table, monkeypatch: Any
) -> None:
    path = saved(tmp_path, ".npz", aesthetic().state_dict())
    cd.map_column(table, cd.steps.Head(path), "aesthetic")
    (tmp_path / "elsewhere").mkdir()
    moved = path.rename(tmp_path / "elsewhere" / path.name)
    assert cd.map_column(table, cd.steps.Head(moved), "aesthetic").computed == 0

    monkeypatch.chdir(moved.parent)
    assert rebuild(table, "aesthetic", Models()).reads == ("embedding",)
    saved(moved.parent, ".npz", {name: value * 2 for name, value in aesthetic().state_dict().items()})
    with pytest.raises(LineageMismatchError):
        cd.map_column(table, cd.steps.Head(moved), "aesthetic")
    with pytest.raises(ClipdataError, match="another file than the one"):
        rebuild(table, "aesthetic", Models())


@pytest.mark.parametrize(
    ("name", "held", "said"),
    [
        ("head.bin", b"", "expected one of .npz"),
        ("head.npz", b"no zip", "cannot be read"),
        ("head.pth", b"no zip", "cannot be read"),
        ("head.safetensors", b"x", "cannot be read"),
        ("head.json", b"{", "cannot be read"),
        ("head.json", b"{}", "but not the weight"),
        ("head.json", b"[1, 2]", "neither the weight nor the bias"),
        ("head.json", b'{"bias": [1]}', "but not the weight"),
        ("head.json", b'{"weight": [[1, 2]], "bias": [1, 2]}', "1 outputs and 2 biases"),
        ("head.json", b'{"weight": [[[1]]]}', "has the shape (1, 1, 1)"),
        ("head.json", b'{"weight": [[NaN]]}', "NaN or infinity"),
        ("head.json", b'{"weight": [[1], [1, 2]]}', "cannot be read"),
        ("head.json", b'{"weight": ["a"]}', "cannot be read"),
        ("head.json", b'{"0.weight": [[1, 2]], "1.weight": [[1, 2]]}', "takes 2 numbers; the one before it gives 1"),
        ("head.json", b'{"weight": [[1]], "running_mean": [1]}', "running_mean"),
    ],
)
def test_files_that_are_no_heads_are_refused(tmp_path: Path, name: str, held: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(held)
    with pytest.raises(UsageError) as caught:
        cd.steps.Head(tmp_path / name)
    assert said in str(caught.value)


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    class Order:
        def __reduce__(self) -> Any:
            return Path.write_text, (tmp_path / "ran", "x")

    torch.save({"weight": Order()}, tmp_path / "head.pth")
    with pytest.raises(UsageError, match="cannot be read"):
        cd.steps.Head(tmp_path / "head.pth")
    assert not (tmp_path / "ran").exists()


def test_vectors_of_another_size_and_wrong_arguments_are_refused(tmp_path: Path, table: cd.Table) -> None:
    path = saved(tmp_path, ".npz", aesthetic().state_dict())
    with pytest.raises(SchemaError, match=r"holds vectors of 2 numbers; head\.npz takes 6"):
        cd.map_column(table, cd.steps.Head(path, "few"), "x")
    with pytest.raises(SchemaError, match="expected lists of numbers"):
        cd.map_column(table, cd.steps.Head(path, "text"), "x")
    with pytest.raises(UsageError, match="activation is 'tanh'"):
        cd.steps.Head(path, activation="tanh")
    with pytest.raises(UsageError, match="normalise is 1"):
        cd.steps.Head(path, normalise=1)  # type: ignore[arg-type]
    with pytest.raises(NotFoundError, match="no such file"):
        cd.steps.Head(tmp_path / "nowhere.npz")
    with pytest.raises(UsageError, match="expected a file"):
        cd.steps.Head(3)  # type: ignore[arg-type]
