"""Likeness: rows to measure that look like rows trained on, or say the same, by small columns that a table has.

Equal rows and pictures `overlap.py` counts, from digests; this asks the columns that steps of duplicates made, and
captions. It knows tables, and decodes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from clipdata.split_check.evidence import caption_columns, picture_columns
from clipdata.split_check.sharing import rows_that_share
from clipdata.trained_rows import TrainedRows
from clipdata.training.overlap import Overlap, overlap_of
from clipdata.training.rows_read import RowsRead


def overlap_in(read: RowsRead, earlier: Sequence[TrainedRows]) -> Overlap | None:
    """What rows to measure share with those trained on: rows, pictures, look and words; None where none are measured.

    Args:
        read: names both.
        earlier: what the encoder that training begins with was trained on.
    """
    held_out = read.held_out
    if held_out is None:
        return None
    seen_H = np.isin(held_out.offsets, read.rows.offsets)
    seen_H |= (held_out.pictures_N != 0) & np.isin(held_out.pictures_N, read.rows.pictures_N)
    schema = read.table.schema
    alike_H, equal_H = np.zeros_like(seen_H), np.zeros_like(seen_H)
    for columns, found_H in ((picture_columns(schema), alike_H), (caption_columns(schema), equal_H)):
        for column in columns:
            found_H |= rows_that_share(read.table, column, held_out.offsets, read.rows.offsets)
    return replace(
        overlap_of(held_out, read.rows, earlier),
        rows_alike=int((alike_H & ~seen_H).sum()),
        rows_of_equal_captions=int((equal_H & ~seen_H).sum()),
    )
