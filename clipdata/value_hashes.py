"""Value hashes: 64 bits that stand for an Arrow value, so that millions of values are compared without being kept.

Equal values of one type have equal hashes; a null has one of its own, unlike that of any value. NaN is equal to itself,
and 0.0 to -0.0. Two different values have the same hash once in 2^64 pairs: of ten million rows beside ten million, one
wrong pair in about 180,000 such comparisons. It knows Arrow arrays, and nothing of tables.

Source: the mixing of 64 bits is SplitMix64's (Steele, Lea, Flood, "Fast splittable pseudorandom number generators",
OOPSLA 2014).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_NULL = np.uint64(0x6C62272E07BB0142)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_BLOCK = 8192  # rows at a time, so that what is computed of them stays in the processor's cache
_LONG_BYTES = 512  # from there on the digest of a value costs less than going through it in words


def hashes_of(values: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Hash each value of a column.

    Args:
        values: of any type, [N].

    Returns:
        uint64 [N].
    """
    if isinstance(values, pa.ChunkedArray):
        parts = [hashes_of(chunk) for chunk in values.chunks]
        return np.concatenate(parts) if parts else np.empty(0, np.uint64)
    hash_N = _hashes(values)
    if values.null_count:
        hash_N = np.where(_flags(values.is_null()), _NULL, hash_N)
    return hash_N


def combined(hashes: Sequence[np.ndarray]) -> np.ndarray:
    """One hash of several, in whose order they count.

    Args:
        hashes: uint64 [N], at least one.

    Returns:
        uint64 [N].
    """
    whole = np.zeros(len(hashes[0]), np.uint64)
    for hash_N in hashes:
        _take_up(whole, hash_N)
    return _mixed(whole)


def _hashes(values: pa.Array) -> np.ndarray:
    """Hashes of values whose nulls may have any."""
    kind = values.type
    if isinstance(kind, pa.BaseExtensionType):
        return hashes_of(values.storage)
    if pa.types.is_dictionary(kind):
        return hashes_of(values.dictionary_decode())
    if pa.types.is_run_end_encoded(kind):
        return hashes_of(pc.run_end_decode(values))
    if pa.types.is_null(kind):
        return np.full(len(values), _NULL)
    if pa.types.is_struct(kind):
        return combined([hashes_of(child) for child in values.flatten()] or [np.zeros(len(values), np.uint64)])
    if pa.types.is_fixed_size_list(kind):
        return _of_fixed_lists(values, kind.list_size)
    if pa.types.is_map(kind):
        return _of_lists(values.cast(pa.list_(pa.struct([kind.key_field, kind.item_field]))))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _of_lists(values)
    if pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        return _of_lists(values.cast(pa.large_list(kind.value_field)))
    if pa.types.is_boolean(kind):
        return _mixed(_flags(values.fill_null(False)).astype(np.uint64))
    if pa.types.is_floating(kind):
        number_N = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
        return _mixed(np.where(np.isnan(number_N), np.nan, number_N + 0.0).view(np.uint64))
    if pa.types.is_signed_integer(kind):
        return _of_fixed(values.cast(pa.int64()), 8)
    width = _width(kind)
    return _of_bytes(values.cast(pa.large_binary())) if width is None else _of_fixed(values, width)


def _width(kind: pa.DataType) -> int | None:
    """Bytes of a value of a fixed width; None where they vary."""
    try:
        return int(kind.bit_width) // 8
    except ValueError:
        return None


def _of_fixed(values: pa.Array, width: int) -> np.ndarray:
    """Hashes of values that take the same number of bytes each."""
    if len(values) == 0 or width == 0:
        return np.zeros(len(values), np.uint64)
    held = np.frombuffer(values.buffers()[1], np.uint8, (len(values) + values.offset) * width)
    byte_NW = held[values.offset * width :].reshape(len(values), width)
    if width in (1, 2, 4, 8):
        return _mixed(byte_NW.view(f"<u{width}").reshape(-1).astype(np.uint64))
    words = -(-width // 8)
    padded = np.zeros((len(values), words * 8), np.uint8)
    padded[:, :width] = byte_NW
    word_NW = padded.view("<u8")
    return combined([word_NW[:, word] for word in range(words)])


def _of_bytes(values: pa.Array) -> np.ndarray:
    """Hashes of texts and byte strings, word by word; long ones by their digest."""
    blocks = [_of_block(values.slice(start, _BLOCK)) for start in range(0, len(values), _BLOCK)]
    return np.concatenate(blocks) if blocks else np.empty(0, np.uint64)


def _of_block(values: pa.Array) -> np.ndarray:
    offset_N = np.frombuffer(values.buffers()[1], np.int64, len(values) + 1 + values.offset)[values.offset :]
    length_N, first = np.diff(offset_N), int(offset_N[0])
    data = values.buffers()[2]
    hash_N = _mixed(length_N.astype(np.uint64))
    if data is None or not length_N.any():
        return _mixed(hash_N)
    padded = np.zeros(int(offset_N[-1]) - first + 8, np.uint8)
    padded[:-8] = np.frombuffer(data, np.uint8)[first : int(offset_N[-1])]
    word_at = np.ndarray((len(padded) - 7,), "<u8", padded, strides=(1,))  # the eight bytes that begin at each place
    is_long = length_N >= _LONG_BYTES
    held = memoryview(data)
    for row in np.flatnonzero(is_long):
        digest = hashlib.blake2b(held[offset_N[row] : offset_N[row + 1]], digest_size=8).digest()
        hash_N[row] = np.frombuffer(digest, np.uint64)[0]
    row_R = np.flatnonzero(~is_long & (length_N > 0))
    place_R, left_R, done_R = offset_N[row_R] - first, length_N[row_R], hash_N[row_R]
    while len(row_R):
        word_R, least = word_at[place_R], int(left_R.min())
        if least < 8:
            word_R &= _ALL >> (np.uint64(64) - np.minimum(left_R, 8).astype(np.uint64) * np.uint64(8))
        _take_up(done_R, word_R)
        if least <= 8:
            hash_N[row_R] = done_R
            goes_on = left_R > 8
            row_R, place_R, left_R, done_R = row_R[goes_on], place_R[goes_on], left_R[goes_on], done_R[goes_on]
        place_R += 8
        left_R -= 8
    return np.where(is_long, hash_N, _mixed(hash_N))


def _of_fixed_lists(values: pa.Array, size: int) -> np.ndarray:
    if size == 0:
        return np.zeros(len(values), np.uint64)
    entry_NS = hashes_of(values.values.slice(values.offset * size, len(values) * size)).reshape(len(values), size)
    placed_NS = _placed(entry_NS.reshape(-1), np.tile(np.arange(size), len(values))).reshape(-1, size)
    return _mixed(placed_NS.sum(axis=1, dtype=np.uint64))


def _of_lists(values: pa.Array) -> np.ndarray:
    offset_N = values.offsets.to_numpy().astype(np.int64)
    length_N = np.diff(offset_N)
    entry_E = hashes_of(values.values.slice(offset_N[0], offset_N[-1] - offset_N[0])) if len(values) else None
    sum_N = np.zeros(len(values), np.uint64)
    if entry_E is not None and len(entry_E):
        start_N = offset_N[:-1] - offset_N[0]
        place_E = np.arange(len(entry_E)) - np.repeat(start_N, length_N)
        held = length_N > 0
        sum_N[held] = np.add.reduceat(_placed(entry_E, place_E), start_N[held])
    return _mixed(sum_N + length_N.astype(np.uint64) * _GOLDEN)


def _placed(entry_E: np.ndarray, place_E: np.ndarray) -> np.ndarray:
    """Hashes of entries in which their place counts, so that they can be added up."""
    return _mixed(entry_E * _GOLDEN + place_E.astype(np.uint64) + np.uint64(1))


def _take_up(hash_N: np.ndarray, word_N: np.ndarray) -> None:
    """Let hashes depend on another word each, in place; two words never lead to one hash here."""
    hash_N ^= word_N
    hash_N *= _GOLDEN
    hash_N ^= hash_N >> np.uint64(32)


def _mixed(word_N: np.ndarray) -> np.ndarray:
    """SplitMix64's mixing of 64 bits; a new array."""
    mixed_N: np.ndarray = word_N + _GOLDEN
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed_N ^= mixed_N >> np.uint64(shift)
        mixed_N *= np.uint64(factor)
    mixed_N ^= mixed_N >> np.uint64(31)
    return mixed_N


def _flags(values: pa.Array) -> np.ndarray:
    flags: np.ndarray = values.to_numpy(zero_copy_only=False)
    return flags.astype(np.bool_)
