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
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "garbage": lambda data: b"\x93garbage\x00\xff" * 50,
    "{}": lambda data: b"{}",
    "null": lambda data: b"null\n",
}
NEVER_SAID = re.compile(r"NoneType|KeyError|TypeError|subscriptable|Traceback|attribute|<class|\bdict\b|__")


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
            if damage is not None and damage != "gone":
                path.write_bytes(DAMAGES[damage](data))
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
    "checkpoints/step-6/state.pt": set(),
    "checkpoints/step-6/weights.safetensors": set(),
    "export/clipdata_config.json": {"runs", "report", "interpolate", "evaluate", "compare"},
    "export/open_clip_config.json": {"runs", "report", "interpolate", "evaluate", "compare"},
    WEIGHTS: {"runs", "report", "interpolate", "evaluate", "compare"},
    "export/trained_rows/*.arrow": {"interpolate", "evaluate", "compare"},
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", REFUSED)
def test_a_verb_says_the_same_of_a_damaged_run_or_one_clear_error(
    world: World, whole: dict[str, Any], file: str, damage: str
) -> None:
    world.fresh(file, damage)
    refused = set()
    for name, find in world.verbs().items():
        try:
            assert find() == whole[name], name
        except ClipdataError as error:
            refused.add(name)
            assert not NEVER_SAID.search(str(error)), str(error)
            assert error.hint, str(error)
        except pytest.fail.Exception:
            refused.add(name)  # the report tells it in its warnings

    may_differ = {"runs", "report"} if file.endswith(".arrow") and damage == "empty" else set()
    assert refused | may_differ == REFUSED[file] | may_differ
