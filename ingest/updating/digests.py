"""Digests of rows: the same content gives the same digest, on every machine. Equal rows are told apart by numbers.

Content is what a row says, not how it is stored. Neither the order of columns counts nor the width of a type (int32
and int64, float and double, string and large_string, list and large_list, a dictionary, another unit of time); a whole
number is the same as an integer or as a float; and a null is as if its column were not there. So a new column that is
null everywhere changes no digest. `canonical_texts` says it all; a row is digested as one text, whatever its batch.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter as Tally
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

DIGEST_BYTES = 16
_TEXT = pa.large_binary()
_blake2b = hashlib.blake2b
_WHOLE_BELOW = 2.0**63
_NS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_US = {"s": 1_000_000, "ms": 1_000, "us": 1}


def digest(*parts: str) -> str:
    """A digest of texts, 32 hexadecimal digits."""
    return digest_bytes(*parts).hex()


def digest_bytes(*parts: str) -> bytes:
    """The same digest as 16 bytes."""
    return _digest("\x00".join(parts).encode("utf-8", "surrogatepass"))


def packed_digests(texts: Sequence[str]) -> np.ndarray:
    """The same of each of some texts.

    Returns:
        uint8 [n, 16].
    """
    # Spelled out and not a call of `digest_bytes`: the calls would take twice as long as the digests.
    found = [_blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() for text in texts]
    return np.frombuffer(b"".join(found), np.uint8).reshape(-1, DIGEST_BYTES)


def canonical(values: Mapping[str, Any]) -> str:
    """One text for equal values, in whatever order they come; bytes by their digest."""
    return _ENCODER.encode(values)


def row_digests(batch: pa.RecordBatch | pa.Table, *, salt: str = "") -> list[str]:
    """A digest of each row's content, 32 hexadecimal digits.

    Args:
        salt: mixed into every digest.
    """
    packed = digests_of_rows(batch, salt=salt).tobytes().hex()
    return [packed[place : place + 2 * DIGEST_BYTES] for place in range(0, len(packed), 2 * DIGEST_BYTES)]


def digests_of_rows(batch: pa.RecordBatch | pa.Table, *, salt: str = "") -> np.ndarray:
    """The same digests as bytes.

    Returns:
        uint8 [N, 16].
    """
    columns = sorted(zip(batch.schema.names, batch.columns, strict=True), key=lambda column: column[0])
    texts = _parts([(name, _one_array(values)) for name, values in columns], batch.num_rows, f"{salt}\x00".encode())
    return digests_of_texts(texts)


def digests_of_texts(texts: pa.Array) -> np.ndarray:
    """A digest of each text or byte string; that of a null is the one of an empty text.

    Returns:
        uint8 [N, 16].
    """
    # Spelled out and not a call of `_digest`: the call would take as long as the digest.
    packed = b"".join([_blake2b(text or b"", digest_size=16).digest() for text in texts.cast(_TEXT).to_pylist()])
    return np.frombuffer(packed, np.uint8).reshape(-1, DIGEST_BYTES)


def digests_of_bytes(rows: np.ndarray) -> np.ndarray:
    """A digest of each row of bytes.

    Args:
        rows: uint8 [N, K].

    Returns:
        uint8 [N, 16].
    """
    width, packed = rows.shape[1], rows.tobytes()
    starts = range(0, len(packed), width)
    digests = [_blake2b(packed[place : place + width], digest_size=16).digest() for place in starts]
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, DIGEST_BYTES)


def numbered(digests: list[str], counts: Tally[bytes]) -> list[str]:
    """Digests in which the second of two equal ones bears a number, the third another, and so on.

    Args:
        counts: kept from batch to batch.
    """
    names = []
    for plain in digests:
        short = bytes.fromhex(plain)  # there may be millions, and a text takes twice the memory
        number = counts[short]
        counts[short] += 1
        names.append(plain if number == 0 else f"{plain}-{number}")
    return names


def numbers_among_equal(digests: np.ndarray) -> np.ndarray:
    """Which of the equal ones each digest is: what `numbered` counts, for all digests of a table at once.

    Args:
        digests: uint8 [N, 16].

    Returns:
        int32 [N], 0 for the first.
    """
    halves = np.ascontiguousarray(digests).view(np.uint64)
    order = np.lexsort((halves[:, 1], halves[:, 0])).astype(np.int32 if len(halves) < 2**31 else np.int64)
    numbers = np.zeros(len(order), np.int32)
    if len(order) == 0:
        return numbers
    is_equal = np.zeros(len(order), np.bool_)
    is_equal[1:] = (halves[order[1:]] == halves[order[:-1]]).all(axis=1)
    repeats = np.flatnonzero(is_equal)
    firsts = np.flatnonzero(~is_equal)
    numbers[order[repeats]] = repeats - firsts[np.searchsorted(firsts, repeats) - 1]
    return numbers


def canonical_texts(values: pa.Array) -> pa.Array:
    """One text for equal values of a column; it begins with a letter for the kind of value.

    Args:
        values: of any type, [N].

    Returns:
        large_binary [N], null where the value is null.
    """
    kind = values.type
    if isinstance(kind, pa.BaseExtensionType):
        return canonical_texts(values.storage)
    if pa.types.is_dictionary(kind):
        return canonical_texts(values.dictionary_decode())
    if pa.types.is_run_end_encoded(kind):
        return canonical_texts(pc.run_end_decode(values))
    if pa.types.is_null(kind):
        return pa.nulls(len(values), _TEXT)
    if pa.types.is_struct(kind):
        fields = sorted(zip([field.name for field in kind], values.flatten(), strict=True), key=lambda field: field[0])
        texts = _parts(fields, len(values), b"r")
        return pc.if_else(values.is_valid(), texts, pa.scalar(None, _TEXT))
    if _is_list(kind):
        return _list_texts(values)
    return _plain_texts(values)


def _plain_texts(values: pa.Array) -> pa.Array:
    """Texts of values that hold no others."""
    kind = values.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return _lettered(b"s", values.cast(pa.large_string()))
    if pa.types.is_integer(kind):
        return _lettered(b"i", values)
    if pa.types.is_floating(kind):
        return _float_texts(values)
    if pa.types.is_boolean(kind):
        return _lettered(b"b", values.cast(pa.uint8()))
    if pa.types.is_timestamp(kind):
        return _timestamp_texts(values)
    if pa.types.is_date(kind):
        return _lettered(b"D", values.cast(pa.date32()).cast(pa.int32()))
    if pa.types.is_time(kind):
        whole = values.cast(pa.int32() if kind.bit_width == 32 else pa.int64()).cast(pa.int64())
        return _lettered(b"h", pc.multiply(whole, _NS[kind.unit]))
    if pa.types.is_duration(kind):
        return _lettered(b"u", pc.multiply(values.cast(pa.int64()), _NS[kind.unit]))
    if pa.types.is_decimal(kind):
        return _decimal_texts(values)
    if _is_bytes(kind):
        digests = [None if value is None else _digest(value) for value in values.to_pylist()]
        return _lettered(b"x", pa.array(digests, _TEXT))
    return _lettered(b"o", pa.array([None if value is None else str(value) for value in values.to_pylist()]))


def _float_texts(values: pa.Array) -> pa.Array:
    """Whole numbers as integers, the others by their bits as doubles; every NaN is the same."""
    numbers = values.cast(pa.float64())
    plain = numbers.fill_null(0.0).to_numpy()
    is_whole = np.isfinite(plain) & (np.abs(plain) < _WHOLE_BELOW) & (np.trunc(plain) == plain)
    whole = np.where(is_whole, plain, 0.0).astype(np.int64)
    bits = np.where(np.isnan(plain), np.nan, plain).view(np.int64)
    texts = pc.if_else(pa.array(is_whole), _lettered(b"i", pa.array(whole)), _lettered(b"f", pa.array(bits)))
    return pc.if_else(numbers.is_valid(), texts, pa.scalar(None, _TEXT))


def _timestamp_texts(values: pa.Array) -> pa.Array:
    """Microseconds, and the nanoseconds beyond them where there are any; a zone says how a moment is shown."""
    unit, letter = values.type.unit, b"T" if values.type.tz else b"t"
    whole = values.cast(pa.int64())
    if unit != "ns":
        return _lettered(letter, pc.multiply(whole, _US[unit]))
    plain = whole.fill_null(0).to_numpy()
    us, rest = np.divmod(plain, 1000)
    beyond = pc.if_else(pa.array(rest == 0), pa.scalar(b"", _TEXT), _lettered(b".", pa.array(rest)))
    texts = _joined(_lettered(letter, pa.array(us)), beyond)
    return pc.if_else(values.is_valid(), texts, pa.scalar(None, _TEXT))


def _decimal_texts(values: pa.Array) -> pa.Array:
    """Without zeros behind the last digit, so that the scale does not count."""
    texts = pc.replace_substring_regex(values.cast(pa.string()), r"(\.[0-9]*?)0+$", r"\1")
    texts = pc.utf8_rtrim(texts, characters=".")
    return pc.if_else(pc.match_substring(texts, "."), _lettered(b"d", texts), _lettered(b"i", texts))


def _list_texts(values: pa.Array) -> pa.Array:
    """The elements one after the other, each with its length before it."""
    if pa.types.is_map(values.type):
        values = _list_of_pairs(values)
    lengths = pc.list_value_length(values).fill_null(0).to_numpy().astype(np.int64)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    elements = _framed(canonical_texts(values.flatten())).fill_null(pa.scalar(b"n", _TEXT))
    joined = pc.binary_join(pa.LargeListArray.from_arrays(pa.array(offsets), elements), pa.scalar(b"", _TEXT))
    return pc.if_else(values.is_valid(), _joined(pa.scalar(b"l", _TEXT), joined), pa.scalar(None, _TEXT))


def _list_of_pairs(values: pa.MapArray) -> pa.Array:
    """A map as a list, in which the order counts."""
    pair = pa.struct([("key", values.type.key_type), ("value", values.type.item_type)])
    lists = [None if pairs is None else [{"key": k, "value": v} for k, v in pairs] for pairs in values.to_pylist()]
    return pa.array(lists, pa.large_list(pair))


def _parts(columns: Iterable[tuple[str, pa.Array]], num_rows: int, start: bytes) -> pa.Array:
    """Names and values of several columns as one text a row, each with its length before it; nulls are left out."""
    parts: list[pa.Array | pa.Scalar] = [pa.array([start] * num_rows, _TEXT)]
    for name, values in columns:
        texts = canonical_texts(values)
        if texts.null_count < num_rows:
            spelled = name.encode("utf-8", "surrogatepass")
            label = pa.scalar(b"%d:%s" % (len(spelled), spelled), _TEXT)
            parts.append(_joined(label, _framed(texts)).fill_null(pa.scalar(b"", _TEXT)))
    return _joined(*parts)


def _framed(texts: pa.Array) -> pa.Array:
    """Texts with their length before them, so that what follows cannot be taken for a part of them."""
    lengths = pc.binary_length(texts).cast(pa.large_string()).cast(_TEXT)
    return _joined(lengths, pa.scalar(b":", _TEXT), texts)


def _lettered(letter: bytes, values: pa.Array) -> pa.Array:
    texts = values if values.type == _TEXT else values.cast(pa.large_string()).cast(_TEXT)
    return _joined(pa.scalar(letter, _TEXT), texts)


def _joined(*texts: pa.Array | pa.Scalar) -> pa.Array:
    """Texts one after the other; null where one of them is."""
    return pc.binary_join_element_wise(*texts, pa.scalar(b"", _TEXT))


def _one_array(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


def _is_list(kind: pa.DataType) -> bool:
    plain = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return plain or pa.types.is_map(kind) or pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind)


def _is_bytes(kind: pa.DataType) -> bool:
    plain = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)
    return plain or pa.types.is_fixed_size_binary(kind)


def _digest(data: bytes) -> bytes:
    return _blake2b(data, digest_size=DIGEST_BYTES).digest()


def _text(value: Any) -> str:
    return _digest(value).hex() if isinstance(value, bytes) else str(value)


_ENCODER = json.JSONEncoder(sort_keys=True, default=_text, ensure_ascii=False)
