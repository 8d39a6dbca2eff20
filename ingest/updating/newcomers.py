"""Newcomers: rows that a plan knows to be new, written as files and put into the table some seconds of them at once.

What is written by key is joined with all keys of the table; what the plan knows to be new needs no join, so it costs
the same whatever the table holds. Rows whose key another writer was faster with, or that come twice, go in by key.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import pyarrow as pa

from clipdata.lance_io.inserting import Inserter, NewRows, read_back
from clipdata.lance_io.table import Table
from ingest.updating.digest_set import DigestSet

# A commit without a join makes every other one that is under way try again.
COMMIT_S = 10.0


class Newcomers:
    """New rows of one run on their way into its table.

    Args:
        table: at the newest version that is known.
        start: the table as the plan knew it, None where it knew none; no row that is new had its key there.
    """

    def __init__(self, table: Table, start: Table | None) -> None:
        self._inserter = Inserter(table.pinned(), start)
        self._keys = DigestSet()  # of rows that went in
        self._held: list[NewRows] = []
        self._since_s = time.monotonic()

    @property
    def version(self) -> int:
        """The newest version that this made, or began with."""
        return self._inserter.table.version

    @property
    def table(self) -> Table:
        """The table at that version."""
        return self._inserter.table

    @property
    def num_held(self) -> int:
        """How many portions of rows are written, and wait."""
        return len(self._held)

    @property
    def is_due(self) -> bool:
        """Whether so much time went by since the last commit that what is held is to be put in."""
        return time.monotonic() - self._since_s >= COMMIT_S

    def catch_up(self, table: Table) -> None:
        """Go to a newer version that somebody else made."""
        if table.version > self.version:
            self._inserter.table.move_to(table)

    def hold(self, new: Sequence[NewRows]) -> None:
        """Take up rows that are written, and that no version has yet."""
        self._held += new

    def put_in(self, by_key: Callable[[pa.Table], None], *, are_fresh: bool = False) -> int:
        """Put in what is held, in the order in which it came.

        Args:
            by_key: writes rows whose key is there by now.
            are_fresh: all of it was written a moment ago.

        Returns:
            How many rows went in without it.

        Raises:
            TransientError: a clean-up took files of them; none of them is in the table.
        """
        held, self._held = self._held, []
        is_first = [bool(self._keys.add_new(one.keys.to_pylist()).all()) for one in held]
        fresh = [one for one, first in zip(held, is_first, strict=True) if first]
        left = self._inserter.insert(fresh, are_fresh=are_fresh) if fresh else []
        for one in [*left, *(one for one, first in zip(held, is_first, strict=True) if not first)]:
            by_key(read_back(self._inserter.table, one))
        self._since_s = time.monotonic()
        return sum(len(one.keys) for one in fresh) - sum(len(one.keys) for one in left)
