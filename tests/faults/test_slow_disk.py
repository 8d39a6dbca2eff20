"""A slow disk is slow and nothing else: verbs come to their end, and no writer is taken for dead."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import clipdata as cd
from tests.faults.kill_matrix import left_by, world_in
from tests.faults.kill_verbs import VERBS, prepare
from tests.faults.slow_disk import NUM_WRITES, build, slow_process, write_rows
from tests.tables import number_table

SLOW_VERBS = ("ingest images", "map", "delete", "select", "compact", "export shards")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return build(tmp_path_factory.mktemp("library"))
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"writing cannot be made slow here, no C compiler does it: {error}")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slow")
    prepare(folder)
    return folder


@pytest.mark.slow
def test_verbs_on_a_slow_disk_leave_what_they_leave_on_any_other(tmp_path: Path, prepared: Path, library: Path) -> None:
    fast, slow = world_in(tmp_path / "fast", prepared), world_in(tmp_path / "slow", prepared)
    for name in SLOW_VERBS:
        VERBS[name].play(fast)

    with slow_process(library, "verbs", slow.sources, slow.place, slow.out, *SLOW_VERBS, wait_s=0.03) as process:
        told = process.communicate()[0].split("\n")

    assert process.returncode == 0
    assert tuple(told[:-1]) == SLOW_VERBS
    assert left_by(slow) == left_by(fast)


@pytest.mark.slow
def test_a_map_on_a_slow_disk_outlives_the_clean_ups_and_compactions_of_others(
    tmp_path: Path, prepared: Path, library: Path
) -> None:
    world = world_in(tmp_path / "world", prepared)
    uri = world.at("images.lance")

    with slow_process(library, "map", uri, wait_s=0.05) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        num_meanwhile = 0
        while process.poll() is None or not num_meanwhile:
            cd.clean(uri)
            cd.compact(uri)
            num_meanwhile += 1
        assert process.returncode == 0

    found = cd.open_table(uri).to_table(["width", "thrice"])
    assert found["thrice"].to_pylist() == [3 * width for width in found["width"].to_pylist()]


@pytest.mark.slow
def test_of_two_writers_one_of_whom_is_slow_all_is_there_in_one_order_of_both(tmp_path: Path, library: Path) -> None:
    table = number_table(tmp_path, 2)

    with slow_process(library, "write", table.uri, "slow", wait_s=0.05) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        write_rows(table.uri, "fast")
        process.communicate()
        assert process.returncode == 0

    found = {row["path"]: row for row in cd.open_table(table.uri).to_table().to_pylist()}
    own = {f"{who}-{number}" for who in ("fast", "slow") for number in range(NUM_WRITES)}
    assert own | {"shared", "000000", "000001"} == found.keys()
    assert found["shared"]["number"] == NUM_WRITES - 1  # of whoever came last
