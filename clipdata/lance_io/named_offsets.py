"""Named offsets: positions of the rows that a condition with an `@name` means, without a literal for each row of it.

A condition is asked once for each way in which a row may be among the names or not, and those rows are kept for which
that way is the true one. So a name of 50,000 rows costs a look at the column of keys. It knows conditions, no verb.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from clipdata.arguments import check_condition
from clipdata.lance_io.conditions import asked
from clipdata.lance_io.selected_rows import meant_by, names_in, with_names_as

if TYPE_CHECKING:
    from clipdata.lance_io.table import Table

_MOST_NAMES = 3
_TERMS = {True: "(1 = 1)", False: "(1 = 0)"}


def named_offsets(table: Table, where: str) -> np.ndarray | None:
    """Positions of the rows that meet a condition, int64 [K], ascending; None where it says no name, or very many."""
    check_condition(where)
    names = names_in(where) if "@" in where else []
    if not 0 < len(names) <= _MOST_NAMES:
        return None
    member_N = {}
    for name, meant in meant_by(table, where).items():
        keys = table.to_table([meant.column]).column(0)
        member_N[name] = np.asarray(pc.is_in(keys, meant.keys.cast(keys.type)).to_numpy(), np.bool_)
    found_N = np.zeros(table.num_rows, np.bool_)
    for truths in product((True, False), repeat=len(names)):
        of_name = dict(zip(names, truths, strict=True))
        fits_N = np.logical_and.reduce([member_N[name] == truth for name, truth in of_name.items()])
        if fits_N.any():
            plain = with_names_as(where, {name: _TERMS[truth] for name, truth in of_name.items()})
            with asked(table, where, "reading", plain=plain) as condition:
                rows = table.dataset.scanner(columns=["_rowoffset"], filter=condition).to_table()
            at = rows.column("_rowoffset").to_numpy().astype(np.int64)
            found_N[at[fits_N[at]]] = True
    return np.flatnonzero(found_N)
