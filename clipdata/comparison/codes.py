"""Whole numbers for the values of a column: hashes that name clusters, and codes that name groups.

Vectorised over Arrow's buffers, since a Python object a value makes ten million rows slow. Knows Arrow arrays and
numpy; nothing of tables or of what the values mean.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clipdata.schema import is_text
from clipdata.statistics import IntArray

_HashArray = NDArray[np.uint64]
_LONG_BYTES = 1024
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def is_nameable(kind: pa.DataType) -> bool:
    """Whether a column of this type holds one value a row, which can name a cluster, a group or a pair."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return not (pa.types.is_nested(kind) or isinstance(kind, pa.BaseExtensionType))


def plain(values: Any) -> Any:
    """The same values, not held in a dictionary."""
    return values.cast(values.type.value_type) if pa.types.is_dictionary(values.type) else values


def hashes(values: pa.Array) -> IntArray:
    """64-bit hashes of the values of a column, equal for equal values in any batch; that of a null means nothing.

    8 bytes a row however long the texts. Two of ten million values fall together about once in 300,000 columns.
    Numbers never fall together with numbers. Every NaN is one value.
    """
    values = plain(values)
    kind = values.type
    if pa.types.is_floating(kind):
        found_N = values.cast(pa.float64()).fill_null(0.0).to_numpy(zero_copy_only=False) + 0.0  # -0.0 is 0.0
        return _mixed(np.where(np.isnan(found_N), np.nan, found_N).view(np.uint64)).view(np.int64)
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        wide = pa.uint64() if pa.types.is_uint64(kind) else pa.int64()
        return _mixed(values.cast(wide).fill_null(0).to_numpy(zero_copy_only=False).view(np.uint64)).view(np.int64)
    if pa.types.is_null(kind):
        return np.zeros(len(values), np.int64)
    if not _is_bytes(kind):
        values = values.cast(pa.large_string())
    return _hash_bytes(values.cast(pa.large_binary())).view(np.int64)


def _is_bytes(kind: pa.DataType) -> bool:
    kinds = pa.types
    others = (kinds.is_binary, kinds.is_large_binary, kinds.is_binary_view, kinds.is_fixed_size_binary)
    return is_text(kind) or any(check(kind) for check in others)


def _hash_bytes(values: pa.Array) -> _HashArray:
    """Hashes of `large_binary` values, eight bytes at a time."""
    _, offsets, data = values.buffers()
    bound = np.frombuffer(offsets, np.int64)[values.offset : values.offset + len(values) + 1]
    first, last = int(bound[0]), int(bound[-1])
    padded = np.zeros((last - first) // 8 * 8 + 16, np.uint8)
    if last > first:
        padded[: last - first] = np.frombuffer(data, np.uint8)[first:last]
    words = padded.view(np.uint64)
    start_N, size_N = bound[:-1] - first, np.diff(bound)
    hash_N = _mixed(size_N.astype(np.uint64))
    for byte in range(0, min(_LONG_BYTES, int(size_N.max(initial=0))), 8):
        live_N = (size_N > byte) & (size_N <= _LONG_BYTES)
        row_K = slice(None) if live_N.all() else np.flatnonzero(live_N)
        word_K = _word_at(words, start_N[row_K] + byte)
        spare_K = (np.maximum(0, 8 + byte - size_N[row_K]) * 8).astype(np.uint64)
        hash_N[row_K] = _mixed(hash_N[row_K] ^ (word_K << spare_K))
    for row in np.flatnonzero(size_N > _LONG_BYTES):
        text = padded[start_N[row] : start_N[row] + size_N[row]]
        hash_N[row] = int.from_bytes(hashlib.blake2b(text.tobytes(), digest_size=8).digest(), "little")
    return hash_N


def _word_at(words: _HashArray, byte_K: IntArray) -> _HashArray:
    """The eight bytes that begin at any byte, from words that begin at every eighth."""
    index_K = byte_K >> 3
    low_K = ((byte_K & 7) << 3).astype(np.uint64)
    # Shifted up in two steps, since a shift by all 64 bits is not defined.
    return (words[index_K] >> low_K) | ((words[index_K + 1] << np.uint64(1)) << (np.uint64(63) - low_K))


def _mixed(value_N: _HashArray) -> _HashArray:
    """A one-to-one map of 64 bits in which each bit of the input moves every bit of the output.

    Source: D. Stafford's variant 13 of the finaliser of MurmurHash3, as in SplitMix64.
    """
    mixed_N = value_N + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, _FIRST), (27, _SECOND)):
        mixed_N ^= mixed_N >> np.uint64(shift)
        mixed_N *= factor
    mixed_N ^= mixed_N >> np.uint64(31)
    return mixed_N


class GroupCodes:
    """Codes 0, 1, 2, … for the distinct values of a column, in order of first appearance; a null is a value."""

    def __init__(self) -> None:
        self._codes: dict[Any, int] = {}

    def encode(self, values: pa.Array) -> IntArray:
        """Codes of a batch."""
        values = plain(values)
        if pa.types.is_null(values.type):
            return np.full(len(values), self._code(None), np.int64)
        if pa.types.is_temporal(values.type) and not pa.types.is_duration(values.type):
            values = values.cast(pa.string())  # Python's own types have no nanoseconds
        elif pa.types.is_duration(values.type):
            values = values.cast(pa.int64())
        elif pa.types.is_float16(values.type):
            values = values.cast(pa.float32())
        encoded = values.dictionary_encode(null_encoding="encode")
        code_V = np.array([self._code(value) for value in encoded.dictionary.to_pylist()], np.int64)
        return code_V[encoded.indices.to_numpy(zero_copy_only=False)] if len(values) else np.zeros(0, np.int64)

    def values(self) -> tuple[str | None, ...]:
        """The values as text, by code."""
        return tuple(None if value is None else str(value) for value in self._codes)

    def _code(self, value: Any) -> int:
        if isinstance(value, float) and math.isnan(value):
            value = math.nan  # one object, since no NaN equals another
        return self._codes.setdefault(value, len(self._codes))


def alike(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """The type in which keys of two columns can be held against each other; None when they are of different kinds."""
    one, other = (kind.value_type if pa.types.is_dictionary(kind) else kind for kind in (one, other))
    kinds = pa.types
    if not (is_nameable(one) and is_nameable(other)):
        return None
    if one == other and not (kinds.is_string_view(one) or kinds.is_binary_view(one)):
        return one
    if kinds.is_integer(one) and kinds.is_integer(other):
        unsigned = kinds.is_uint64(one) or kinds.is_uint64(other)
        return pa.decimal128(20) if unsigned else pa.int64()
    if is_text(one) and is_text(other):
        return pa.large_string()
    if _is_bytes(one) and _is_bytes(other) and not is_text(one) and not is_text(other):
        return pa.large_binary()
    if kinds.is_floating(one) and kinds.is_floating(other):
        return pa.float64()
    return None


def as_keys(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Values as keys of one type; a NaN, like a null, is nobody's key."""
    keys = plain(values).cast(kind)
    return pc.if_else(pc.is_nan(keys), pa.scalar(None, kind), keys) if pa.types.is_floating(kind) else keys
