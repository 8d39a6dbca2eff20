"""PreparedPixels: a column of pictures as open_clip's own transform makes them, raw or as a JPEG of that size."""

from __future__ import annotations

import io
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

import clipdata as cd
from clipdata.encoder import Preparation
from clipdata.encoder.prepared_column import PreparedColumn
from clipdata.errors import LineageMismatchError, SchemaError, UsageError
from clipdata.lance_io import rows
from clipdata.schema import image_schema
from clipdata.steps.rebuilding import Models, rebuild
from pipelines.cli.app import main
from tests.pictures import encoded
from tests.tiny_models import tiny_encoder

HALF = (0.5, 0.5, 0.5)


def pictures_table(folder: Path, num: int = 6, *, more: list[bytes | None] | None = None) -> cd.Table:
    """A table with pictures of several shapes; `more` comes behind them."""
    data = [encoded(n, height=40 + 9 * n, width=80 - 7 * n) for n in range(num)] + list(more or [])
    table = rows.create_table(folder / "pictures.lance", image_schema())
    columns = {"path": [f"{n:03d}" for n in range(len(data))], "image": data, "bytes": [len(d or b"") for d in data]}
    rows.upsert(table, pa.table(columns))
    return cd.open_table(table.uri)


def by_open_clip(prepare: Preparation, data: bytes) -> np.ndarray:
    """What open_clip's transform makes of a picture before it becomes floats: uint8 [S, S, 3]."""
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    for part in image_transform_v2(PreprocessCfg(**prepare.to_config()), is_train=False).transforms[:-2]:
        picture = part(picture)
    return np.array(picture)


def levels(table: cd.Table, column: str, shape: tuple[int, int]) -> list[np.ndarray | None]:
    return [
        np.array(value.values).reshape(*shape, 3) if value.is_valid else None
        for value in table.to_table([column]).column(0)
    ]


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
def test_raw_pixels_are_open_clips_own_level_for_level(tmp_path: Path, mode) -> None:
    prepare = Preparation((32, 32), HALF, HALF, "bicubic", mode, 9).with_fidelity("fast")
    table = pictures_table(tmp_path)

    cd.map_column(table, cd.steps.PreparedPixels(prepare), "ready")

    assert table.schema.field("ready").type == pa.list_(pa.uint8(), 32 * 32 * 3)
    for found, data in zip(levels(table, "ready", (32, 32)), table.to_table(["image"])["image"], strict=True):
        assert np.array_equal(found, by_open_clip(prepare, data.as_py()))


def test_a_jpeg_has_the_models_size_and_is_off_by_as_little_as_is_printed(tmp_path: Path) -> None:
    prepare, table = Preparation((64, 64), HALF, HALF), pictures_table(tmp_path)

    done = cd.map_column(table, cd.steps.PreparedPixels(prepare, "jpeg"), "ready")

    assert table.schema.field("ready").type == pa.binary()
    errors = []
    for value, data in zip(table.to_table(["ready"])["ready"], table.to_table(["image"])["image"], strict=True):
        picture = Image.open(io.BytesIO(value.as_py()))
        assert (picture.format, picture.size) == ("JPEG", (64, 64))
        errors.append(np.abs(np.asarray(picture).astype(int) - by_open_clip(prepare, data.as_py())).mean())
    said = done.notes["jpeg (chosen)"]
    assert float(said.split("mean error ")[1].split()[0]) == pytest.approx(np.mean(errors), rel=0.02)
    assert np.mean(errors) < 4
    rough = pictures_table(tmp_path / "rough")
    cd.map_column(rough, cd.steps.PreparedPixels(prepare, "jpeg", quality=30), "ready")
    size = sum(len(value.as_py()) for value in table.to_table(["ready"])["ready"])
    assert sum(len(value.as_py()) for value in rough.to_table(["ready"])["ready"]) < size / 2


def test_the_choice_is_printed_with_bytes_rates_and_error_also_by_a_dry_run(tmp_path: Path, capsys) -> None:
    table = pictures_table(tmp_path)
    tiny_encoder(tmp_path)

    for more in (["--dry-run"], []):
        command = ["map", table.uri, "prepared-pixels", "ready", "--model", str(tmp_path / "tiny-0"), *more]
        assert main(command) == 0
        said = capsys.readouterr().out
        assert "raw (chosen): 3,072 bytes a picture (18 KiB for 6 rows)" in said
        assert "× the rate of the originals, exact" in said
        assert "  jpeg: " in said
        assert "mean error " in said
    assert (
        main(["map", table.uri, "prepared-pixels", "other", "--model", str(tmp_path / "tiny-0"), "-p", "kind=png"]) == 2
    )
    assert "kind is 'png'; expected 'raw' or 'jpeg'" in capsys.readouterr().err


def test_pictures_that_cannot_be_used_stay_null_with_the_reason_and_each_distinct_one_is_decoded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = encoded(1)
    table = pictures_table(tmp_path, 0, more=[same, same, b"no picture", None, same[:300], same])
    step = cd.steps.PreparedPixels(Preparation((32, 32), HALF, HALF))
    asked = []
    monkeypatch.setattr(step, "_levels", lambda pixels, of=step._levels: asked.append(1) or of(pixels))

    done = cd.map_column(table, step, "ready")

    assert len(asked) == 1
    assert [found is not None for found in levels(table, "ready", (32, 32))] == [True, True, False, False, False, True]
    assert done.num_failed == 3
    reasons = table.to_table(["ready__error"]).column(0).to_pylist()
    assert [reason.split(":")[0] if reason else None for reason in reasons] == [
        None, None, "not_an_image", "no image", "truncated", None,
    ]  # fmt: skip


def test_the_lineage_is_that_of_the_preparation_and_not_of_the_weights(tmp_path: Path) -> None:
    one, other = tiny_encoder(seed=0), tiny_encoder(seed=1)
    table = pictures_table(tmp_path)
    cd.map_column(table, cd.steps.PreparedPixels(one), "ready")

    assert cd.map_column(table, cd.steps.PreparedPixels(other), "ready").computed == 0
    again = rebuild(table, "ready", Models())  # which loads no model
    assert isinstance(again, cd.steps.PreparedPixels)
    held = PreparedColumn.of(table.lineage("ready"))
    assert held is not None
    assert held.preparation.identity == one.prepare.identity
    assert table.lineage("ready").model is None
    assert table.lineage("ready").model_name == one.name
    bilinear = Preparation((32, 32), HALF, HALF, "bilinear")
    with pytest.raises(LineageMismatchError, match="bilinear"):
        cd.map_column(table, cd.steps.PreparedPixels(bilinear), "ready")


def test_a_larger_side_is_prepared_for_random_crops(tmp_path: Path) -> None:
    prepare, table = Preparation((32, 24), HALF, HALF), pictures_table(tmp_path)
    cd.map_column(table, cd.steps.PreparedPixels(prepare, side=36), "ready")

    stored = Preparation((48, 36), HALF, HALF)
    for found, data in zip(levels(table, "ready", (48, 36)), table.to_table(["image"])["image"], strict=True):
        assert np.array_equal(found, by_open_clip(stored, data.as_py()))
    held = PreparedColumn.of(table.lineage("ready"))
    assert held is not None
    assert held.differences(prepare) == ["size 48 × 36; expected 32 × 24"]
    assert held.differences(prepare, larger=True) == []
    assert held.differences(Preparation((64, 48), HALF, HALF, "bilinear"), larger=True) == [
        "interpolation 'bicubic'; expected 'bilinear'",
        "size 48 × 36; expected at least 64 × 48",
    ]


def test_what_the_step_cannot_be_made_of_is_said_at_once(tmp_path: Path) -> None:
    prepare = Preparation((32, 32), HALF, HALF)
    for arguments, said in [
        ({"kind": "png"}, "kind is 'png'; expected 'raw' or 'jpeg'"),
        ({"side": 31}, "side is 31; expected a whole number, at least 32"),
        ({"quality": 0}, "quality is 0"),
        ({"quality": 101}, "quality is 101; expected 1 to 100"),
        ({"image": ""}, "image is ''"),
    ]:
        with pytest.raises(UsageError, match=said.replace("(", r"\(")):
            cd.steps.PreparedPixels(prepare, **arguments)
    with pytest.raises(UsageError, match="encoder is 'ViT-B-32'; expected a model"):
        cd.steps.PreparedPixels("ViT-B-32")
    table = pictures_table(tmp_path)
    with pytest.raises(SchemaError, match="column 'path' holds string; expected bytes of pictures"):
        cd.map_column(table, cd.steps.PreparedPixels(prepare, image="path"), "ready")
    assert lance.dataset(table.uri).version == table.version
