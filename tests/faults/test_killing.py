"""kill -9 of the whole pipeline while it trains; `benchmarks/kill_and_resume.py` does all moments of it.

Its other verbs are killed one by one in test_kill_matrix.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.killing import command, finish, kill_and_finish, write_contest
from tests.tiny_models import tiny_encoder

FEW = ["train: first checkpoint"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("contest")
    write_contest(folder, 40)
    tiny_encoder(folder / "model")
    model = f"local-dir:{next((folder / 'model').iterdir())}"
    finish(command(folder, model, folder / "undisturbed"))
    return folder, model


@pytest.mark.slow
@pytest.mark.parametrize("moment", FEW)
def test_the_next_run_finishes_and_its_tables_equal_those_of_an_undisturbed_run(
    undisturbed: tuple[Path, str], tmp_path: Path, moment: str
) -> None:
    folder, model = undisturbed
    work = tmp_path / "work"
    killed = kill_and_finish(command(folder, model, work), work, moment, folder / "undisturbed")
    assert killed.differences == []
    assert killed.repeated_steps <= 4  # steps between two checkpoints
