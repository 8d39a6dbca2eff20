"""Thresholds: one figure of a row against a number, and the number above which a share of the rows lies.

NaN is no figure: SQL takes it for the greatest of all, so each condition on floats leaves it out by name.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata.arguments import check_condition
from clipdata.errors import UsageError
from clipdata.filters.naming import Named, find, require_numbers
from clipdata.filters.records import Filter
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.plurals import counted

SCAN_ROWS = 65_536


def at_least(table: AnyTable, column: str, least: float, *, source: str = "", hint: str | None = None) -> Filter:
    """Rows whose figure is at least a number.

    Args:
        table: that holds the figures, or where it is.
        column: of numbers, or a field of a struct column: "quality.sharpness".
        least: the number.
        source: the paper or page that it is from.
        hint: how the column is made, if it is not there.

    Raises:
        UsageError: it is no number.
        SchemaError: there is no such column of numbers.
    """
    return _against(table, column, ">=", least, source, hint)


def at_most(table: AnyTable, column: str, most: float, *, source: str = "", hint: str | None = None) -> Filter:
    """Rows whose figure is at most a number; see `at_least`."""
    return _against(table, column, "<=", most, source, hint)


def top_share(
    table: AnyTable,
    column: str,
    share: float,
    *,
    where: str | None = None,
    ties: str = "keep",
    source: str = "",
    hint: str | None = None,
) -> Filter:
    """The given share of the rows, those with the highest figures.

    The threshold is exact: of n figures it is the k-th highest, where k is share × n rounded, and at least 1. Figures
    that are null or NaN have no rank and count as no row. A figure takes as many bytes of memory as the column gives
    it, 4 for a float32.

    Args:
        table: its figures are read once, at the version it is pinned to; or where it is.
        column: of numbers, or a field of a struct column: "quality.sharpness".
        share: of the rows that have a figure, above 0 and at most 1.
        where: SQL condition of the rows that are ranked; the filter itself keeps rows outside of them, too.
        ties: "keep" keeps all rows that tie at the threshold, so that there may be more than the share; "drop" keeps
            none of them where they do not all fit. `figures` tells how many there are.
        source: the paper or page that it is from.
        hint: how the column is made, if it is not there.

    Raises:
        UsageError: the share is none, `ties` is another word, or no row has a figure.
        SchemaError: there is no such column of numbers.
    """
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        raise UsageError(f"top_share: share is {share!r:.80}; expected one above 0 and at most 1", hint="0.3 is 30 %")
    if ties not in ("keep", "drop"):
        raise UsageError(f"top_share: ties is {ties!r:.80}; expected 'keep' or 'drop'")
    check_condition(where)
    held = as_table(table)
    named = find(held, column, hint=hint)
    require_numbers(held, named)
    figures_N = _figures(held, named, where)
    if not len(figures_N):
        raise UsageError(f"top_share: no row has a figure in {named}", hint=hint or "fill that column first")
    num_wanted = max(1, math.floor(share * len(figures_N) + 0.5))
    figures_N.partition(len(figures_N) - num_wanted)
    threshold = figures_N[len(figures_N) - num_wanted]
    num_above = int(np.count_nonzero(figures_N > threshold))
    num_equal = int(np.count_nonzero(figures_N == threshold))
    strict = ties == "drop" and num_above + num_equal > num_wanted
    found = {
        "threshold": threshold.item(),
        "ranked": len(figures_N),
        "wanted": num_wanted,
        "kept": num_above + (0 if strict else num_equal),
        "at_the_threshold": num_equal,
    }
    condition = _condition(named, ">" if strict else ">=", threshold.item())
    return Filter(f"top {share * 100:.6g} % of {named}", condition, source, _about_ties(found, strict), found)


def _about_ties(found: dict[str, Any], strict: bool) -> str:
    if found["kept"] == found["wanted"]:
        return ""
    rows = f"{counted(found['at_the_threshold'], 'row ties', 'rows tie')} at the threshold"
    return f"{rows} and are {'left out' if strict else 'all kept'}: {found['kept']:,} for {found['wanted']:,} wanted"


def _against(table: AnyTable, column: str, sign: str, number: Any, source: str, hint: str | None) -> Filter:
    held = as_table(table)
    named = find(held, column, hint=hint)
    require_numbers(held, named)
    if isinstance(number, bool) or not isinstance(number, int | float | np.number) or not math.isfinite(number):
        raise UsageError(f"filter: {named} is held to {number!r:.80}; expected a number")
    plain = number.item() if isinstance(number, np.number) else number
    return Filter(f"{named} {sign} {plain:g}", _condition(named, sign, plain), source, figures={"threshold": plain})


def _figures(table: Table, named: Named, where: str | None) -> np.ndarray:
    """The figures that have a rank: of the column's own type [N]."""
    figures_N = np.empty(table.count_rows(where), named.kind.to_pandas_dtype())
    num_read = 0
    for batch in table.scan([named.column], where=where, batch_rows=SCAN_ROWS):
        values = batch.column(0)
        values = values if named.field is None else pc.struct_field(values, named.field)
        read = values.drop_null().to_numpy(zero_copy_only=False)
        read = read[~np.isnan(read)] if pa.types.is_floating(named.kind) else read
        figures_N[num_read : num_read + len(read)] = read
        num_read += len(read)
    return figures_N[:num_read]


def _condition(named: Named, sign: str, number: float) -> str:
    """The comparison in SQL; the number is written with all its digits."""
    if not pa.types.is_floating(named.kind):
        return f"{named.sql} {sign} {number!r}"
    is_number = f"NOT isnan({named.sql})"
    if math.isinf(number):  # there is no way to write it
        largest = float(np.finfo(named.kind.to_pandas_dtype()).max)
        if number < 0:
            return f"{named.sql} IS NOT NULL AND {is_number}" if sign == ">=" else f"{named.sql} >= {-largest!r}"
        return f"{named.sql} > {largest!r} AND {is_number}" if sign == ">=" else "false"
    return f"{named.sql} {sign} {number!r} AND {is_number}"
