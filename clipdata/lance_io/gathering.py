"""Gathering: batches that a condition left with few rows, made whole again.

Lance decodes a batch and then drops the rows that a condition leaves out, so of a rare kind of rows it gives a few at a
time, and a model is as slow on three as on three hundred. It knows batches, and nothing of where they come from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

Chunk = tuple[np.ndarray, pa.RecordBatch]


def gathered(chunks: Iterable[Chunk], *, num_rows: int, num_bytes: int) -> Iterator[Chunk]:
    """Yield the same rows in order, in batches of as many as were asked for; a whole batch passes as it is.

    Args:
        chunks: int64 places [n], and the n rows.
        num_rows: most rows in a batch, beyond what a chunk has by itself.
        num_bytes: of a batch, above which it is not added to.
    """
    held: list[Chunk] = []
    for places, rows in chunks:
        if held and (_rows(held) + rows.num_rows > num_rows or _bytes(held) + rows.nbytes > num_bytes):
            yield _joined(held)
            held = []
        held.append((places, rows))
        if _rows(held) >= num_rows or _bytes(held) >= num_bytes:
            yield _joined(held)
            held = []
    if held:
        yield _joined(held)


def _rows(held: list[Chunk]) -> int:
    return sum(rows.num_rows for _, rows in held)


def _bytes(held: list[Chunk]) -> int:
    return sum(rows.nbytes for _, rows in held)


def _joined(held: list[Chunk]) -> Chunk:
    if len(held) == 1:
        return held[0]
    whole = pa.Table.from_batches([rows for _, rows in held]).combine_chunks()
    return np.concatenate([places for places, _ in held]), whole.to_batches()[0]
