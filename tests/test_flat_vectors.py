"""Vectors of tens of kilobytes are read straight from the files of this machine, or by Lance, and are the same."""

import lance
import numpy as np
import pyarrow as pa
import pytest

from clipdata.lance_io.flat_vectors import FlatVectors
from clipdata.lance_io.table import Table, open_table
from clipdata.stream.fetch import Fetcher
from clipdata.stream.groups import Slot

NUM_ROWS, WIDTH, FILE_ROWS = 96, 20_000, 24
KIND = pa.list_(pa.uint16(), WIDTH)


def vectors(num: int, seed: int) -> pa.Array:
    values = np.random.default_rng(seed).integers(0, 60_000, num * WIDTH, np.uint16)
    return pa.FixedSizeListArray.from_arrays(pa.array(values), type=KIND)


def written(uri, column: pa.Array, version: str) -> Table:
    narrow = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(len(column) * 4, np.float32)), 4)
    rows = pa.table({"number": range(len(column)), "wide": column, "narrow": narrow})
    lance.write_dataset(rows, uri, max_rows_per_file=FILE_ROWS, data_storage_version=version)
    return open_table(uri)


def read_by_stream(table: Table, columns: list[str], offsets: np.ndarray) -> pa.Table:
    windows = np.repeat([0, 1], [len(offsets) // 3, len(offsets) - len(offsets) // 3])
    slot = Slot((0,), (len(offsets),), offsets, windows)
    return next(Fetcher(table, columns).read([slot])).rows


@pytest.mark.parametrize("version", ["2.1", "2.2"])
def test_rows_are_those_of_lance_in_any_order_among_deleted_ones_and_in_several_files(tmp_path, version):
    table = written(tmp_path / "rows.lance", vectors(NUM_ROWS, 0), version)
    lance.dataset(table.uri).delete("number in (3, 4, 30)")
    table = table.latest()
    flat = FlatVectors.of(table, "wide")
    offsets = np.random.default_rng(1).integers(0, table.num_rows, 60)
    out = np.zeros((60, 2 * WIDTH), np.uint8)
    assert flat is not None
    assert flat.into(offsets, out)
    expected = table.take(offsets, ["number", "wide"])
    assert np.array_equal(
        out.view(np.uint16).reshape(-1), expected.column("wide").combine_chunks().flatten().to_numpy()
    )
    for columns in (["wide"], ["number", "wide"]):
        found = read_by_stream(table, columns, offsets)
        assert found.select(columns).combine_chunks().equals(expected.select(columns).combine_chunks())
    assert len(read_by_stream(table, ["wide"], offsets[:0])) == 0


def test_what_is_stored_in_another_way_is_left_to_lance_row_by_row_equal(tmp_path):
    some_null = pa.concat_arrays([vectors(FILE_ROWS, 0), vectors(9, 1), pa.nulls(6, KIND), vectors(9, 2)])
    same = pa.FixedSizeListArray.from_arrays(pa.array(np.full(FILE_ROWS * WIDTH, 7, np.uint16)), type=KIND)
    column = pa.concat_arrays([some_null, same, pa.nulls(FILE_ROWS, KIND)])
    table = written(tmp_path / "rows.lance", column, "2.2")
    flat = FlatVectors.of(table, "wide")
    assert flat is not None
    assert flat.into(np.arange(FILE_ROWS), np.empty((FILE_ROWS, 2 * WIDTH), np.uint8))
    for first in (FILE_ROWS, 3 * FILE_ROWS):
        assert not flat.into(np.array([2, first]), np.empty((2, 2 * WIDTH), np.uint8))
    offsets = np.random.default_rng(1).integers(0, NUM_ROWS, 50)
    found = read_by_stream(table, ["number", "wide"], offsets).column("wide")
    assert found.combine_chunks().to_pylist() == column.take(pa.array(offsets)).to_pylist()
    assert FlatVectors.of(table, "narrow") is None


def test_a_batch_keeps_its_values_while_it_is_held_and_gives_its_memory_back(tmp_path):
    table = written(tmp_path / "rows.lance", vectors(NUM_ROWS, 0), "2.2")
    slots = [Slot((n,), (8,), np.arange(8) + 8 * n, np.zeros(8, np.int64)) for n in range(12)]
    held, addresses = [], set()
    for found in Fetcher(table, ["wide"]).read(slots):
        column = found.rows.column("wide").chunk(0)
        addresses.add(column.values.buffers()[1].address)
        if found.slot.numbers[0] < 2:
            held.append(column)
        del found, column
    assert pa.concat_arrays(held).equals(table.take(np.arange(16), ["wide"]).column("wide").combine_chunks())
    assert len(addresses) < 6
