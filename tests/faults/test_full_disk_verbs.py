"""Every verb on a disk without room: one error of our own, and the same verb comes to its end once there is room."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from clipdata.errors import ClipdataError, StorageError
from clipdata.lance_io import cleaning
from clipdata.storage import Storage
from tests.faults.kill_matrix import copy_tables, left_by
from tests.faults.kill_verbs import VERBS, World, prepare
from tests.faults.test_full_disk import mount
from tests.faults.test_full_disk_training import fill

NEED_NO_ROOM = {"clean", "tag --delete"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("full")
    prepare(folder)
    return folder


@pytest.fixture(autouse=True)
def least_age(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleaning, "LEAST", timedelta(0))


def world_in(folder: Path, prepared: Path, verb: str) -> World:
    copy_tables(prepared / "tables", folder / "tables", VERBS[verb].needs)
    (folder / "out").mkdir(parents=True)
    return World(str(prepared / "sources"), str(folder / "tables"), Storage(), str(folder / "out"))


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_without_room_says_so_and_ends_as_ever_once_there_is(
    target: Path, tmp_path: Path, prepared: Path, verb: str
) -> None:
    undisturbed = world_in(tmp_path / "undisturbed", prepared, verb)
    VERBS[verb].play(undisturbed)
    mount(target, "size=32m")
    world = world_in(target, prepared, verb)
    ballast = fill(target, leave_bytes=0)

    if verb in NEED_NO_ROOM:
        VERBS[verb].play(world)
    else:
        with pytest.raises(ClipdataError) as caught:
            VERBS[verb].play(world)
        assert isinstance(caught.value, StorageError), caught.value
        assert "space" in str(caught.value).lower() or "room" in str(caught.value).lower()
    ballast.unlink()
    try:
        VERBS[verb].play(world)
    except ClipdataError:
        assert VERBS[verb].refuses_when_done

    assert left_by(world) == left_by(undisturbed)
