"""The right to write, or to read, goes in the middle of a verb: one error that says what and where, and nothing lost.

The same verb finishes once the right is back. `benchmarks/kill_matrix.py --forbid` does every boundary of every verb.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import clipdata as cd
from clipdata.encoder import Encoder
from clipdata.errors import StorageError
from tests.contests import contest_table
from tests.faults.boundaries import Ending, Then
from tests.faults.forbidding import READ_ONLY, allow, forbid, obey_permissions
from tests.faults.kill_matrix import Matrix
from tests.faults.kill_verbs import prepare
from tests.tiny_models import tiny_encoder

VERBS = ("ingest images", "merge", "map", "delete", "select", "compact", "export folder", "export shards", "push")


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    folder = tmp_path_factory.mktemp("forbidden")
    prepare(folder)
    return Matrix(folder)


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_that_may_no_longer_write_says_so_and_ends_as_ever_once_it_may(matrix: Matrix, verb: str) -> None:
    num_boundaries, _, _ = matrix.undisturbed(verb)
    before_last = random.Random(verb).randrange(num_boundaries - 1)  # at the last one all is done

    done = matrix.forbid(verb, Ending(before_last, then="read-only"))

    assert done.differences == ()
    assert done.died


@pytest.mark.slow
@pytest.mark.parametrize(("verb", "boundary", "then"), [("select", 2, "no access"), ("export shards", 4, "no access")])
def test_what_may_not_even_be_read_any_more_is_never_taken_for_gone(
    matrix: Matrix, verb: str, boundary: int, then: Then
) -> None:
    done = matrix.forbid(verb, Ending(boundary, then=then))

    assert done.differences == ()
    assert "there is no table" not in done.said


@pytest.mark.slow
def test_a_training_whose_folder_may_no_longer_be_written_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    """In a thread of its own, which alone obeys permissions."""
    from concurrent.futures import ThreadPoolExecutor

    table, encoder, run = contest_table(tmp_path), tiny_encoder(), tmp_path / "run"
    config = cd.TrainConfig(epochs=2, batch_size=8, lr=3e-3, checkpoint_every_steps=2)
    whole = cd.train(table, encoder, config, out=tmp_path / "whole")

    def training(encoder: Encoder, progress: cd.Progress | None = None) -> cd.Run:
        return cd.train(table, encoder, config, out=run, progress=progress)

    with ThreadPoolExecutor(1, initializer=obey_permissions) as thread:
        with pytest.raises(StorageError, match=rf"{run}.*Permission denied"):
            thread.submit(training, encoder, Forbidding(run)).result()
        assert (run / "checkpoints").is_dir()
        allow(run)
        done = thread.submit(training, encoder).result()

    assert [line["loss"] for line in done.metrics] == [line["loss"] for line in whole.metrics]


class Forbidding:
    """Progress of a training that lets its folder be read alone, once there is a checkpoint."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __getattr__(self, name: str):
        def told(*_: object, **__: object) -> object:
            if any((self._folder / "checkpoints").glob("step-*")):
                forbid(self._folder, READ_ONLY)
            return self

        return told

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing."""
