"""How many rows a clump and a window have, by what a row weighs."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipdata.errors import ConfigError
from clipdata.stream.plan import Plan
from clipdata.stream.windows import CLUMP_BYTES, LEAST_WINDOW_ROWS, WINDOW_BYTES, sizes_for


@given(st.floats(0, 1e10))
def test_a_window_fits_its_bytes_and_has_at_least_a_clump(row_bytes):
    clump_rows, window_rows = sizes_for(row_bytes)

    assert Plan(10**9, 64, clump_rows=clump_rows, window_rows=window_rows)
    assert window_rows % clump_rows == 0
    assert window_rows * row_bytes <= WINDOW_BYTES or window_rows <= LEAST_WINDOW_ROWS
    assert clump_rows * row_bytes <= CLUMP_BYTES or clump_rows == 1


@given(st.floats(0, 420_000))
def test_a_thousand_rows_and_the_rest_of_their_window_are_few_clumps_of_many_places(row_bytes):
    clump_rows, window_rows = sizes_for(row_bytes)

    assert math.ceil((1216 + window_rows) / clump_rows) <= 21
    assert window_rows / clump_rows >= 4


def test_heavier_rows_never_make_larger_clumps():
    clumps = [sizes_for(row_bytes)[0] for row_bytes in range(0, 10**7, 1500)]

    assert clumps == sorted(clumps, reverse=True)
    assert [sizes_for(row_bytes) for row_bytes in (2000.0, 60_000, 400_000)] == [(448, 8064), (165, 2145), (74, 296)]


@pytest.mark.parametrize("row_bytes", [-1.0, math.nan, math.inf])
def test_what_is_no_number_of_bytes_is_refused(row_bytes):
    with pytest.raises(ConfigError, match="expected 0 or more"):
        sizes_for(row_bytes)
