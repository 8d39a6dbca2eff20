"""Checkpoints that exist whole or not at all."""

import multiprocessing
import os
import resource
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from clipdata.errors import StorageError
from clipdata.training import checkpoints
from tests.faults.forbidding import READ_ONLY, allow, forbid, obey_permissions


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

    with pytest.raises(StorageError, match=r"is damaged[^$]*rm -r"):
        saved.load()


def test_a_checkpoint_that_lacks_a_file_names_it(tmp_path):
    saved = save(tmp_path, 1)
    (saved.path / "state.pt").unlink()

    with pytest.raises(StorageError, match=r"is not whole: state.pt is missing[^$]*rm -r"):
        saved.load()


def with_little_memory(megabytes: int) -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (megabytes << 20), -1))


def as_nobody(_: int) -> None:
    os.setgid(65534)
    os.setuid(65534)


def told_by_reading(saved, limit, megabytes=0) -> str:
    """What a child of this process says when it loads a checkpoint."""

    def child() -> None:
        limit(megabytes)
        try:
            saved.load()
            said.send("it is read")
        except Exception as error:
            said.send(f"{type(error).__name__} {error}")

    heard, said = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    said.close()
    found = heard.recv()
    process.join()
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="limits its memory as Linux does")
@pytest.mark.parametrize("megabytes", [40, 150])
def test_a_checkpoint_that_the_memory_does_not_hold_is_not_called_damaged(tmp_path, megabytes):
    """The smaller limit is too small for the weights, the other for mapping them into memory."""
    saved = checkpoints.save(tmp_path, 1, {"head.weight": torch.zeros(30_000_000)}, state_of(1))

    said = told_by_reading(saved, with_little_memory, megabytes)

    assert said.startswith("StorageError the checkpoint")
    assert "is whole, and the memory of this machine does not hold it" in said
    assert "rm -r" not in said
    assert saved.load()[0]["head.weight"].shape == (30_000_000,)


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root can become nobody")
@pytest.mark.parametrize("closed", ["weights.safetensors", "."])
def test_a_checkpoint_that_may_not_be_read_is_not_called_damaged(tmp_path, closed):
    saved = save(tmp_path, 1)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    (saved.path / closed).chmod(0o600)

    said = told_by_reading(saved, as_nobody)

    assert "may not be read by this user" in said
    assert "chmod" in said


def test_there_are_no_checkpoints_where_there_is_no_folder(tmp_path):
    assert checkpoints.complete(tmp_path / "none") == []


@pytest.mark.parametrize("below", ["", "checkpoints/.aside-step-2"])
def test_permission_lost_while_a_checkpoint_is_written_is_said_and_the_same_is_written_once_it_is_back(tmp_path, below):
    """Of the whole folder, or only of what is being written."""
    folder = tmp_path / "run" / "checkpoints"
    save(folder, 1)

    class Lost(dict):
        """Weights during whose writing the permission goes."""

        def items(self):
            forbid(tmp_path / "run" / below, READ_ONLY)
            return super().items()

    with ThreadPoolExecutor(1, initializer=obey_permissions) as thread:  # which alone obeys permissions
        with pytest.raises(StorageError, match=rf"cannot write {folder}/step-2: Permission denied") as caught:
            thread.submit(checkpoints.save, folder, 2, Lost(w=torch.ones(2)), {}).result()
        assert [one.step for one in checkpoints.complete(folder)] == [1]
        assert f"let this user write to {folder}, and the same command goes on" in (caught.value.hint or "")
        allow(tmp_path / "run")
        thread.submit(save, folder, 2).result()
        thread.submit(checkpoints.prune, folder, 2).result()

    assert sorted(path.name for path in folder.iterdir()) == ["step-1", "step-2"]
