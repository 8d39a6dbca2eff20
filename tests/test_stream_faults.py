"""A table that others change while it is streamed, and references that go bad: nothing is lost unsaid."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pytest
import torch

import ingest
from clipdata.errors import ClipdataError, ConcurrentChangeError, ImageRefused
from clipdata.lance_io.table import Table, open_table
from clipdata.stream import Stream
from tests.pictures import encoded, write_pictures

NUM_ROWS = 240
BATCH = 8


def corner(pixels: np.ndarray) -> torch.Tensor:
    """What stands for a model's preparation."""
    return torch.from_numpy(np.ascontiguousarray(pixels[:4, :4].transpose(2, 0, 1)))


def numbered(start: int, stop: int) -> pa.Table:
    return pa.table(
        {"number": range(start, stop), "bytes": [bytes([number % 256]) * 3000 for number in range(start, stop)]}
    )


@pytest.fixture
def table(tmp_path: Path) -> Table:
    lance.write_dataset(numbered(0, NUM_ROWS), tmp_path / "t.lance", max_rows_per_file=50, enable_stable_row_ids=True)
    return open_table(tmp_path / "t.lance")


def begun(table: Table) -> tuple[Iterator[Any], list[int]]:
    """A stream of which the first batch was taken, and its numbers."""
    stream = iter(Stream(table, ["number"], batch_size=BATCH, clump_rows=4, window_rows=16, num_threads=1))
    return stream, next(stream)["number"].tolist()


def delete_rows(table: Table) -> None:
    lance.dataset(table.uri).delete("number % 3 = 0")


def replace_rows(table: Table) -> None:
    lance.dataset(table.uri).update({"number": "number + 1000"}, where="number % 2 = 0")


def append_rows(table: Table) -> None:
    lance.write_dataset(numbered(NUM_ROWS, 2 * NUM_ROWS), table.uri, mode="append")


def compact(table: Table) -> None:
    dataset = lance.dataset(table.uri)
    dataset.delete("number = 7")
    dataset.optimize.compact_files()


def drop_column(table: Table) -> None:
    lance.dataset(table.uri).drop_columns(["number"])


def overwrite(table: Table) -> None:
    lance.write_dataset(numbered(0, 5), table.uri, mode="overwrite")


@pytest.mark.parametrize("change", [delete_rows, replace_rows, append_rows, compact, drop_column, overwrite])
def test_what_others_do_to_a_table_during_an_epoch_is_not_seen_in_it(table, change):
    stream, numbers = begun(table)

    change(table)

    assert sorted([*numbers, *(number for batch in stream for number in batch["number"].tolist())]) == list(
        range(NUM_ROWS)
    )


def clean(table: Table) -> None:
    compact(table)
    lance.dataset(table.uri).cleanup_old_versions(timedelta(0), delete_unverified=True)


def test_a_version_that_is_cleaned_away_during_an_epoch_is_named_with_what_would_keep_it(table):
    stream, _ = begun(table)
    clean(table)

    with pytest.raises(ConcurrentChangeError, match=r"version 1 of .* was cleaned away while it was read") as caught:
        list(stream)

    assert "clipdata tag" in str(caught.value.hint)


def test_a_version_that_has_a_name_outlives_a_clean_up_during_an_epoch(table):
    table.tag("streamed")
    stream, numbers = begun(table)
    compact(table)
    lance.dataset(table.uri).cleanup_old_versions(
        timedelta(0), delete_unverified=True, error_if_tagged_old_versions=False
    )

    assert len(numbers) + sum(len(batch["number"]) for batch in stream) == NUM_ROWS


def test_a_table_that_is_removed_during_an_epoch_ends_it_with_an_error(table):
    stream, _ = begun(table)
    shutil.rmtree(table.uri)

    with pytest.raises(ClipdataError, match=r"was removed, or moved, while it was read"):
        list(stream)


@pytest.fixture
def referring(tmp_path: Path) -> tuple[Table, list[Path]]:
    paths = write_pictures(tmp_path / "pictures", 24)
    return ingest.from_images(tmp_path / "pictures", into=tmp_path / "r.lance", reference=True).table, paths


def go_bad(paths: list[Path]) -> None:
    paths[3].unlink()
    paths[9].write_bytes(b"no picture" * 9)
    paths[15].write_bytes(encoded(0, ".jpg", 200, 200))


def test_pictures_behind_references_that_go_bad_are_counted_by_reason_and_the_others_all_come(referring):
    table, paths = referring
    stream = Stream(table, ["path", "image"], batch_size=4, prepare=corner, on_bad_image="leave_out")
    go_bad(paths)

    batches = list(stream)

    assert len(batches) == 6
    assert sum(len(batch["path"]) for batch in batches) == 21
    assert stream.left_out == {"changed": 2, "missing": 1}
    assert sum(len(offsets) for batch in batches for offsets in batch["left_out"].values()) == 3


def test_a_picture_that_went_bad_ends_a_stream_that_leaves_out_nothing_and_is_named(referring):
    table, paths = referring
    paths[3].unlink()

    with pytest.raises(ImageRefused, match=paths[3].name):
        list(Stream(table, ["path", "image"], batch_size=4, prepare=corner))
