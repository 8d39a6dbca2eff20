"""Verbs that write, on a store that refuses from some write on, or carries one out after the client gave it up.

`benchmarks/kill_matrix.py --forbid --store gs` refuses each write of each verb in turn.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

import clipdata as cd
from clipdata.errors import CredentialsError, TransientError
from clipdata.storage import Storage
from tests.cloud.fault_proxy import Fault
from tests.cloud.fixtures import Bucket
from tests.faults.kill_matrix import copy_tables, left_by
from tests.faults.kill_verbs import VERBS, World, prepare

# The number of writes that are let through is somewhere in the middle of each.
REFUSED_AFTER = {"ingest images": 3, "merge": 5, "map": 6, "delete": 3, "select": 1, "compact": 2}
LATE = {"ingest images": (1,), "merge": (4, 7), "map": (2, 5)}
LATE_S = (0.2, 0.4)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, str]]:
    """What a verb leaves on a disk where nothing goes wrong; the sources and tables are in its `folder`."""
    folder = tmp_path_factory.mktemp("undisturbed")
    prepare(folder)
    found: dict[str, dict[str, str]] = {}

    def left(verb: str) -> dict[str, str]:
        if verb not in found:
            here = folder / verb.replace(" ", "-")
            copy_tables(folder / "tables", here / "tables", VERBS[verb].needs)
            (here / "out").mkdir()
            world = World(str(folder / "sources"), str(here / "tables"), Storage(), str(here / "out"))
            VERBS[verb].play(world)
            found[verb] = left_by(world)
        return found[verb]

    left.folder = folder  # type: ignore[attr-defined]
    return left


def world_in(bucket: Bucket, folder: Path, verb: str, out: Path) -> World:
    """The tables of a verb in a bucket."""
    out.mkdir()
    fs, root = bucket.direct.filesystem(bucket.url("tables"))
    for name in VERBS[verb].needs:
        for file in (folder / "tables").glob(f"{name.removesuffix('.lance')}.*/**/*"):
            if file.is_file():
                fs.put_file(str(file), f"{root}/{file.relative_to(folder / 'tables').as_posix()}")
    return World(str(folder / "sources"), bucket.url("tables"), bucket.storage, str(out))


@pytest.mark.slow
@pytest.mark.parametrize("verb", REFUSED_AFTER)
def test_a_verb_that_is_refused_midway_says_where_and_ends_as_ever_once_it_may(
    bucket: Bucket, undisturbed: Callable[[str], dict[str, str]], tmp_path: Path, verb: str
) -> None:
    world = world_in(bucket, undisturbed.folder, verb, tmp_path / "out")  # type: ignore[attr-defined]
    writes = ("put", "copy", "delete")

    with (
        bucket.proxy.injecting(Fault("403", requests=writes, skip=REFUSED_AFTER[verb])),
        bucket.proxy.counting() as counts,
        pytest.raises(CredentialsError, match=rf"{world.place}/\S+ ?.*the store refused access"),
    ):
        VERBS[verb].play(world)
    VERBS[verb].play(world)

    assert counts.faults["403"] <= 20, "what is refused is not asked for again and again"
    assert left_by(world) == undisturbed(verb)


@pytest.mark.slow
@pytest.mark.parametrize(("verb", "skip"), [(verb, skip) for verb, skips in LATE.items() for skip in skips])
def test_a_write_that_lands_after_the_client_gave_it_up_changes_nothing(
    bucket: Bucket, undisturbed: Callable[[str], dict[str, str]], tmp_path: Path, verb: str, skip: int
) -> None:
    world = world_in(bucket, undisturbed.folder, verb, tmp_path / "out")  # type: ignore[attr-defined]

    with bucket.proxy.injecting(Fault("late", requests=("put",), skip=skip, times=1, delay_s=LATE_S)):
        began_s = time.monotonic()
        with suppress(TransientError):
            VERBS[verb].play(world)
        time.sleep(max(LATE_S[1] + 0.1 - (time.monotonic() - began_s), 0.1))
        VERBS[verb].play(world)

    assert bucket.proxy.counts().faults == {"late": 1}
    assert left_by(world) == undisturbed(verb)
    assert all(cd.check(world.at(name), storage=world.storage).sound for name in VERBS[verb].needs)
