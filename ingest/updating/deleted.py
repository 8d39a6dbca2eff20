"""Deleted: rows that were deleted by hand from a table, which a source does not bring back while they say the same.

A row is known by its key and by what tells its content: the etag, or for a row with a picture the picture's digest,
which stays when the file is touched or copied. In memory there are 16 bytes for each.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clipdata.lance_io.deleted_rows import deleted_rows
from clipdata.lance_io.table import Table
from ingest.updating.digest_set import DigestSet

NOTE = "rows deleted by hand, and left out"


class Deleted:
    """Rows that were deleted, as a version of their table knows it.

    Args:
        table: pinned; None where there is none yet.

    Attributes:
        num_left_out: rows that a run left out because of it.
    """

    def __init__(self, table: Table | None) -> None:
        self._rows = DigestSet()
        self.num_left_out = 0
        for _, found in deleted_rows(table) if table is not None else ():
            keys, etags, digests = (found.column(name).to_pylist() for name in ("key", "etag", "sha256"))
            self._rows.add([_row(key, etag or key) for key, etag in zip(keys, etags, strict=True)])
            told = zip(keys, digests, strict=True)
            self._rows.add([_row(key, by_picture(digest)) for key, digest in told if digest])

    def contains(self, keys: Sequence[str], contents: Sequence[str | None]) -> np.ndarray:
        """Tell of rows whether they were deleted with this content; bool [n].

        Args:
            contents: etags, or what `by_picture` makes of a picture's digest; where nothing is known, None.
        """
        if not len(self._rows):
            return np.zeros(len(keys), np.bool_)
        found = self._rows.contains([_row(key, content or "") for key, content in zip(keys, contents, strict=True)])
        return found & np.fromiter(map(bool, contents), np.bool_, len(keys))


def by_picture(sha256: str) -> str:
    """How the content of a row is called that its picture's digest tells."""
    return f"sha256:{sha256}"


def _row(key: str, content: str) -> str:
    return f"{key}\x00{content}"
