"""Exports stand alone: equal features after loading, moving, replacing, and in open_clip without clipdata."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import time
from pathlib import Path

import numpy as np
import open_clip
import pyarrow as pa
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from clipdata.encoder import Encoder, export, load_encoder, new_encoder
from clipdata.errors import StorageError, UsageError
from clipdata.trained_rows import TrainedRows, digests
from tests.pictures import drawing
from tests.tiny_models import tiny_config, tiny_dual_encoder

TEXTS = ["a cat", "two dogs on a table"]


@pytest.fixture(params=["open_clip's tokenizer", "hugging face towers"])
def encoder(request: pytest.FixtureRequest, tmp_path: Path) -> Encoder:
    """A model whose preprocessing differs from every default, so that losing a part of it shows."""
    if request.param == "hugging face towers":
        return tiny_dual_encoder(tmp_path / "parts")
    preprocess_cfg = {"mean": (0.1, 0.2, 0.3), "resize_mode": "longest", "interpolation": "bilinear", "fill_color": 9}
    return new_encoder(tiny_config(quick_gelu=True), preprocess_cfg=preprocess_cfg, device="cpu")


def features(encoder: Encoder) -> tuple[torch.Tensor, torch.Tensor]:
    image_BCHW = torch.stack([encoder.prepare(drawing(seed, 40, 70)) for seed in range(3)])
    return encoder.encode_images(image_BCHW), encoder.encode_texts(TEXTS)


def assert_same(found: Encoder, expected: Encoder) -> None:
    for ours, theirs in zip(features(found), features(expected), strict=True):
        assert torch.equal(ours, theirs)
    assert found.identity == expected.identity
    assert found.trunk_identity == expected.trunk_identity
    assert found.prepare == expected.prepare


def test_a_loaded_export_gives_equal_features(encoder: Encoder, tmp_path: Path) -> None:
    assert_same(load_encoder(export(encoder.model, encoder, tmp_path / "model"), device="cpu"), encoder)


def test_an_export_may_be_moved_and_exported_again(encoder: Encoder, tmp_path: Path) -> None:
    first = export(encoder.model, encoder, tmp_path / "model")
    moved = first.rename(tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "parts", ignore_errors=True)  # what the model was first made from

    loaded = load_encoder(moved, device="cpu")
    again = load_encoder(export(loaded.model, loaded, tmp_path / "again"), device="cpu")

    assert_same(loaded, encoder)
    assert_same(again, encoder)


def test_open_clip_loads_an_export_by_itself(encoder: Encoder, tmp_path: Path) -> None:
    path = export(encoder.model, encoder, tmp_path / "model")
    image_BD, text_BD = features(encoder)

    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{path}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{path}")
    with torch.no_grad():
        pictures = [preprocess(Image.fromarray(drawing(seed, 40, 70))) for seed in range(3)]
        found_image_BD = model.eval().encode_image(torch.stack(pictures), normalize=True)
        found_text_BD = model.encode_text(tokenizer(TEXTS), normalize=True)

    torch.testing.assert_close(found_image_BD, image_BD, atol=2e-4, rtol=0)
    torch.testing.assert_close(found_text_BD, text_BD)


def test_the_weights_written_are_those_of_the_model_given(tmp_path: Path) -> None:
    encoder = new_encoder(tiny_config(), device="cpu")
    trained = new_encoder(tiny_config(), seed=1, device="cpu")

    loaded = load_encoder(export(trained.model, encoder, tmp_path / "model"), device="cpu")

    assert loaded.identity == trained.identity != encoder.identity


def test_any_memory_layout_and_shared_weights_are_written_plainly(tmp_path: Path) -> None:
    encoder = tiny_dual_encoder(tmp_path / "parts")
    encoder.model.to(memory_format=torch.channels_last)
    block = encoder.model.text.transformer.encoder.layer
    block[1].output.dense.weight = nn.Parameter(block[0].output.dense.weight.data)

    path = export(encoder.model, encoder, tmp_path / "model")

    assert load_encoder(path, device="cpu").identity == encoder.identity
    assert all(tensor.is_contiguous() for tensor in load_file(path / "open_clip_model.safetensors").values())


def test_an_export_replaces_an_earlier_one_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    first, second = new_encoder(tiny_config(), device="cpu"), new_encoder(tiny_config(), seed=1, device="cpu")
    path = export(first.model, first, tmp_path / "model")
    (path / "note.txt").write_text("of the first")

    export(second.model, second, path)

    assert load_encoder(path, device="cpu").identity == second.identity
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]
    assert not (path / "note.txt").exists()


def test_a_folder_with_something_else_is_not_touched(tmp_path: Path) -> None:
    encoder = new_encoder(tiny_config(), device="cpu")
    (tmp_path / "thesis.txt").write_text("years of work")

    with pytest.raises(UsageError, match="exists and is not an exported model"):
        export(encoder.model, encoder, tmp_path)
    with pytest.raises(UsageError, match="exists and is not an exported model"):
        export(encoder.model, encoder, tmp_path / "thesis.txt")

    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_an_export_that_fails_leaves_the_earlier_one_and_nothing_else(tmp_path: Path) -> None:
    encoder = new_encoder(tiny_config(), device="cpu")
    path = export(encoder.model, encoder, tmp_path / "model")
    (tmp_path / "file").write_text("not a folder")
    unsaved = new_encoder(tiny_config(), seed=1, device="cpu")
    unsaved.model_cfg["init_logit_scale"] = object()  # cannot be written as JSON, which shows after the weights

    with pytest.raises(TypeError):
        export(unsaved.model, unsaved, path)
    with pytest.raises(StorageError, match="cannot write the model"):
        export(encoder.model, encoder, tmp_path / "file" / "model")

    assert load_encoder(path, device="cpu").identity == encoder.identity
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "model"]


def test_what_a_killed_writer_left_is_removed_once_it_is_old(tmp_path: Path) -> None:
    encoder = new_encoder(tiny_config(), device="cpu")
    old, fresh = tmp_path / ".model.writing-old", tmp_path / ".model.writing-fresh"
    old.mkdir()
    fresh.mkdir()
    os.utime(old, (time.time() - 7200,) * 2)

    export(encoder.model, encoder, tmp_path / "model")

    assert not old.exists()
    assert fresh.exists()


def test_an_export_says_what_it_is_and_how_to_load_it(encoder: Encoder, tmp_path: Path) -> None:
    path = export(encoder.model, encoder, tmp_path / "model")

    about = json.loads((path / "clipdata_config.json").read_text())
    readme = (path / "README.md").read_text()

    files = about.pop("files")
    assert files == {
        entry.name: hashlib.sha256(entry.read_bytes()).hexdigest()
        for entry in path.iterdir()
        if entry.name not in ("README.md", "open_clip_config.json", "clipdata_config.json")
    }
    assert about == {
        "format": 1,
        "name": encoder.name,
        "made_from": encoder.identity,
        "precision": "fp32",
        "trained_rows": [],
    }
    assert f'open_clip.create_model_and_transforms("local-dir:{path}")' in readme
    assert ("After the folder was moved" in readme) == (path / "config.json").is_file()
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.iterdir()} == {0o644}


def seen(table: str, *paths: str) -> TrainedRows:
    keys = np.unique(digests(pa.array(paths)))
    return TrainedRows(table, 3, "split = 'train'", len(paths), keys, np.empty(0, np.uint64), 0, len(paths))


def test_an_export_carries_the_rows_of_every_training_in_its_past(tmp_path: Path) -> None:
    pretrained = new_encoder(tiny_config(), device="cpu")
    first, second = seen("a.lance", "1", "2"), seen("b.lance", "3")

    tuned = load_encoder(export(pretrained.model, pretrained, tmp_path / "tuned", trained_on=(first,)), device="cpu")
    again = load_encoder(export(tuned.model, tuned, tmp_path / "again", trained_on=(second, first)), device="cpu")

    assert pretrained.trained_on == ()
    assert [rows.to_record() for rows in tuned.trained_on] == [first.to_record()]
    assert [rows.to_record() for rows in again.trained_on] == [first.to_record(), second.to_record()]
    assert again.trained_on[1].keys.tolist() == second.keys.tolist()
    assert again.identity == pretrained.identity  # the weights are the same; what was read is no part of them


def test_a_model_whose_record_of_trained_rows_is_gone_or_changed_is_refused(tmp_path: Path) -> None:
    encoder = new_encoder(tiny_config(), device="cpu")
    path = export(encoder.model, encoder, tmp_path / "model", trained_on=(seen("a.lance", "1"),))
    (record,) = (path / "trained_rows").iterdir()
    record.write_bytes(seen("a.lance", "2").to_bytes()[:-9])
    with pytest.raises(StorageError, match="trained on"):
        load_encoder(path, device="cpu")

    record.unlink()
    with pytest.raises(StorageError, match="which rows the model was trained on"):
        load_encoder(path, device="cpu")


def test_a_model_is_loaded_at_the_precision_it_was_exported_at(tmp_path: Path) -> None:
    encoder = new_encoder(tiny_config(), device="cpu", precision="bf16")
    path = export(encoder.model, encoder, tmp_path / "model")

    loaded, asked = load_encoder(path, device="cpu"), load_encoder(path, device="cpu", precision="fp32")

    assert (loaded.precision, asked.precision) == ("bf16", "fp32")
    assert loaded.identity == encoder.identity
    assert loaded.trunk_identity == encoder.trunk_identity


@pytest.mark.parametrize("failing", [".model.writing-", "config"])
def test_an_earlier_export_survives_one_that_fails_at_its_last_step(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = new_encoder(tiny_config(), device="cpu"), new_encoder(tiny_config(), seed=1, device="cpu")
    path = export(first.model, first, tmp_path / "model")
    rename, write_text = Path.rename, Path.write_text

    def full_disk(self: Path, *given: object, **options: object) -> object:
        if failing in self.name:
            raise OSError(28, "No space left on device")
        return (write_text if options else rename)(self, *given, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "rename" if failing.startswith(".") else "write_text", full_disk)
    with pytest.raises(StorageError, match="No space left"):
        export(second.model, second, path)
    monkeypatch.undo()

    assert load_encoder(path, device="cpu").identity == first.identity
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


def test_an_export_that_was_killed_between_its_renames_comes_back(tmp_path: Path) -> None:
    first, second = new_encoder(tiny_config(), device="cpu"), new_encoder(tiny_config(), seed=1, device="cpu")
    path = export(first.model, first, tmp_path / "model")
    old = tmp_path / ".model.old-killed"
    old.mkdir()
    path.rename(old / "model")
    os.utime(old, (time.time() - 60,) * 2)
    second.model_cfg["init_logit_scale"] = object()

    with pytest.raises(TypeError):
        export(second.model, second, path)

    assert load_encoder(path, device="cpu").identity == first.identity


def test_open_clip_loads_a_moved_export_once_clipdata_has(encoder: Encoder, tmp_path: Path) -> None:
    moved = export(encoder.model, encoder, tmp_path / "model").rename(tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "parts", ignore_errors=True)

    _, text_BD = features(load_encoder(moved, device="cpu"))
    model = open_clip.create_model(f"local-dir:{moved}").eval()
    with torch.no_grad():
        found_text_BD = model.encode_text(open_clip.get_tokenizer(f"local-dir:{moved}")(TEXTS), normalize=True)

    torch.testing.assert_close(found_text_BD, text_BD)


def test_an_encoder_made_in_inference_mode_has_the_same_identity_and_may_be_trained(tmp_path: Path) -> None:
    expected = new_encoder(tiny_config(), device="cpu").identity

    with torch.inference_mode():
        encoder = new_encoder(tiny_config(), device="cpu")
        loaded = load_encoder(export(encoder.model, encoder, tmp_path / "model"), device="cpu")
        assert loaded.identity == encoder.identity == expected

    assert not any(parameter.is_inference() for parameter in loaded.model.parameters())


def test_weights_that_torch_does_not_count_are_digested_anew() -> None:
    encoder = new_encoder(tiny_config(), device="cpu")
    before = encoder.identity
    with torch.inference_mode():
        encoder.model.visual.proj = nn.Parameter(encoder.model.visual.proj.clone(), requires_grad=False)
        assert encoder.identity == before
        encoder.model.visual.proj += 1

    assert encoder.identity != before
