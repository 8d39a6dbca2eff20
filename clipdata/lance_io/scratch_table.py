"""A scratch table: rows of somewhere else as a Lance table, for as long as a process asks it.

What is read of it is what Lance reads of any table; the folder goes with the object.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable

import pyarrow as pa

from clipdata.lance_io.table import Table, open_table


class ScratchTable:
    """A table in a temporary folder.

    Args:
        schema: of the rows; no key is needed.
        batches: of them.
    """

    def __init__(self, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
        import lance

        self._folder = tempfile.TemporaryDirectory(prefix="clipdata-view-")
        place = f"{self._folder.name}/rows.lance"
        lance.write_dataset(pa.RecordBatchReader.from_batches(schema, batches), place)
        self.table: Table = open_table(place)
