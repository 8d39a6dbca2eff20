"""Groups: rows that a column puts together, such as near duplicates; the largest first, those of one row left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata.viewer.cells import cell
from clipdata.viewer.columns import shown_columns, title_of
from clipdata.viewer.orders import numbers_of, require_family
from clipdata.viewer.sources.protocol import Source

MOST_GROUPS, MOST_MEMBERS = 60, 24


def groups_of(
    source: Source, positions: np.ndarray, column: str, *, score: str | None = None, least: float | None = None
) -> dict[str, Any]:
    """Rows that share a value.

    Args:
        positions: rows that count, uint32 [K].
        column: of texts or whole numbers.
        score: column of numbers that says how sure a row belongs to its group.
        least: rows with less of it are left out.

    Returns:
        JSON values: groups with positions of their rows, and how many there are.

    Raises:
        SchemaError: there is no such column, or it holds something else.
    """
    require_family(source, column, ("text", "number"))
    values = source.read([column]).column(0).take(pa.array(positions))
    keeps_K = np.asarray(values.is_valid())
    low = high = None
    if score is not None:
        require_family(source, score, ("number",))
        score_K = numbers_of(source.read([score]).column(0))[positions]
        finite = score_K[np.isfinite(score_K)]
        low, high = (float(finite.min()), float(finite.max())) if len(finite) else (None, None)
        if least is not None:
            keeps_K &= score_K >= least
    rows_K = positions[keeps_K]
    encoded = pc.dictionary_encode(values.filter(pa.array(keeps_K)).combine_chunks())
    code_K = encoded.indices.to_numpy(zero_copy_only=False)
    counts = np.bincount(code_K, minlength=len(encoded.dictionary)) if len(code_K) else np.empty(0, np.int64)
    several = np.flatnonzero(counts > 1)
    largest = several[np.argsort(-counts[several], kind="stable")][:MOST_GROUPS]
    by_code = np.argsort(code_K, kind="stable")
    ends = np.cumsum(counts)
    groups = [
        {
            "value": cell(encoded.dictionary[int(code)].as_py()),
            "count": int(counts[code]),
            "rows": rows_K[by_code[ends[code] - counts[code] : ends[code]]][:MOST_MEMBERS].tolist(),
        }
        for code in largest
    ]
    num_rows = int(counts[several].sum())
    return {
        "column": column, "groups": groups, "num_groups": len(several), "num_rows": num_rows,
        "num_spare": num_rows - len(several), "low": low, "high": high,
        "labels": _labels(source, [row for group in groups for row in group["rows"]]),
    }  # fmt: skip


def _labels(source: Source, rows: list[int]) -> dict[int, str]:
    """What a few rows are called, by their positions."""
    title = title_of(shown_columns(source.schema, source.key))
    if title is None or not rows:
        return {}
    names = source.take(np.array(rows, np.int64), [title]).column(0).to_pylist()
    return {row: str(cell(name)) for row, name in zip(rows, names, strict=True) if name is not None}


def spare_rows(
    source: Source, positions: np.ndarray, column: str, *, score: str | None = None, least: float | None = None
) -> np.ndarray:
    """All rows of groups but the first of each, uint32 [M]: what one decision on the whole batch is about."""
    require_family(source, column, ("text", "number"))
    values = source.read([column]).column(0).take(pa.array(positions))
    keeps_K = np.asarray(values.is_valid())
    if score is not None and least is not None:
        require_family(source, score, ("number",))
        keeps_K &= numbers_of(source.read([score]).column(0))[positions] >= least
    rows_K = positions[keeps_K]
    codes = pc.dictionary_encode(values.filter(pa.array(keeps_K)).combine_chunks()).indices
    first = np.unique(codes.to_numpy(zero_copy_only=False), return_index=True)[1]
    is_spare_K = np.ones(len(rows_K), bool)
    is_spare_K[first] = False
    return np.sort(rows_K[is_spare_K])
