"""A store that fails while a table is streamed from it: every row comes once, or a clear error does; never a hang."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pytest
import torch

import ingest
from clipdata.errors import CredentialsError, ImageRefused, NoAnswerError, TransientError
from clipdata.lance_io import pinned
from clipdata.lance_io.table import Table, open_table
from clipdata.stream import Stream
from tests.cloud.fault_proxy import Fault, FaultKind
from tests.cloud.fixtures import Bucket
from tests.cloud.objects import put_pictures, remove

NUM_ROWS = 160
BATCH = 8
FEW_TRIES = {"lance.client_max_retries": "0", "lance.download_retry_count": "0"}  # of Lance's own, which take 10 s


def corner(pixels: np.ndarray) -> torch.Tensor:
    """What stands for a model's preparation."""
    return torch.from_numpy(np.ascontiguousarray(pixels[:4, :4].transpose(2, 0, 1)))


@pytest.fixture
def table(gcs: Bucket) -> Table:
    rows = pa.table({"number": range(NUM_ROWS), "text": [f"{number} " * 5000 for number in range(NUM_ROWS)]})
    options = gcs.storage.lance_options(gcs.url("t.lance"))
    lance.write_dataset(rows, gcs.url("t.lance"), storage_options=options, max_rows_per_file=40)
    return open_table(gcs.url("t.lance"), storage=replace(gcs.storage, options={**gcs.storage.options, **FEW_TRIES}))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up soon, so that a test of a store that is down does not take minutes."""
    monkeypatch.setattr(pinned, "PATIENCE", replace(pinned.PATIENCE, attempts=9, base_delay_s=0.01))


def begun(table: Table, **options: Any) -> tuple[Iterator[Any], list[int]]:
    """A stream of which the first batch was taken, and its numbers."""
    asked: dict[str, Any] = {"batch_size": BATCH, "clump_rows": 4, "window_rows": 16}
    stream = iter(Stream(table, ["number", "text"], **asked | options))
    return stream, next(stream)["number"].tolist()


@pytest.mark.parametrize(("kind", "times"), [("503", 120), ("truncate", 20), ("reset_before", 120)])
def test_a_store_that_fails_for_a_while_loses_and_doubles_no_row(
    gcs: Bucket, table: Table, impatient: None, kind: FaultKind, times: int
) -> None:
    stream, numbers = begun(table)

    with (
        gcs.proxy.injecting(Fault(kind, match="/data/", times=times)),
        gcs.proxy.counting() as counts,
        warnings.catch_warnings(record=True) as said,
    ):
        warnings.simplefilter("always")
        numbers += [number for batch in stream for number in batch["number"].tolist()]

    assert sorted(numbers) == list(range(NUM_ROWS))
    assert counts.faults[kind] > times / 2  # the last may fall on connections that nobody waits for
    assert any("the store fails, and is asked again" in str(one.message) for one in said)


def test_a_store_that_fails_for_ever_ends_the_stream_with_what_to_do(
    gcs: Bucket, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pinned, "PATIENCE", replace(pinned.PATIENCE, attempts=2, base_delay_s=0.01))
    stream, _ = begun(table)

    with gcs.proxy.injecting(Fault("503", match="/data/")), pytest.raises(TransientError) as caught:
        list(stream)

    assert "503" in str(caught.value)
    assert caught.value.hint


def test_a_store_that_falls_silent_ends_the_stream(gcs: Bucket, table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pinned, "SILENT_S", 0.3)
    stream, _ = begun(table)

    with (
        gcs.proxy.injecting(Fault("latency", match="/data/", delay_s=(2.0, 2.0))),
        pytest.raises(NoAnswerError) as caught,
    ):
        list(stream)

    assert "has been silent" in str(caught.value)


def test_credentials_that_expire_during_an_epoch_end_it_at_once(gcs: Bucket, table: Table) -> None:
    stream, _ = begun(table)

    with (
        gcs.proxy.injecting(Fault("403", match="/data/")),
        gcs.proxy.counting() as counts,
        pytest.raises(CredentialsError),
    ):
        list(stream)

    assert counts.faults["403"] <= 32, "nobody asks again"


@pytest.fixture
def referring(gcs: Bucket) -> Table:
    put_pictures(gcs, "in", range(40))
    return ingest.from_images(gcs.url("in"), into=gcs.url("r.lance"), storage=gcs.storage, reference=True).table


def streamed(table: Table, on_bad_image: Any, batch_size: int = 4) -> Stream:
    asked: dict[str, Any] = {"on_bad_image": on_bad_image, "clump_rows": 2, "window_rows": 4}
    return Stream(table, ["path", "image"], batch_size=batch_size, prepare=corner, **asked)


def test_pictures_that_vanish_from_a_bucket_are_counted_and_the_others_all_come(gcs: Bucket, referring: Table) -> None:
    stream = streamed(referring, "leave_out")
    for number in (3, 17, 39):
        remove(gcs, f"in/{number:05d}.jpg")

    batches = list(stream)

    assert [len(batches), sum(len(batch["path"]) for batch in batches)] == [10, 37]
    assert stream.left_out == {"missing": 3}
    with pytest.raises(ImageRefused, match="missing"):
        list(streamed(referring, "refuse"))


@pytest.mark.parametrize("on_bad_image", ["leave_out", "refuse"])
def test_credentials_of_pictures_that_expire_during_an_epoch_leave_out_nothing_unsaid(
    gcs: Bucket, referring: Table, on_bad_image: str
) -> None:
    stream = iter(streamed(referring, on_bad_image, 1))
    next(stream)

    with gcs.proxy.injecting(Fault("403", match=r"\.jpg")), pytest.raises(CredentialsError):
        list(stream)
