"""Data files: where the values of a version of a table stand, which tells what they are without reading them.

Lance changes no file that it wrote, and no two have one name. So the names of a version's files tell it from every
other, also from the version of the same number in a table that was deleted and made anew in its place; and the file and
the row in it tell a value. It knows fragments, and not what is in the files.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata.lance_io.faults import translated
from clipdata.lance_io.pictures import places_needed
from clipdata.lance_io.presence import files_of, places_of
from clipdata.lance_io.table import Table


def digest_of_files(table: Table) -> str:
    """Hex digest of the columns, files and deletions of a table's version: equal for equal rows in equal places.

    A copy of the table's folder has the same one. No file is opened for it.
    """
    with translated(table.uri, "reading"):
        columns = [(column.name(), column.id()) for column in table.dataset.lance_schema.fields()]
        whole = hashlib.sha256(json.dumps([columns, [str(column.type) for column in table.schema]]).encode())
        for fragment in table.dataset.get_fragments():
            whole.update(json.dumps(fragment.metadata.to_json(), sort_keys=True).encode())
    return whole.hexdigest()


class Places:
    """Names the place of a column's values; another value of a row stands in another place.

    Args:
        table: pinned to a version.
        column: a row of a fragment in which it was never filled has the place of no file.
    """

    def __init__(self, table: Table, column: str) -> None:
        self._table = table
        self._columns = (column, *places_needed(table.schema, [column]))
        self._files_of: dict[int, str] = {}

    def of(self, addresses: pa.Array) -> pa.Array:
        """Texts that name the places of rows.

        Args:
            addresses: uint64 [N], as the hidden column `_rowaddr` holds them.
        """
        address_N = addresses.to_numpy()
        fragments, index_N = np.unique(address_N >> np.uint64(32), return_inverse=True)
        files = pa.array([self._files(int(fragment)) for fragment in fragments], pa.large_string())
        rows = pa.array(places_of(addresses)).cast(pa.large_string())
        return pc.binary_join_element_wise(files.take(pa.array(index_N)), rows, pa.scalar(":", pa.large_string()))

    def _files(self, number: int) -> str:
        if number not in self._files_of:
            with translated(self._table.uri, "reading"):
                fragment = self._table.dataset.get_fragment(number)
                self._files_of[number] = " ".join(files_of(self._table.dataset, fragment, self._columns))
        return self._files_of[number]
