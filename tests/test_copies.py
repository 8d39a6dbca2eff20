"""Copies of checkpoints on another disk: whole or not at all, each file once, and no more than asked for."""

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clipdata.errors import StorageError
from clipdata.storage import Storage
from clipdata.training.copies import Copies, storage_for
from clipdata.training.uploads import Uploads
from tests.faults.forbidding import obey_permissions
from tests.telling import Told

S3_TABLE = Storage(anonymous=True, options={"endpoint": "http://localhost:9000"})


def run_folder(folder: Path, step: int) -> Path:
    """What a run's folder holds after a step."""
    checkpoint = folder / "checkpoints" / f"step-{step}"
    checkpoint.mkdir(parents=True, exist_ok=True)
    (checkpoint / "weights.safetensors").write_bytes(b"weights of %d" % step)
    if not (folder / "config.json").exists():  # which a run writes once, and a copy may be reading
        (folder / "config.json").write_text("{}")
    with (folder / "metrics.jsonl").open("a") as stream:
        stream.write(f"line {step}\n")
    return folder


def copied(tmp_path: Path, *steps: int, keep: int = 2) -> Copies:
    copies = Copies(str(tmp_path / "disk"), Storage())
    for step in steps:
        copies.put(step, run_folder(tmp_path / f"run-{step}", step), keep=keep)
    return copies


def test_what_was_copied_comes_back_as_it_was(tmp_path):
    copies = copied(tmp_path, 1, 2)

    copies.get(copies.complete()[-1], tmp_path / "new")

    found = {path.relative_to(tmp_path / "new").as_posix() for path in (tmp_path / "new").rglob("*") if path.is_file()}
    assert found == {"config.json", "metrics.jsonl", "checkpoints/step-2/weights.safetensors"}
    assert (tmp_path / "new/checkpoints/step-2/weights.safetensors").read_bytes() == b"weights of 2"


def test_files_that_copies_share_are_kept_once_and_go_with_the_last_of_them(tmp_path):
    copies = copied(tmp_path, 1, 2, 3, keep=2)

    assert [copy.step for copy in copies.complete()] == [2, 3]
    named = {digest for copy in copies.complete() for digest, _ in copy.files.values()}
    assert {path.name for path in (tmp_path / "disk/files").iterdir()} == named
    assert len(named) == 5  # one config, two logs, two checkpoints


def test_more_copies_than_there_are_may_be_kept(tmp_path):
    assert [copy.step for copy in copied(tmp_path, 1, 2, 3, keep=5).complete()] == [1, 2, 3]


def test_a_copy_without_its_manifest_does_not_count_and_the_next_removes_what_is_left_of_it(tmp_path):
    copies = copied(tmp_path, 1)
    (tmp_path / "disk/files/half").write_bytes(b"half")
    (tmp_path / "disk/step-9.json").write_text('{"step": 9, "fil')

    assert [copy.step for copy in copies.complete()] == [1]
    copied(tmp_path, 2)
    assert not (tmp_path / "disk/files/half").exists()


def test_a_file_of_another_content_is_never_taken_up(tmp_path):
    copies = copied(tmp_path, 1)
    copy = copies.complete()[0]
    digest, size = copy.files["checkpoints/step-1/weights.safetensors"]
    (tmp_path / "disk/files" / digest).write_bytes(b"x" * size)

    with pytest.raises(StorageError, match=r"is not the checkpoints/step-1/weights.safetensors that was copied"):
        copies.get(copy, tmp_path / "new")


def test_a_process_that_is_killed_while_it_copies_leaves_the_copy_before(tmp_path):
    copies = copied(tmp_path, 1)
    run_folder(tmp_path / "run-2", 2)
    child = os.fork()
    if child == 0:

        def killed(*_):
            os.kill(os.getpid(), signal.SIGKILL)

        Path.rename = killed  # in the middle of the first file
        copies.put(2, tmp_path / "run-2", keep=1)
    os.waitpid(child, 0)

    assert [copy.step for copy in copies.complete()] == [1]
    copies.get(copies.complete()[0], tmp_path / "new")
    copied(tmp_path, 2, keep=1)
    assert [copy.step for copy in copies.complete()] == [2]


def test_checkpoints_that_come_faster_than_copies_are_passed_over_and_none_is_lost_at_the_end(tmp_path):
    copies, told = Copies(str(tmp_path / "disk"), Storage()), Told()
    with Uploads(copies, tmp_path / "run", keep=100, progress=told) as uploads:
        for step in range(1, 51):
            run_folder(tmp_path / "run", step)
            uploads.add(step, (tmp_path / "run/metrics.jsonl").stat().st_size)

    found = copies.complete()
    assert found[-1].step == uploads.copied_step == 50
    assert not told.said
    for copy in found:
        copies.get(copy, tmp_path / f"new-{copy.step}")
        metrics = (tmp_path / f"new-{copy.step}" / "metrics.jsonl").read_text().splitlines()
        assert metrics == [f"line {step}" for step in range(1, copy.step + 1)]
    assert not (tmp_path / "run/.copying").exists()


def test_a_disk_that_fails_ends_nothing_and_is_said(tmp_path):
    (tmp_path / "disk").write_text("a file where the folder should be")
    told = Told()

    with Uploads(Copies(str(tmp_path / "disk"), Storage()), tmp_path / "run", keep=2, progress=told) as uploads:
        run_folder(tmp_path / "run", 1)
        uploads.add(1, 7)

    assert len(told.said) == 1
    assert "the checkpoint of step 1 could not be copied" in told.said[0]


@pytest.mark.parametrize(
    ("place", "table", "expected"),
    [
        ("s3://bucket/run", "s3://other/t.lance", S3_TABLE),
        ("s3://bucket/run", "/disk/t.lance", S3_TABLE),
        ("gs://bucket/run", "s3://other/t.lance", Storage()),
        ("s3://bucket/run", "s3://public/t.lance", Storage(options={})),
    ],
)
def test_a_place_is_reached_as_the_table_unless_that_is_in_another_store(place, table, expected):
    of_table = S3_TABLE if "public" not in table else Storage(anonymous=True)

    assert storage_for(place, table, of_table) == expected


def test_the_manifest_says_digest_and_size_of_every_file(tmp_path):
    copied(tmp_path, 1)

    manifest = json.loads((tmp_path / "disk/step-1.json").read_text())

    assert manifest["files"]["config.json"][1] == 2
    assert len(manifest["files"]["config.json"][0]) == 64


def test_a_checkpoint_of_which_a_file_cannot_be_read_is_not_copied_in_part(tmp_path):
    """A copy that lacks a file would be the newest one, and keep a new machine from those before it."""
    run, copies, told = run_folder(tmp_path / "run", 4), copied(tmp_path, 2), Told()
    (run / "metrics.jsonl").chmod(0o000)

    def add() -> None:
        with Uploads(copies, run, 2, told) as uploads:
            uploads.add(4, 1)

    with ThreadPoolExecutor(1, initializer=obey_permissions) as thread:  # which alone obeys permissions
        thread.submit(add).result()

    assert [copy.step for copy in copies.complete()] == [2]
    assert any(said.startswith("the checkpoint of step 4 cannot be prepared for copying") for said in told.said)
