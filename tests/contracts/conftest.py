"""The cluster that the tests of engines share, where they are run inside a network namespace of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contracts.engines import WITHIN, two_nodes


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """One cluster for all files, where there is one."""
    if os.environ.get(WITHIN) != "1":
        yield None
        return
    with two_nodes() as cluster:
        yield cluster
