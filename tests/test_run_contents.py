"""Damage to each file of a finished run: a verb says the same as before, or one clear error, and `train` mends it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import clipdata as cd
from clipdata.errors import ClipdataError, NotFoundError, StorageError, UsageError
from clipdata.trained_rows import TrainedRows
from tests.contests import contest_table
from tests.telling import Told
from tests.tiny_models import tiny_encoder

TRAIN, TEST = "split = 'train'", "split = 'test'"
CONFIG = {"epochs": 2, "batch_size": 8, "lr": 3e-3, "evaluate_where": TEST, "canary": True}
WEIGHTS = "export/open_clip_model.safetensors"
DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "gone": lambda data: None,
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "garbage": lambda data: b"\x93garbage\x00\xff" * 50,
    "zeros": lambda data: bytes(len(data)),
    "{}": lambda data: b"{}\n",
    "null": lambda data: b"null\n",
}
NEVER_SAID = re.compile(r"NoneType|KeyError|TypeError|subscriptable|Traceback|attribute|<class|utf-32|\bdict\b|__")


class World:
    """A table, the model that a finished run began with, and the run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.table = folder, contest_table(folder, 30)
        self.encoder = tiny_encoder(folder)
        self.kept = folder / "kept" / "run"
        self.again(self.kept)
        self.run = folder / "runs" / "run"

    def again(self, out: Path, progress: Told | None = None, **options: Any) -> cd.Run:
        config = cd.TrainConfig(**CONFIG)
        return cd.train(self.table, self.encoder, config, out=out, where=TRAIN, progress=progress, **options)

    def fresh(self, file: str | None = None, damage: str | None = None) -> Path:
        """A copy of the run, with a file of it damaged."""
        shutil.rmtree(self.run, ignore_errors=True)
        shutil.copytree(self.kept, self.run)
        if file is not None:
            (path,) = self.run.glob(file)
            data = path.read_bytes()
            path.unlink()
            damaged = DAMAGES[str(damage)](data)
            if damaged is not None:
                path.write_bytes(damaged)
        return self.run

    def verbs(self) -> dict[str, Callable[[], Any]]:
        """What each verb finds in the run, as values that are equal for equal runs."""
        run = self.run

        def interpolated() -> str:
            return cd.load_encoder(cd.interpolate(run, 0.5, before=self.encoder, device="cpu"), device="cpu").identity

        def reported() -> Any:
            found = cd.report(run=run).to_dict()["run"]
            return found if not found["warnings"] else pytest.fail("a warning")

        def listed() -> Any:
            (one,) = cd.runs(run)
            if one.problem is not None:
                assert one.state == "damaged"
                raise StorageError(one.problem, hint="in the list there is no room for one")
            return one

        def compared() -> Any:
            ranked = cd.compare_runs(self.table, [run], where=TEST, device="cpu").to_dict()
            return ranked["recipes"]

        def trained() -> Any:
            return without_paths(self.again(run).to_dict())

        def evaluated() -> Any:
            found = cd.evaluate(self.table, cd.load_encoder(run, device="cpu"), where=TRAIN)
            return found.evaluation.metrics, found.overlap.rows_seen_earlier

        return {
            "runs": listed,
            "report": reported,
            "interpolate": interpolated,
            "evaluate": evaluated,
            "compare": compared,
            "train": trained,
        }


def without_paths(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name not in ("path", "model")}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def whole(world: World) -> dict[str, Any]:
    """What each verb finds in the whole run."""
    world.fresh()
    return {name: find() for name, find in world.verbs().items()}


REFUSED: dict[str, set[str]] = {
    # which verbs refuse a run with this file damaged; all others say what they said before
    "config.json": {"runs", "report", "interpolate", "compare", "train"},
    "summary.json": {"runs", "report", "interpolate", "compare", "train"},
    "metrics.jsonl": {"runs", "report", "compare", "train"},
    "trained_rows.arrow": set(),
    "checkpoints/step-6/weights.safetensors": set(),
    "export/clipdata_config.json": {"runs", "report", "interpolate", "evaluate", "compare"},
    "export/open_clip_config.json": {"runs", "report", "interpolate", "evaluate", "compare"},
    WEIGHTS: {"runs", "report", "interpolate", "evaluate", "compare"},
    "export/trained_rows/*.arrow": {"interpolate", "evaluate", "compare"},
}


def _cases() -> list[tuple[str, str]]:
    """Every damage that a file may come to; values of JSON where JSON is read, and little where no verb reads it."""
    cases = []
    for file, refused in REFUSED.items():
        is_json = file.endswith((".json", ".jsonl"))
        some = [one for one in DAMAGES if is_json or one not in ("{}", "null")] if refused else ["gone", "garbage"]
        cases += [(file, damage) for damage in some if (file, damage) != ("summary.json", "gone")]  # is unfinished then
    return cases


@pytest.mark.parametrize(("file", "damage"), _cases())
def test_a_verb_says_the_same_of_a_damaged_run_or_one_clear_error(
    world: World, whole: dict[str, Any], file: str, damage: str
) -> None:
    world.fresh(file, damage)
    refused, said = set(), []
    for name, find in world.verbs().items():
        try:
            assert find() == whole[name], name
        except ClipdataError as error:
            refused.add(name)
            said.append((str(error), error.hint))
        except pytest.fail.Exception:
            refused.add(name)  # the report tells it in its warnings

    assert all(hint and not NEVER_SAID.search(text) for text, hint in said), said
    # A look at a folder sees whether such a record is there, and does not read it.
    may_differ = {"runs", "report"} if file.startswith("export/trained_rows") else set()
    assert refused | may_differ == REFUSED[file] | may_differ


# What a training does about it


def test_a_model_that_is_damaged_is_exported_anew_from_the_newest_checkpoint_bit_for_bit(world: World) -> None:
    for damage in ("gone", "cut"):
        told, run = Told(), world.fresh(WEIGHTS, damage)
        assert "damaged" in str(cd.open_run(run))

        again = world.again(run, told)

        assert any("exported anew from the newest checkpoint" in text for text in told.said)
        assert not any("finished already" in text for text in told.said)
        assert (run / WEIGHTS).read_bytes() == (world.kept / WEIGHTS).read_bytes()
        assert "finished, the tuned model is in" in str(again)
        assert (run / "summary.json").read_text() == (world.kept / "summary.json").read_text().replace(
            str(world.kept), str(run)
        )


@pytest.mark.parametrize("file", [WEIGHTS, "export"])
def test_a_model_that_is_gone_with_its_checkpoints_is_trained_anew_only_where_that_is_asked_for(
    world: World, file: str
) -> None:
    run = world.fresh()
    shutil.rmtree(run / "checkpoints")
    shutil.rmtree(run / file) if (run / file).is_dir() else (run / file).unlink()

    with pytest.raises(StorageError, match=r"no checkpoint to export its model from[^$]*--overwrite"):
        world.again(run)
    with pytest.raises(ClipdataError, match=r"--overwrite|goes on with it"):
        cd.load_encoder(run, device="cpu")
    assert world.again(run, overwrite=True).damage is None


def test_flipped_bytes_are_noticed_where_the_model_is_loaded_and_the_hint_mends_them(world: World) -> None:
    run = world.fresh()
    data = bytearray((run / WEIGHTS).read_bytes())
    data[len(data) * 2 // 3] ^= 0x40
    (run / WEIGHTS).write_bytes(bytes(data))

    with pytest.raises(
        StorageError, match=r"is not as it was written\n  hint: rm -r \S+/export; then the same"
    ) as told:
        cd.load_encoder(run, device="cpu")
    (removed,) = re.findall(r"rm -r (\S+);", str(told.value.hint))
    shutil.rmtree(removed)
    world.again(run)

    assert cd.load_encoder(run, device="cpu").identity == cd.load_encoder(world.kept, device="cpu").identity


def test_a_damaged_summary_ends_a_training_before_it_says_that_nothing_was_done(world: World) -> None:
    for damage in ("cut", "{}", "null"):
        told, run = Told(), world.fresh("summary.json", damage)

        with pytest.raises(StorageError, match=r"summary.json [^$]*hint: rm \S+summary.json; then the same") as said:
            world.again(run, told)

        assert not any("finished already" in text for text in told.said)
        assert not NEVER_SAID.search(str(said.value))
        (run / "summary.json").unlink()
        assert world.again(run).canary == cd.open_run(world.kept).canary


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"steps": None}, "steps is null; expected a whole number"),
        ({"canary": {}}, "canary is empty"),
        ({"canary": [1]}, "canary is a list; expected an object"),
        ({"canary": {"verdict": "kept"}}, "canary lacks fields, or has others"),
        ({"warnings": "none"}, "warnings is a text; expected a list"),
    ],
)
def test_a_summary_with_other_fields_is_none(world: World, fields: dict[str, Any], said: str) -> None:
    path = world.fresh() / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    with pytest.raises(StorageError, match=said):
        world.again(path.parent)


def test_a_run_that_lost_its_config_is_no_empty_folder_and_the_hint_names_its_model(world: World) -> None:
    run = world.fresh("config.json", "gone")

    with pytest.raises(UsageError, match=r"has lost its config.json[^$]*bring config.json back[^$]*--model \S+/export"):
        world.again(run)
    with pytest.raises(NotFoundError, match=r"has lost its config.json[^$]*bring config.json back"):
        cd.open_run(run)
    with pytest.raises(NotFoundError, match=r"no training run[^$]*clipdata runs \S+ lists"):
        cd.open_run(world.folder)


# An unfinished run


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "garbage", "{}"])
def test_an_unfinished_run_goes_on_only_behind_the_lines_that_its_checkpoint_counted(world: World, damage: str) -> None:
    run = world.fresh("metrics.jsonl", damage)
    (run / "summary.json").unlink()
    before = (run / "metrics.jsonl").read_bytes() if damage != "gone" else None

    with pytest.raises(StorageError, match=r"metrics.jsonl (is not whole|cannot be read): [^$]*--overwrite"):
        world.again(run)

    assert ((run / "metrics.jsonl").read_bytes() if (run / "metrics.jsonl").exists() else None) == before


@pytest.mark.parametrize("file", ["state.pt", "weights.safetensors"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_named_and_the_one_before_gives_the_same_model(
    world: World, file: str, damage: str
) -> None:
    run = world.fresh(f"checkpoints/step-6/{file}", damage)
    (run / "summary.json").unlink()

    with pytest.raises(StorageError, match=r"the checkpoint \S+step-6 [^$]*rm -r \S+step-6") as said:
        world.again(run)
    assert not NEVER_SAID.search(str(said.value))
    shutil.rmtree(run / "checkpoints" / "step-6")
    world.again(run)

    assert (run / WEIGHTS).read_bytes() == (world.kept / WEIGHTS).read_bytes()


def test_an_unfinished_run_writes_the_record_of_its_rows_again(world: World) -> None:
    for damage in ("gone", "empty", "cut", "garbage"):
        run = world.fresh("trained_rows.arrow", damage)
        with pytest.raises((NotFoundError, StorageError), match=r"trained_rows.arrow[^$]*--overwrite"):
            _ = cd.open_run(run).trained_rows
        (run / "summary.json").unlink()

        world.again(run)

        assert (run / "trained_rows.arrow").read_bytes() == (world.kept / "trained_rows.arrow").read_bytes()


def test_the_best_weights_are_not_replaced_by_the_last_ones_where_they_are_gone(tmp_path: Path, world: World) -> None:
    config = cd.TrainConfig(**{**CONFIG, "best": "accuracy", "canary": False})
    run = cd.train(world.table, world.encoder, config, out=tmp_path / "run", where=TRAIN)
    (run.path / WEIGHTS).unlink()
    shutil.rmtree(run.path / "best")

    with pytest.raises(StorageError, match=r"best/step-\d is missing[^$]*--overwrite"):
        cd.train(world.table, world.encoder, config, out=run.path, where=TRAIN)


# Which rows a model was trained on


def test_a_model_does_not_forget_its_rows_with_the_file_that_names_them(world: World) -> None:
    for damage in ("gone", "{}"):
        run = world.fresh("export/clipdata_config.json", damage)
        with pytest.raises(
            StorageError, match=r"clipdata_config.json [^$]*which rows the model was trained on\n  hint"
        ):
            cd.load_encoder(run, device="cpu")
        shutil.rmtree(run / "export" / "trained_rows")  # the run's own record still tells that there are some
        with pytest.raises(StorageError, match="which rows the model was trained on"):
            cd.load_encoder(run / "export", device="cpu")
        alone = shutil.copytree(run / "export", world.folder / f"alone {damage.strip('{}')}")
        (alone / "trained_rows").mkdir()
        (record,) = (world.kept / "export" / "trained_rows").iterdir()
        shutil.copy(record, alone / "trained_rows")
        with pytest.raises(StorageError, match=r"which rows the model was trained on\n  hint: copy the model's folder"):
            cd.load_encoder(alone, device="cpu")


def test_a_folder_of_open_clip_with_neither_goes_on_working(world: World, tmp_path: Path) -> None:
    other = shutil.copytree(world.kept / "export", tmp_path / "export")
    (other / "clipdata_config.json").unlink()
    shutil.rmtree(other / "trained_rows")
    (tmp_path / "checkpoints").mkdir()  # of somebody else's training

    assert cd.load_encoder(other, device="cpu").trained_on == ()


def test_a_record_of_rows_that_is_something_else_is_told_in_plain_words() -> None:
    for data in (b"", b"{}", b"ARROW1\0\0garbage"):
        with pytest.raises(StorageError, match="record of the rows") as said:
            TrainedRows.from_bytes(data)
        assert not NEVER_SAID.search(str(said.value))
