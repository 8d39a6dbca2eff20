"""Pictures of the rows that a comparison lists, small, for a notebook: read again from the table that it names.

A comparison is shown without them where the table is gone, cannot be reached, or its pictures lie elsewhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from clipdata.comparison.records import Compared
from clipdata.errors import ClipdataError
from clipdata.images.picture_guess import LOOKED_AT, bytes_of, guess_picture_column
from clipdata.lance_io.notebook_table import small_picture
from clipdata.lance_io.table import Table, open_table


def pictures_of(compared: Compared) -> dict[str, Any]:
    """Markup of small pictures by the keys of the worst and best rows; empty where there are none to be had."""
    rows = [*compared.worst, *compared.best]
    try:
        table = open_table(compared.after.uri, version=compared.after.version)
        column = guess_picture_column(table.schema, lambda name: table.to_table([name], limit=LOOKED_AT).column(0))
        if column is None or not rows:
            return {}
        offsets = _offsets(table, {row.key: row.where for row in rows})
        files = table.take(np.array(list(offsets.values()), np.int64), [column]).column(0).to_pylist()
        return {key: small_picture(bytes_of(file)) for key, file in zip(offsets, files, strict=True)}
    except ClipdataError:
        return {}


def _offsets(table: Table, where_of: dict[str, str]) -> dict[str, int]:
    """Positions of rows, by the keys that a comparison knows them by."""
    if table.key is None:
        return {key: int(key) for key in where_of if key.isdecimal()}
    found = table.to_table([table.key, "_rowoffset"], where=" OR ".join(f"({one})" for one in where_of.values()))
    return dict(zip(map(str, found.column(0).to_pylist()), found.column(1).to_pylist(), strict=True))
