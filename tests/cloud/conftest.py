"""Every test in this folder stays on the loopback and carries the mark `cloud`."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def guard(loopback_only: None) -> None:
    """Forbid every address but the loopback."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("cloud")
