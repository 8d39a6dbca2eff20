"""The canary: whether a fine-tune cost what the model knew, told in the run, to people and to programs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import clipdata as cd
from clipdata.encoder import Encoder, export, load_encoder
from clipdata.errors import UsageError
from clipdata.training.canary import Canary, check_canary
from clipdata.training.canary_features import KeptFeatures
from clipdata.training.canary_set import TEMPLATES, canary_set
from clipdata.training.config import TrainConfig
from clipdata.training.fine_tuning import train
from pipelines.cli.app import VERBS, main
from pipelines.cli.json_output import schema_of
from pipelines.sample import images_path
from tests.contests import contest_table
from tests.json_schemas import check_schema
from tests.knowing_models import changed, knowing_encoder
from tests.telling import Told
from tests.tiny_models import tiny_encoder

SET = Path(cd.__file__).parent / "training" / "canary_set"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLIPDATA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def knowing() -> Encoder:
    return knowing_encoder()


# What is shipped


def test_the_set_is_small_free_and_no_part_of_the_sample():
    told, shown = json.loads((SET / "set.json").read_text("utf-8")), canary_set()

    assert {one["licence"].lower() for one in told["pictures"]} <= {"public domain", "cc0-1.0"}
    assert all(one["author"] and one["source"].startswith("https://") for one in told["pictures"])
    assert sum(path.stat().st_size for path in (SET / "pictures").iterdir()) < 1_000_000
    assert {path.name for path in (SET / "pictures").iterdir()} == set(shown.files)
    digests = {hashlib.sha256(path.read_bytes()).digest() for path in (SET / "pictures").iterdir()}
    assert len(digests) == len(shown.files)
    assert not digests & {hashlib.sha256(path.read_bytes()).digest() for path in images_path().rglob("*.png")}


def test_every_class_has_a_picture_and_a_name_of_its_own_in_each_language():
    shown = canary_set()

    assert set(shown.label_P) == set(range(shown.num_classes))
    assert shown.names.keys() == TEMPLATES.keys()
    for language, names in shown.names.items():
        assert len(set(names)) == len(names) == shown.num_classes
        assert len(set(shown.prompts(language))) == shown.num_classes * len(TEMPLATES[language])
    assert all(max(pixels.shape) == 256 and pixels.dtype == np.uint8 for pixels in shown.pixels())


# What is found


def test_scores_are_those_of_plain_zero_shot_classification(knowing):
    shown, found = canary_set(), check_canary(knowing, changed(knowing, noise=0.1))

    for encoder, accuracy in (
        (knowing, found.accuracy.before),
        (changed(knowing, noise=0.1), found.accuracy.after),
    ):
        prompts = [f"{words} {name}." for words in ("a photo of a", "a") for name in shown.names["en"]]
        first_CD, second_CD = encoder.encode_texts(prompts).chunk(2)
        class_CD = torch.nn.functional.normalize(first_CD + second_CD, dim=1)
        image_PD = encoder.encode_images(torch.stack([encoder.prepare(pixels) for pixels in shown.pixels()]))
        right = (image_PD @ class_CD.T).argmax(1).numpy() == shown.label_P
        assert accuracy == pytest.approx(np.mean(right))


def test_a_model_that_changed_little_is_shown_to_have_kept_what_it_knew(knowing):
    same, nearly = check_canary(knowing, knowing), check_canary(knowing, changed(knowing, noise=0.01))

    assert (same.verdict, same.probability.difference, same.accuracy.difference) == ("kept", 0.0, 0.0)
    assert (nearly.verdict, nearly.margin.not_worse) == ("kept", True)
    assert "kept, the same within 5 points" in str(same)


def test_a_ruined_model_is_called_worse_and_what_it_lost_is_named(knowing):
    found = check_canary(knowing, changed(knowing, noise=0.3))

    assert (found.verdict, found.margin.not_worse) == ("worse", False)
    assert found.accuracy.after < 0.2 < found.accuracy.before
    assert set(found.lost) <= set(canary_set().names["en"])
    assert f"WORSE, it lost {found.lost[0]}, " in str(found)


def test_a_model_whose_features_are_no_numbers_is_worse(knowing):
    broken = changed(knowing)
    with torch.no_grad():
        broken.model.visual.proj.fill_(float("nan"))

    found = check_canary(knowing, broken)

    assert (found.verdict, found.accuracy.after, found.probability.after) == ("worse", 0.0, 0.0)


def test_a_low_temperature_hides_nothing(knowing):
    cold, ruined = changed(knowing), changed(knowing, noise=0.3)
    for encoder in (cold, ruined):
        with torch.no_grad():
            encoder.model.logit_scale.zero_()

    assert check_canary(cold, ruined).verdict == "worse"


def test_a_model_that_guesses_has_nothing_to_lose():
    encoder = tiny_encoder()

    found = check_canary(encoder, changed(encoder, noise=1.0))

    assert (found.verdict, found.accuracy, found.margin) == ("nothing to lose", None, None)
    assert found.accuracy_before < 0.08
    assert "nothing to lose" in str(found)


def test_a_model_that_reads_chinese_is_asked_in_chinese():
    chinese = knowing_encoder("zh")

    found = check_canary(chinese, changed(chinese, noise=0.3))

    assert (found.language, found.verdict) == ("zh", "worse")
    assert set(found.lost) <= set(canary_set().names["zh"])


def test_two_models_are_wanted(knowing):
    with pytest.raises(UsageError, match="check_canary: after"):
        check_canary(knowing, "runs/x")


# What is kept


def test_features_are_found_again_and_a_torn_file_is_not_believed(knowing, cache):
    computed = KeptFeatures(knowing, canary_set()).trunk()
    (file,) = (cache / "canary").rglob("*.kept")

    found = KeptFeatures(knowing, canary_set()).trunk()
    changed_s = file.stat().st_mtime_ns
    file.write_bytes(file.read_bytes()[:-8])
    mended = KeptFeatures(knowing, canary_set()).trunk()

    assert torch.equal(computed, found)
    assert torch.equal(computed, mended)
    assert file.stat().st_mtime_ns != changed_s
    assert KeptFeatures(changed(knowing), canary_set()).trunk().data_ptr() != computed.data_ptr()


def test_without_a_cache_it_says_the_same(knowing, cache):
    with_cache = check_canary(knowing, changed(knowing, noise=0.03))
    (cache / "canary").rename(cache / "elsewhere")
    (cache / "canary").write_text("no folder")

    assert check_canary(knowing, changed(knowing, noise=0.03)) == with_cache


# What a run says


def quick(**changes) -> TrainConfig:
    return TrainConfig(**{"epochs": 1, "batch_size": 8, "lr": 1e-4, **changes})


def test_a_run_says_what_became_of_the_rest_to_people_and_programs(tmp_path, knowing, capsys):
    table, told = contest_table(tmp_path), Told()
    model = export(knowing.model, knowing, tmp_path / "knowing")
    loaded = load_encoder(model, device="cpu")

    gentle = train(table, loaded, quick(lr=1e-6), out=tmp_path / "gentle", progress=told)
    rough = train(table, loaded, quick(lr=0.1, epochs=4), out=tmp_path / "rough")

    assert gentle.canary.verdict == "kept"
    assert gentle.canary == Canary.from_dict(gentle.to_dict()["canary"])
    assert str(gentle.canary) in told.said
    assert str(gentle.canary) in str(gentle)
    assert rough.canary.verdict == "worse"
    assert check_canary(loaded, rough.encoder(device="cpu")) == rough.canary
    again = ["train", table.uri, "-m", str(model), "--out", str(tmp_path / "told"), "-s", "epochs=1", "--device", "cpu"]
    asked = ["check-canary", str(tmp_path / "rough"), "--against", str(model), "--device", "cpu"]
    code, trained = printed(capsys, *again)
    assert (code, trained["canary"]["num_pictures"]) == (0, len(canary_set().files))
    code, checked = printed(capsys, *asked)
    assert (code, checked["verdict"]) == (0, "worse")


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict]:
    """What a verb prints, held to its schema."""
    code = main([*words, "--json"])
    found = json.loads(capsys.readouterr().out)
    command = next(one for one in VERBS if one.words == words[0])
    check_schema(found, schema_of(command.words, command.found))
    return code, found


def test_it_can_be_left_out_and_is_no_part_of_a_result(tmp_path, knowing):
    table, told = contest_table(tmp_path), Told()

    without = train(table, knowing, quick(canary=False), out=tmp_path / "run", progress=told)

    assert without.canary is None
    assert "canary" not in without.to_dict()
    assert not [line for line in told.said if "canary" in line]
    again = train(table, knowing, quick(), out=tmp_path / "run", progress=told)
    assert told.said[-1].endswith("is finished already; nothing was done")
    assert again.canary is None


# Real weights


@pytest.fixture(scope="module")
def starter_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("starter")


@pytest.fixture
def starter(starter_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Encoder:
    """The starter, whose features of the canary are computed by whoever asks first."""
    monkeypatch.delenv("CLIPDATA_CACHE")
    encoder = load_encoder("starter", device="cpu")
    monkeypatch.setenv("CLIPDATA_CACHE", str(starter_cache))
    return encoder


def test_a_usual_fine_tune_keeps_and_a_rate_100_times_too_high_ruins(tmp_path, starter):
    table = contest_table(tmp_path, 30)
    cd.map_column(table, cd.steps.ImageTrunk(starter), "image_trunk")
    table = cd.open_table(table.uri)
    recipe = {"image_trunk": "image_trunk", "steps": 40, "evaluate_where": None}

    usual = train(table, starter, cd.recipes.caption_contest(**recipe), out=tmp_path / "usual")
    ruined = train(table, starter, cd.recipes.caption_contest(**recipe, lr=0.1, pull=0.0), out=tmp_path / "ruined")

    assert usual.canary.accuracy_before > 0.35
    assert usual.canary.verdict in ("kept", "cannot be told")
    assert abs(usual.canary.probability.difference) < 0.05
    assert ruined.canary.verdict == "worse"
    assert ruined.canary.probability.high < -0.1


def test_all_weights_on_sixteen_rows_are_caught(tmp_path, starter):
    config = quick(train="all", lr=1e-3, steps=16, batch_size=4, evaluate_where=None)
    told = Told()

    run = train(contest_table(tmp_path, 16), starter, config, out=tmp_path / "run", progress=told)

    assert f"to keep more of it: clipdata interpolate {tmp_path / 'run'} --sweep" in told.said
    assert run.canary.verdict == "worse"
    assert run.canary.accuracy.after < run.canary.accuracy.before / 2
