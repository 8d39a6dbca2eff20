"""Removing from buckets whose answers get lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipdata.lance_io.state import StateFolder
from clipdata.objects.removing import remove
from tests.cloud.fault_proxy import Fault, FaultKind
from tests.cloud.fixtures import Bucket
from tests.cloud.objects import put
from tests.tables import number_table


@pytest.mark.parametrize("kind", ["reset_after", "503_after", "truncate"])
def test_a_delete_that_was_carried_out_and_whose_answer_was_lost_is_no_failure(
    bucket: Bucket, tmp_path: Path, kind: FaultKind
) -> None:
    names = [f"state/{number}.json" for number in range(5)]
    put(bucket, dict.fromkeys([*names, "state/sub/a", "kept/a"], b"{}"))
    fs, _ = bucket.direct.filesystem(bucket.url())

    with bucket.proxy.injecting(Fault(kind, requests=("delete", "other"), times=1)):
        remove(bucket.storage, bucket.url(names[0]))
    assert not fs.exists(f"{bucket.name}/{names[0]}")
    with bucket.proxy.injecting(Fault(kind, requests=("delete", "other"), times=1)):
        remove(bucket.storage, bucket.url("state"), recursive=True)

    fs.invalidate_cache()
    assert [path.removeprefix(f"{bucket.name}/") for path in fs.find(bucket.name)] == ["kept/a"]


def test_what_is_not_there_is_no_fault(bucket: Bucket, tmp_path: Path) -> None:
    put(bucket, {"kept": b"{}"})

    remove(bucket.storage, bucket.url("nothing.json"))
    remove(bucket.storage, bucket.url("nothing"), recursive=True)
    remove(bucket.storage, str(tmp_path / "nothing"), recursive=True)

    fs, _ = bucket.direct.filesystem(bucket.url())
    assert [path.removeprefix(f"{bucket.name}/") for path in fs.find(bucket.name)] == ["kept"]


def test_records_of_unfinished_work_are_removed_whatever_answers_get_lost(bucket: Bucket, tmp_path: Path) -> None:
    table = number_table(tmp_path, 1)
    table.uri, table.storage = bucket.url("t.lance"), bucket.storage
    state = StateFolder(table, "map/x")
    for name in ("a-1", "a-2", "b-1"):
        state.write_json(name, {"n": 1})

    with bucket.proxy.injecting(Fault("reset_after", requests=("delete", "other"), times=1)):
        state.remove("a-")
    assert state.names() == ["b-1"]
    with bucket.proxy.injecting(Fault("503_after", requests=("delete", "other"), times=1)):
        state.remove()
    assert state.names() == []
