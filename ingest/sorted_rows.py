"""Rows sorted on disk: written once in any order, listed by key, each read by its number, in memory that does not grow.

The file is temporary, and as large as the rows. It knows nothing of what the rows hold.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

_AT_ONCE = 256


class SortedRows:
    """Rows in a temporary file that goes with the object.

    Args:
        rows: key, etag and content of each.
    """

    def __init__(self, rows: Iterable[tuple[str, str, bytes]]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="clipdata-rows-")
        self._place = Path(self._folder.name) / "rows.sqlite"
        with closing(self._open()) as database:
            database.execute("CREATE TABLE names (number INTEGER PRIMARY KEY, key BLOB, etag BLOB)")
            database.execute("CREATE TABLE contents (number INTEGER PRIMARY KEY, content BLOB)")
            for number, (key, etag, content) in enumerate(rows):
                database.execute("INSERT INTO names VALUES (?, ?, ?)", (number, _bytes(key), _bytes(etag)))
                database.execute("INSERT INTO contents VALUES (?, ?)", (number, content))
            database.commit()

    def listed(self) -> Iterator[tuple[int, str, str]]:
        """Number, key and etag of each row, sorted by key and etag."""
        with closing(self._open()) as database:
            found = database.execute("SELECT number, key, etag FROM names ORDER BY key, etag, number")
            while some := found.fetchmany(_AT_ONCE):
                for number, key, etag in some:
                    yield number, key.decode("utf-8", "surrogatepass"), etag.decode("utf-8", "surrogatepass")

    def contents(self, numbers: Iterable[int]) -> Iterator[bytes]:
        """Contents of rows, in the order asked for."""
        with closing(self._open()) as database:
            for number in numbers:
                yield database.execute("SELECT content FROM contents WHERE number = ?", (number,)).fetchone()[0]

    def _open(self) -> sqlite3.Connection:
        # A generator may be closed by another thread than the one that read it.
        database = sqlite3.connect(self._place, check_same_thread=False)
        database.execute("PRAGMA journal_mode = OFF")
        database.execute("PRAGMA synchronous = OFF")
        database.execute("PRAGMA temp_store = FILE")
        return database


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
