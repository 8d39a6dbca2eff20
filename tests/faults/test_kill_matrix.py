"""A verb that is killed at a commit boundary and run again leaves what an undisturbed run leaves; so does one whose
machine loses power, and with it all that was not forced to the disk.

`benchmarks/kill_matrix.py` does all boundaries of all verbs, random moments, and object stores.
"""

from __future__ import annotations

import random

import pytest

from pipelines.cli.app import VERBS as COMMANDS
from tests.faults.kill_matrix import Matrix
from tests.faults.kill_model_verbs import MODEL_VERBS
from tests.faults.kill_verbs import ELSEWHERE, VERBS, prepare

# What a viewer that died has half written is another's for the next one, which writes its own over it.
TIMES = {"view --edit": 2}


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    folder = tmp_path_factory.mktemp("matrix")
    prepare(folder)
    return Matrix(folder)


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_a_killed_verb_run_again_leaves_what_an_undisturbed_run_leaves(matrix: Matrix, verb: str) -> None:
    num_boundaries, _, _ = matrix.undisturbed(verb)
    assert num_boundaries > 0, "a verb that lands nothing is no verb that writes"

    killed = matrix.kill(verb, boundary=random.Random(verb).randrange(num_boundaries))

    assert killed.died
    assert killed.differences == ()
    most = num_boundaries * TIMES.get(verb, 1) + 4  # what was half done may be tidied up first
    assert killed.boundaries <= most


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_what_a_verb_said_to_be_done_outlives_a_loss_of_power(matrix: Matrix, verb: str) -> None:
    assert matrix.lose_power(verb).differences == ()


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_under_which_the_power_goes_is_run_again(matrix: Matrix, verb: str) -> None:
    num_boundaries, _, _ = matrix.undisturbed(verb)

    # In the first half: a verb that keeps something has fewer boundaries the second time.
    lost = matrix.lose_power(verb, random.Random(f"power {verb}").randrange(max(num_boundaries // 2, 1)))

    assert lost.died
    assert lost.differences == ()


def test_every_verb_of_the_command_line_is_killed_or_said_to_be_elsewhere() -> None:
    words = {verb.words for verb in COMMANDS}
    killed = {word for word in words for way in (*VERBS, *MODEL_VERBS) if f"{way} ".startswith(f"{word} ")}

    assert killed | ELSEWHERE.keys() == words
    assert killed.isdisjoint(ELSEWHERE)
