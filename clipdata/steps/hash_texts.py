"""Hashes as texts and back: 64 bits are 16 hex digits, so that SQL, JSON and people read them alike. It knows Arrow."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_DIGITS = 16


def hash_texts(hash_NV: np.ndarray) -> pa.Array:
    """Texts of hashes: string [N], 16 hex digits a hash, V of them one behind the other.

    Args:
        hash_NV: uint64.
    """
    digits = hash_NV.astype(">u8").tobytes().hex().encode()
    offset_N = np.arange(len(hash_NV) + 1, dtype=np.int64) * (_DIGITS * hash_NV.shape[1])
    buffers = [None, pa.py_buffer(offset_N), pa.py_buffer(digits)]
    return pa.Array.from_buffers(pa.large_string(), len(hash_NV), buffers).cast(pa.string())


def is_hash(texts: pa.Array, variants: int) -> np.ndarray:
    """Tell which texts are hashes: bool [N].

    Args:
        texts: string [N]; a null is none.
        variants: hashes in each.
    """
    fits = pc.match_substring_regex(texts, rf"^[0-9a-fA-F]{{{_DIGITS * variants}}}$")
    return np.asarray(pc.fill_null(fits, False).to_numpy(zero_copy_only=False), bool)


def hashes_in(texts: pa.Array, variants: int) -> np.ndarray:
    """Hashes of texts that are such: uint64 [N, V]."""
    digits = "".join(texts.to_pylist())
    return np.frombuffer(bytes.fromhex(digits), ">u8").astype(np.uint64).reshape(len(texts), variants)
