"""Right and wrong answers from ragged score lists, vectorised. Knows Arrow lists and numpy; nothing of tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clipdata.errors import SchemaError
from clipdata.schema import is_list
from clipdata.statistics import FloatArray, IntArray

SmallArray = NDArray[np.float32]


@dataclass(frozen=True)
class Judged:
    """Answers of N rows.

    Args:
        right_N: 1.0 when the right choice scores above every other, 0.0 when not, NaN when it cannot be told.
        choices_N: number of choices; NaN where `right_N` is.
        tied_N: whether the right choice shares the top score; such a row counts as wrong.
    """

    right_N: SmallArray
    choices_N: SmallArray
    tied_N: np.ndarray


def pick(values: pa.Array, label: pa.Array | None) -> FloatArray:
    """Value of each row: the number itself, or of a list the entry at the row's right index; NaN when there is none."""
    if not is_list(values.type):
        return _to_float(values)
    assert label is not None, "a list column needs the right index"
    flat, start_N, size_N = _ragged(values)
    index_N = _index(label)
    known_N = (index_N >= 0) & (index_N < size_N)
    picked_N = np.full(len(values), np.nan)
    picked_N[known_N] = flat[start_N[known_N] + index_N[known_N]]
    return picked_N


def judge(scores: pa.Array, label: pa.Array) -> Judged:
    """Tell which rows are answered right.

    Args:
        scores: lists of numbers, one a choice; lengths may differ.
        label: index of the right choice; see `places`.
    """
    right_N, choices_N = np.full((2, len(scores)), np.nan, np.float32)
    tied_N = np.zeros(len(scores), np.bool_)
    lists = lay_out(scores, label)
    if len(lists.row_K):
        first_K, right_K = lists.first_K, lists.scores_E[lists.right_K]
        has_nan_K = np.add.reduceat(np.isnan(lists.scores_E), first_K) > 0
        right_E = np.repeat(right_K, lists.size_K)
        as_high_K = np.add.reduceat(lists.scores_E >= right_E, first_K)
        above_K = np.add.reduceat(lists.scores_E > right_E, first_K)
        right_N[lists.row_K] = np.where(has_nan_K, np.nan, as_high_K == 1)
        choices_N[lists.row_K] = np.where(has_nan_K, np.nan, lists.size_K)
        tied_N[lists.row_K] = ~has_nan_K & (above_K == 0) & (as_high_K > 1)
    return Judged(right_N, choices_N, tied_N)


@dataclass(frozen=True)
class Lists:
    """Score lists of K rows laid end to end, E entries in all.

    Args:
        row_K: place of the row among those given.
        scores_E: the scores.
        first_K: where each row's stretch begins.
        size_K: how long it is.
        right_K: the place of the right choice, in `scores_E`.
    """

    row_K: IntArray
    scores_E: FloatArray
    first_K: IntArray
    size_K: IntArray
    right_K: IntArray


def lay_out(scores: pa.Array, label: pa.Array, wanted_N: np.ndarray | None = None) -> Lists:
    """The lists of those rows whose right choice is in their list, so that every stretch is one row.

    Args:
        scores: lists of numbers.
        label: index of the right choice; see `places`.
        wanted_N: bool, rows to take; all of them by default.
    """
    flat, start_N, size_N = _ragged(scores)
    index_N = _index(label)
    known_N = (index_N >= 0) & (index_N < size_N)
    row_K = np.flatnonzero(known_N if wanted_N is None else known_N & wanted_N)
    start_K, size_K = start_N[row_K], size_N[row_K]
    end_K = np.cumsum(size_K)
    first_K = end_K - size_K
    entry_E = np.repeat(start_K - first_K, size_K) + np.arange(end_K[-1] if len(end_K) else 0)
    return Lists(row_K, flat[entry_E], first_K, size_K, first_K + index_N[row_K])


def no_and_yes(probability: pa.Array) -> pa.Array:
    """Probabilities of a label as lists of two scores: that it is not so, and that it is."""
    yes_N = _to_float(probability)
    pairs = pa.array(np.column_stack([1.0 - yes_N, yes_N]).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(pairs, 2)


def is_number(kind: pa.DataType) -> bool:
    """Whether a column holds one number (or truth value) a row."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def is_place(kind: pa.DataType) -> bool:
    """Whether a column can hold the index of the right choice: whole numbers, also where they are held as floats."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind))


def places(label: pa.Array, column: str = "label_index") -> pa.Array:
    """Indices of the right choices as int64; null where there is none, negative or too large where no list has it.

    Args:
        label: of a type that `is_place` knows; a NaN is no index.
        column: what a message calls it.

    Raises:
        SchemaError: a number is not whole.
    """
    if pa.types.is_dictionary(label.type):
        label = label.cast(label.type.value_type)
    if not pa.types.is_floating(label.type):
        return label.cast(pa.int64(), safe=False)
    number = label.cast(pa.float64())
    finite = pc.is_finite(number)
    broken = number.filter(pc.and_(finite, pc.not_equal(number, pc.floor(number))))
    if len(broken):
        raise SchemaError(
            f"compare: {column!r} holds {broken[0].as_py()!r}; expected whole numbers, the places of the right choices",
            hint="name the column of the places, from 0: label_index=…",
        )
    held = pc.and_(finite, pc.less(pc.abs(number), 2.0**62))
    return pc.if_else(held, number, pa.scalar(None, pa.float64())).cast(pa.int64())


def _to_float(values: pa.Array) -> FloatArray:
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    found_N: FloatArray = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False).astype(np.float64)
    found_N[~np.isfinite(found_N)] = np.nan
    return found_N


def _index(label: pa.Array) -> IntArray:
    index_N: IntArray = places(label).fill_null(-1).to_numpy(zero_copy_only=False)
    return index_N


def _ragged(values: pa.Array) -> tuple[FloatArray, IntArray, IntArray]:
    """Flat entries, and the start and length of each row's stretch; a null row has length 0."""
    if pa.types.is_fixed_size_list(values.type):
        values = values.cast(pa.list_(values.type.value_type))
    lengths = pc.list_value_length(values).fill_null(0).cast(pa.int64())
    size_N = lengths.to_numpy(zero_copy_only=False)
    start_N = np.asarray(values.offsets[:-1].cast(pa.int64()))
    return _to_float(values.values), start_N, size_N
