"""Source: rows that can be looked at. Knows Arrow, and nothing of tables, files or the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa


class Source(Protocol):
    """Rows in an order of their own, named by their position in it, from 0.

    Attributes:
        kind: "table", "parquet" or "folder".
        location: where it is, as a person would type it; without secrets.
        schema: columns, without those that nothing can show.
        num_rows: of all.
        version: of a table; None of what has no versions.
        key: column that tells rows apart, if one does.
        picture: column of the pictures, if there are some.
        notes: what lies there and is not among the rows, in words.
    """

    kind: str
    location: str
    schema: pa.Schema
    num_rows: int
    version: int | None
    key: str | None
    picture: str | None
    notes: tuple[str, ...]

    def positions(self, where: str | None) -> np.ndarray:
        """Positions of the rows that meet a filter.

        Returns:
            uint32 [K], ascending.

        Raises:
            ClipdataError: the filter is not valid; in words for the person who wrote it.
        """
        ...

    def read(self, columns: Sequence[str]) -> pa.Table:
        """All rows of narrow columns, in the source's own order."""
        ...

    def take(self, positions: np.ndarray, columns: Sequence[str]) -> pa.Table:
        """Rows in the order given; no picture is read that is not named.

        Args:
            positions: int64 [B].
        """
        ...

    def picture_of(self, position: int) -> bytes | None:
        """The file of a row's picture as it is stored; None where the row holds none.

        Raises:
            ImageRefused: the row says where its picture is, and it is not there.
        """
        ...
