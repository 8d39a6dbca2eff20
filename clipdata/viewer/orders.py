"""Orders: the rows of a view as an array of their positions, four bytes a row; the last few are kept.

What sorts is a column or the difference of two; no picture is read for it. It knows sources, not the page.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata.errors import SchemaError, UsageError
from clipdata.schema import columns_listed, is_text
from clipdata.viewer.columns import family_of
from clipdata.viewer.sources.protocol import Source
from clipdata.viewer.view_state import CHANGE, ViewState

MOST_ORDERS = 12
MOST_ROWS = 64_000_000  # of all orders that are kept: 256 MB
SORTABLE = ("number", "text", "boolean", "time")


class Orders:
    """Orders of rows, made once and kept while there is room."""

    def __init__(self, most_orders: int = MOST_ORDERS, most_rows: int = MOST_ROWS) -> None:
        self._most_orders, self._most_rows = most_orders, most_rows
        self._lock = threading.Lock()
        self._held: OrderedDict[object, np.ndarray] = OrderedDict()

    def get(self, key: object, make: Callable[[], np.ndarray]) -> np.ndarray:
        """The order of a key, uint32 [K]; made where it is not kept."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
        made = make()
        with self._lock:
            self._held[key] = made
            while len(self._held) > 1 and (
                len(self._held) > self._most_orders or sum(map(len, self._held.values())) > self._most_rows
            ):
                self._held.popitem(last=False)
        return made

    def __len__(self) -> int:
        return len(self._held)


def sorted_positions(source: Source, positions: np.ndarray, state: ViewState) -> np.ndarray:
    """Rows in the order that a state asks for; equal values stay in the source's order.

    NaN come after all numbers and rows without a value last, whichever way.

    Args:
        positions: uint32 [K].

    Raises:
        SchemaError: there is no such column, or its values have no order.
    """
    if state.sort is None:
        return positions
    if state.sort == CHANGE:
        return positions[_order(_change(source, state), positions, descending=state.descending)]
    require_family(source, state.sort, SORTABLE)
    column = source.read([state.sort]).column(0)
    if is_text(column.type):
        column = column.cast(pa.large_string())
    elif pa.types.is_float16(column.type):
        column = column.cast(pa.float32())
    return positions[_order(column, positions, descending=state.descending)]


def _order(column: pa.ChunkedArray, positions: np.ndarray, *, descending: bool) -> np.ndarray:
    """Places of rows in the order of their values, stable; whichever way, NaN come after all numbers, nulls last."""
    chosen = column.take(pa.array(positions)) if len(positions) != len(column) else column
    way = "descending" if descending else "ascending"
    order_K: np.ndarray = pc.sort_indices(pa.table({"value": chosen}), [("value", way)]).to_numpy()
    return order_K


def _change(source: Source, state: ViewState) -> pa.ChunkedArray:
    """`after` minus `before`, double [N]; null where one of them is missing.

    Raises:
        UsageError: they are not both named.
    """
    if state.before is None or state.after is None:
        raise UsageError("rows are sorted by a change, and two columns of scores are not chosen")
    for name in (state.before, state.after):
        require_family(source, name, ("number",))
    rows = source.read(list(dict.fromkeys([state.before, state.after])))
    before, after = (rows.column(name).cast(pa.float64(), safe=False) for name in (state.before, state.after))
    return pc.subtract(after, before)


def numbers_of(column: pa.ChunkedArray) -> np.ndarray:
    """Numbers as float64 [N]; NaN where there is none."""
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), np.float64)


def require_family(source: Source, name: str, families: tuple[str, ...]) -> None:
    """Hold a column to be there and of a family.

    Raises:
        SchemaError: it is not.
    """
    if name not in source.schema.names:
        raise SchemaError(f"there is no column {name!r}; it has {columns_listed(source.schema.names)}")
    kind = source.schema.field(name).type
    if family_of(kind) not in families:
        raise SchemaError(f"column {name!r} holds {kind}; expected one of: {', '.join(families)}")
