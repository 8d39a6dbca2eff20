"""In no version do values stand under a lineage that did not make them, whoever else writes and whoever dies when."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from tests.interleavings import ACTIONS, play

MAPS = tuple(action for action in ACTIONS if action.split()[0] in ("map", "some", "overwrite", "retry"))


@pytest.mark.slow
@settings(
    max_examples=150,
    deadline=None,
    print_blob=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    actions=st.lists(st.sampled_from((*MAPS, *ACTIONS)), min_size=1, max_size=4),
    script=st.lists(st.sampled_from((None, None, None, "kill", *ACTIONS)), max_size=14),
)
def test_every_cell_of_every_version_is_its_lineages_or_null(
    tmp_path: Path, actions: list[str], script: list[str | None]
) -> None:
    note(f"actions {actions}, meanwhile {script}")
    world = play(tmp_path, actions, script)
    assert world.num_read > 0
