"""Equal values have equal hashes, others do not, however Arrow holds them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipdata.value_hashes import combined, hashes_of

PLAIN = {
    pa.string(): st.text(max_size=40),
    pa.large_binary(): st.binary(max_size=700),
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.bool_(): st.booleans(),
    pa.float32(): st.floats(width=32, allow_nan=False).map(lambda number: number + 0.0),
    pa.decimal128(20, 3): st.decimals(-1000, 1000, places=3),
    pa.timestamp("us", tz="UTC"): st.integers(0, 10**12),
    pa.binary(11): st.binary(min_size=11, max_size=11),
}
KINDS = {
    **PLAIN,
    **{pa.list_(kind): st.lists(st.none() | values, max_size=4) for kind, values in PLAIN.items()},
    pa.list_(pa.list_(pa.string())): st.lists(st.none() | st.lists(st.text(max_size=3), max_size=3), max_size=3),
    pa.list_(pa.int8(), 3): st.lists(st.integers(-128, 127), min_size=3, max_size=3),
    pa.struct([("a", pa.string()), ("b", pa.int64())]): st.fixed_dictionaries(
        {"a": st.none() | st.text(max_size=3), "b": st.integers(0, 3)}
    ),
}


@settings(max_examples=120, deadline=None, database=None)
@given(data=st.data(), kind=st.sampled_from(list(KINDS)))
def test_hashes_are_equal_exactly_where_values_are(data: Any, kind: pa.DataType) -> None:
    found = data.draw(st.lists(st.none() | KINDS[kind], max_size=12))
    values = pa.array([*found, *found], kind)
    texts = [repr(value) for value in values.to_pylist()]

    hash_N = hashes_of(values)

    assert hash_N.dtype == np.uint64
    assert [[one == other for other in texts] for one in texts] == (hash_N[:, None] == hash_N).tolist()
    start = len(values) // 3  # part of an array has the hashes of its values, whatever lies before it
    assert hashes_of(values[start:]).tolist() == hash_N[start:].tolist()
    assert hashes_of(pa.chunked_array([values[:start], values[start:]], kind)).tolist() == hash_N.tolist()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.array(["a", None]), pa.array(["a", None]).dictionary_encode()),
        (pa.array(["a", "b"]), pa.array(["a", "b"], pa.large_string())),
        (pa.array([0.0, float("nan")]), pa.array([-0.0, -float("nan")])),
        (pa.array([-3, 5], pa.int8()), pa.array([-3, 5])),
        (pa.array([1.5]), pa.array([1.5], pa.float32())),
        (pa.nulls(2), pa.nulls(2, pa.int64())),
    ],
)
def test_how_a_value_is_held_does_not_count(one: pa.Array, other: pa.Array) -> None:
    assert hashes_of(one).tolist() == hashes_of(other).tolist()


def test_the_order_of_columns_counts_and_hashes_are_spread() -> None:
    a, b = hashes_of(pa.array(range(200_000))), hashes_of(pa.array([str(n) for n in range(200_000)]))
    whole = combined([a, b])
    assert len(np.unique(np.concatenate([a, b, whole, combined([b, a])]))) == 800_000
    assert abs(np.unpackbits(b.view(np.uint8)).mean() - 0.5) < 0.001
