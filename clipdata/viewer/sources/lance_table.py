"""A Lance table at one version, whoever wrote it, as a source of the viewer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from clipdata.column_names import is_readable
from clipdata.errors import ImageRefused
from clipdata.images.picture_guess import LOOKED_AT, bytes_of, guess_picture_column
from clipdata.lance_io.naming_column import naming_column
from clipdata.lance_io.pictures import place_columns
from clipdata.lance_io.table import Table
from clipdata.objects.references import References, columns_needed
from clipdata.schema import image_column
from clipdata.storage import redact

_WEB = ("http://", "https://", "ftp://")


class LanceTable:
    """A table, pinned.

    Args:
        table: at the version to look at.
    """

    kind = "table"
    notes: tuple[str, ...] = ()

    def __init__(self, table: Table) -> None:
        self.table = table
        self.location = redact(table.uri)
        self.version: int | None = table.version
        self.num_rows = table.num_rows
        hidden = set(place_columns(table.schema))
        shown = [column for column in table.schema if is_readable(column.name) and column.name not in hidden]
        self.schema = pa.schema(shown)
        self.key = table.key
        self.picture = guess_picture_column(self.schema, self._first)

    def positions(self, where: str | None) -> np.ndarray:
        """See `Source`."""
        return self.table.offsets(where).astype(np.uint32)

    def read(self, columns: Sequence[str]) -> pa.Table:
        """See `Source`."""
        return self.table.to_table(list(columns))

    def take(self, positions: np.ndarray, columns: Sequence[str]) -> pa.Table:
        """See `Source`."""
        return self.table.take(positions, list(columns))

    def picture_of(self, position: int) -> bytes | None:
        """See `Source`. Bytes of a row by reference are read from its `uri`, unless that is an address in the web."""
        if self.picture is None:
            return None
        beside = columns_needed(self.table.schema, [self.picture])
        rows = self.take(np.array([position], np.int64), [self.picture, *beside])
        found = bytes_of(rows.column(self.picture)[0].as_py())
        return found if found is not None or not beside else self._referred(rows)

    def _referred(self, rows: pa.Table) -> bytes | None:
        """The file that a row refers to."""
        uri = rows.column("uri")[0].as_py()
        if not uri:
            return None
        if uri.lower().startswith(_WEB):
            raise ImageRefused("missing", "the picture is in the web, and the viewer sends no request there")
        references = References(self.table.storage)
        for _, filled in references.filled([(None, rows)]):
            found: Any = filled.column(image_column(rows.schema))[0].as_py()
            if found is None:
                unread = next(iter(references.unread.values()), None)
                raise ImageRefused("missing", redact(str(getattr(unread, "detail", "") or uri)))
            return bytes(found)
        return None

    @cached_property
    def naming(self) -> str | None:
        """The column by which rows are told apart, declared or not; looked for once, since it may be read whole."""
        return naming_column(self.table)

    @property
    def is_in_address_order(self) -> bool:
        """Whether the addresses of the rows ascend in the table's own order, as they do until some are compacted."""
        numbers = [fragment.fragment_id for fragment in self.table.dataset.get_fragments()]
        return numbers == sorted(numbers)

    def _first(self, name: str) -> pa.ChunkedArray:
        return self.table.to_table([name], limit=LOOKED_AT).column(0)
