"""Which pixels a training reads: prepared ones where they fit, changed at random where asked; what the run records."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import clipdata as cd
from clipdata.encoder import Encoder
from clipdata.errors import ConfigError, LineageMismatchError, SchemaError, UsageError
from clipdata.training.config import TrainConfig
from clipdata.training.fine_tuning import train
from tests.contests import contest_table
from tests.telling import Told
from tests.tiny_models import tiny_encoder

TRAIN = "split = 'train'"


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return tiny_encoder()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, encoder: Encoder) -> cd.Table:
    table = contest_table(tmp_path_factory.mktemp("contest"))
    cd.map_column(table, cd.steps.PreparedPixels(encoder), "ready")
    cd.map_column(table, cd.steps.PreparedPixels(encoder, side=40), "large")
    cd.map_column(table, cd.steps.ImageTrunk(encoder), "trunk")
    return table


def quick(**changes) -> TrainConfig:
    settings = {"epochs": 2, "batch_size": 8, "lr": 3e-3, "train": "all", "shuffle": False}
    return TrainConfig(**{**settings, "evaluate_where": "split = 'test'", **changes})


def losses(run: cd.Run) -> list[float]:
    return [line["loss"] for line in run.metrics]


def same(one: cd.Run, other: cd.Run) -> bool:
    left, right = (load_file(run.export_path / "open_clip_model.safetensors") for run in (one, other))
    return all(torch.equal(left[name], right[name]) for name in left)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each picture that was decoded."""
    from clipdata.images import batches

    seen: list[int] = []
    real = batches.decode_onto
    monkeypatch.setattr(batches, "decode_onto", lambda *given, **options: seen.append(1) or real(*given, **options))
    return seen


def test_prepared_pixels_train_bit_for_bit_as_exact_ones_and_no_picture_is_decoded(tmp_path, encoder, filled, decoded):
    exact = train(filled, encoder, quick(fidelity="exact", prepared=None), out=tmp_path / "exact", where=TRAIN)
    assert decoded
    decoded.clear()
    told = Told()

    read = train(filled, encoder, quick(), out=tmp_path / "read", where=TRAIN, progress=told)

    assert not decoded
    assert losses(read) == losses(exact)
    assert same(read, exact)
    assert "pixels come from column 'ready' (raw, exact)" in told.said
    pixels = read.record["table"]["pixels"]
    assert (pixels["column"], pixels["kind"], pixels["version"]) == ("ready", "raw", filled.version)
    assert exact.record["table"]["pixels"]["column"] == "image"


def test_a_trunk_column_decodes_nothing_and_other_pictures_features_are_refused(tmp_path, encoder, filled, decoded):
    told = Told()
    config = quick(train="projections", image_trunk="trunk")
    run = train(filled, encoder, config, out=tmp_path / "run", where=TRAIN, progress=told)
    assert not decoded
    assert "pixels" not in run.record["table"]
    assert not any("pixels come from" in said for said in told.said)

    with pytest.raises(SchemaError, match="expected the bytes of images") as refused:
        train(filled, encoder, quick(image="trunk"), out=tmp_path / "other")
    assert refused.value.hint == "--set image_trunk=trunk reads it"
    with pytest.raises(SchemaError, match="expected the bytes of images") as refused:
        train(filled, encoder, quick(image="ready"), out=tmp_path / "other")
    assert refused.value.hint == "--set prepared=ready reads it"

    table = cd.open_table(filled.uri)
    for version in ("1", "2"):
        copied = cd.step(reads="image", returns="binary", version=version)(_same)
        cd.map_column(table, copied, "copy", overwrite=True)
        if version == "1":
            cd.map_column(table, cd.steps.ImageTrunk(encoder, image="copy"), "copy_trunk")
    with pytest.raises(LineageMismatchError, match=r"features of other pictures: column 'copy'.*made anew"):
        train(table, encoder, quick(train="projections", image_trunk="copy_trunk"), out=tmp_path / "stale")


def _same(image: bytes) -> bytes:
    return image


def test_a_column_that_is_named_is_held_to_fit(tmp_path, encoder, filled):
    with pytest.raises(LineageMismatchError, match="size 40 × 40; expected 32 × 32"):
        train(filled, encoder, quick(prepared="large"), out=tmp_path / "run")
    other = tiny_encoder(preprocess_cfg={"interpolation": "bilinear"})
    told = Told()
    plan = train(filled, other, quick(), out=tmp_path / "run", dry_run=True, progress=told)
    assert "decoded ('ready': interpolation 'bicubic'; expected 'bilinear'" in " ".join(told.said)
    assert plan.record["table"]["pixels"]["kind"] == "decoded"


class Stops(Told):
    """Ends the run at a step, as a kill does."""

    def advance(self, num=1):
        super().advance(num)
        if self.steps == 5:
            raise KeyboardInterrupt


def test_augmented_rows_train_the_same_under_any_workers_and_after_a_resume_and_none_that_is_measured_is_changed(
    tmp_path, encoder, filled
):
    augment = cd.Augmentation((0.3, 1.0), flip=0.5, color_jitter=(0.4, 0.4, 0.4, 0.1))
    config = quick(augment=augment, checkpoint_every_steps=2)
    told = Told()
    whole = train(filled, encoder, config, out=tmp_path / "whole", where=TRAIN, progress=told)
    plain = train(filled, encoder, quick(), out=tmp_path / "plain", where=TRAIN)

    assert "pixels come from column 'large' (raw, exact)" in told.said
    assert losses(whole) != losses(plain)
    assert whole.epochs[0]["held_out_loss"] == plain.epochs[0]["held_out_loss"], "measured before the first step"
    assert whole.record["config"]["augment"] == augment.to_json()

    with pytest.raises(KeyboardInterrupt):
        train(filled, encoder, config, out=tmp_path / "parts", where=TRAIN, progress=Stops())
    with pytest.raises(UsageError, match=r"augment was {.*} and is None now"):
        train(filled, encoder, quick(checkpoint_every_steps=2), out=tmp_path / "parts", where=TRAIN)
    parts = train(filled, encoder, config, out=tmp_path / "parts", where=TRAIN)
    assert losses(parts) == losses(whole)
    assert same(parts, whole)


def test_augment_and_prepared_are_set_as_other_fields_are():
    set_ = TrainConfig().with_settings({"augment": '{"scale": [0.5, 1], "flip": 0.5}', "prepared": "none"})
    assert set_.augment == cd.Augmentation((0.5, 1.0), flip=0.5)
    assert set_.prepared is None
    assert TrainConfig.from_json(json.dumps(set_.to_json())) == set_
    assert TrainConfig().with_settings({"augment": "{}"}).augment == cd.Augmentation()
    assert set_.with_settings({"augment": "none", "fidelity": "scaled"}).augment is None
    assert (TrainConfig().augment, TrainConfig().prepared) == (None, "auto")
    for text, said in [
        ("strong", "augment is 'strong'; expected JSON of scale, ratio, flip"),
        ("[0.5, 1]", "augment is '\\[0.5, 1\\]'; expected JSON"),
        ('{"flip": 2}', "flip is 2; expected a chance"),
        ('{"hflip": 1}', "no field hflip"),
    ]:
        with pytest.raises(ConfigError, match=said):
            TrainConfig().with_settings({"augment": text})
    with pytest.raises(ConfigError, match=r"augment is 0\.5; expected JSON of"):
        TrainConfig(augment=0.5)
    with pytest.raises(ConfigError, match="no picture is read where features are: expected augment=none"):
        TrainConfig(image_trunk="trunk", augment=cd.Augmentation())
    with pytest.raises(ConfigError, match="expected prepared=none"):
        TrainConfig(image_trunk="trunk", prepared="ready")


def test_evaluate_reads_prepared_pixels_and_finds_the_same(encoder, filled, decoded, tmp_path: Path):
    found = cd.evaluate(filled, encoder, where="split = 'test'")
    assert not decoded
    table = contest_table(tmp_path)
    assert cd.evaluate(table, encoder, where="split = 'test'").evaluation.metrics == found.evaluation.metrics
    assert decoded
