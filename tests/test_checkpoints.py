"""Checkpoints that exist whole or not at all."""

import shutil

import pytest
import torch

from clipdata.errors import StorageError
from clipdata.training import checkpoints


def state_of(step: int) -> dict:
    return {"step": step, "optimizer": {"state": {0: {"exp_avg": torch.full((3,), float(step))}}}}


def save(folder, step):
    return checkpoints.save(folder, step, {"head.weight": torch.full((2, 2), float(step))}, state_of(step))


def test_what_was_saved_is_loaded(tmp_path):
    weights, state = save(tmp_path, 7).load()

    assert weights["head.weight"].tolist() == [[7, 7], [7, 7]]
    assert state["optimizer"]["state"][0]["exp_avg"].tolist() == [7, 7, 7]


def test_checkpoints_are_listed_by_number_not_by_name(tmp_path):
    for step in (9, 100, 20):
        save(tmp_path, step)

    assert [one.step for one in checkpoints.complete(tmp_path)] == [9, 20, 100]


def test_a_checkpoint_that_was_not_finished_does_not_count(tmp_path, monkeypatch):
    save(tmp_path, 1)

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, 2)

    assert [one.step for one in checkpoints.complete(tmp_path)] == [1]


def test_leftovers_of_a_crash_are_removed(tmp_path):
    save(tmp_path, 1)
    shutil.copytree(tmp_path / "step-1", tmp_path / ".aside-step-2")

    checkpoints.prune(tmp_path, keep=1)

    assert [path.name for path in tmp_path.iterdir()] == ["step-1"]


def test_pruning_keeps_the_newest(tmp_path):
    for step in (1, 2, 3):
        save(tmp_path, step)

    checkpoints.prune(tmp_path, keep=2)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-2", "step-3"]


def test_saving_a_step_again_replaces_it(tmp_path):
    save(tmp_path, 1)

    checkpoints.save(tmp_path, 1, {"head.weight": torch.zeros(1)}, state_of(5))

    assert checkpoints.complete(tmp_path)[0].load()[1]["step"] == 5


def test_a_damaged_checkpoint_says_so_and_what_to_do(tmp_path):
    saved = save(tmp_path, 1)
    (saved.path / "weights.safetensors").write_bytes(b"\0" * 20)

    with pytest.raises(StorageError, match=r"cannot be read[^$]*rm -r"):
        saved.load()


def test_there_are_no_checkpoints_where_there_is_no_folder(tmp_path):
    assert checkpoints.complete(tmp_path / "none") == []
