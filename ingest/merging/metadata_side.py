"""The metadata of a merge: a digest of each row and of its key, and the columns that are carried.

Small metadata is kept in memory; of more, the rows are read when they are written.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from clipdata.hints import naming_column
from clipdata.lance_io.table import Table
from clipdata.printable import shell_word
from ingest.merging import foreign_columns
from ingest.merging.join_keys import key_texts
from ingest.updating.digests import DIGEST_BYTES, digests_of_rows, digests_of_texts, numbers_among_equal

# Metadata up to this size is kept in memory; of more, the rows are read when they are written.
HELD_BYTES = 256 << 20
_DIGESTED_ROWS, _WIDE_ROWS = 8_192, 256
_OWN_KEY, _OWN_COLUMNS = "row_key", ("row_key", "source")


class MetadataSide:
    """The metadata's columns, and what a merge keeps of every row in memory.

    Args:
        table: pinned.
        key: column to join on.

    Attributes:
        columns: that are carried; what only says how clipdata's own table of metadata came to be is not.
        digests: uint8 [R, 16], of the rows' content; `numbers` int32 [R] tells equal ones apart.
        keys: uint8 [R, 16], digests of what is joined on; `naming` bool [R] says which rows have one.

    Raises:
        SchemaError: the column to join on does not exist.
    """

    def __init__(self, table: Table, key: str) -> None:
        named = naming_column(table.schema.names) or "COLUMN"
        table.require([key], verb="merge", hint=f"--metadata-on {shell_word(named)}")
        self.table, self.key = table, key
        own = _OWN_COLUMNS if table.key == _OWN_KEY else ()
        self.columns = [name for name in table.schema.names if name not in own or name == key]
        self._held: pa.Table | None = None

    def fields(self, names: dict[str, str], *, group: bool) -> list[pa.Field]:
        """The columns as a merged table keeps them.

        Args:
            names: own name → name in the merged table.
            group: as lists.
        """
        kinds = {name: foreign_columns.kept_type(self.table.schema.field(name)) for name in names}
        return [pa.field(new, pa.list_(kinds[own]) if group else kinds[own]) for own, new in names.items()]

    def load(self) -> None:
        """Read what is kept of every row."""
        num_rows = self.table.num_rows
        self.digests, self.keys = (np.empty((num_rows, DIGEST_BYTES), np.uint8) for _ in range(2))
        self.naming = np.empty(num_rows, np.bool_)
        held: list[pa.RecordBatch] = []
        first = held_bytes = 0
        is_held = True
        wide = any(foreign_columns.is_image_like(self.table.schema.field(name)) for name in self.columns)
        for batch in self.table.scan(self.columns, batch_rows=_WIDE_ROWS if wide else _DIGESTED_ROWS):
            here = slice(first, first := first + batch.num_rows)
            texts = self._texts(batch.column(self.key))
            self.digests[here], self.keys[here] = digests_of_rows(batch), digests_of_texts(texts)
            self.naming[here] = texts.is_valid()
            held_bytes += batch.nbytes
            # By the first of them it is foretold: what was held and given back stays with the process.
            if is_held := is_held and max(held_bytes, held_bytes * num_rows // max(first, 1)) <= HELD_BYTES:
                held.append(batch)
            else:
                held.clear()
        self.numbers = numbers_among_equal(self.digests)
        if held:
            self._held = pa.Table.from_batches(held).combine_chunks()

    def forget_keys(self) -> None:
        """Give back the memory of what only the matching needs."""
        self.keys, self.digests, self.numbers = self.keys[:0].copy(), self.digests[:0].copy(), self.numbers[:0].copy()

    def take(self, rows: np.ndarray, columns: Sequence[str]) -> dict[str, pa.ChunkedArray]:
        """Columns of rows at positions, by their own names.

        Args:
            rows: int64 [B].
        """
        if self._held is not None:
            found = self._held.select(list(columns)).take(pa.array(rows))
        else:
            found = foreign_columns.take(self.table, rows, columns)
        return dict(zip(found.schema.names, found.columns, strict=True))

    def keys_at(self, wanted: np.ndarray) -> pa.Array:
        """What some rows are joined on, as texts.

        Args:
            wanted: bool [R].

        Returns:
            large_string.
        """
        parts: list[pa.Array] = []
        first = 0
        for batch in self.table.scan([self.key], batch_rows=65_536):
            keep = pa.array(wanted[first : first + batch.num_rows])
            parts.append(self._texts(batch.column(0)).filter(keep))
            first += batch.num_rows
        return pa.chunked_array(parts, pa.large_string()).combine_chunks()

    def _texts(self, values: pa.Array) -> pa.Array:
        return key_texts(values, where=f"the metadata's {self.key!r}")
