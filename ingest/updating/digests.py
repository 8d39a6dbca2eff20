"""Digests of rows: the same content gives the same digest, on every machine. Equal rows are told apart by numbers."""

from __future__ import annotations

import hashlib
import json
from collections import Counter as Tally
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def digest(*parts: str) -> str:
    """A digest of texts, 32 hexadecimal digits."""
    return digest_bytes(*parts).hex()


def digest_bytes(*parts: str) -> bytes:
    """The same digest as 16 bytes."""
    return hashlib.blake2b("\x00".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def canonical(values: Mapping[str, Any]) -> str:
    """One text for equal values, in whatever order they come; bytes by their digest."""
    return _ENCODER.encode(values)


def row_digests(batch: pa.RecordBatch, *, salt: str = "") -> list[str]:
    """A digest of each row's content.

    Args:
        salt: mixed into every digest.
    """
    return [digest(salt, canonical(row)) for row in batch.to_pylist()]


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


def all_numbered(digests: pa.ChunkedArray) -> pa.Array:
    """What `numbered` gives, for all digests of a table at once and in a tenth of the memory."""
    codes = digests.combine_chunks().dictionary_encode().indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    is_first = np.diff(codes[order], prepend=-1) != 0
    firsts = np.maximum.accumulate(np.where(is_first, np.arange(len(codes)), 0))
    numbers = np.empty(len(codes), np.int64)
    numbers[order] = np.arange(len(codes)) - firsts
    suffixes = pc.if_else(
        pa.array(numbers == 0), "", pc.binary_join_element_wise("-", pa.array(numbers).cast("string"), "")
    )
    return pc.binary_join_element_wise(digests.combine_chunks(), suffixes, "")


def _text(value: Any) -> str:
    return hashlib.blake2b(value, digest_size=16).hexdigest() if isinstance(value, bytes) else str(value)


_ENCODER = json.JSONEncoder(sort_keys=True, default=_text, ensure_ascii=False)
