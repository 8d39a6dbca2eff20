"""Reading a pinned version while others write: which of them removed what, told apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from clipdata import hints
from clipdata.errors import ConcurrentChangeError, NotFoundError, StorageError
from clipdata.lance_io.faults import translated
from clipdata.lance_io.table import Table, open_table
from clipdata.storage import redact


@contextmanager
def readable(table: Table) -> Iterator[None]:
    """Translate errors of reading a pinned version, and tell one that was cleaned away from one that never was.

    Raises:
        ConcurrentChangeError: a clean-up removed the version while it was read.
        StorageError: the version is there, and a file that it names is not.
    """
    try:
        with translated(table.uri, "reading"):
            yield
    except NotFoundError as error:
        where = redact(table.uri)
        try:
            newest = open_table(table.uri, storage=table.storage)
        except NotFoundError:
            raise NotFoundError(f"{where} was removed, or moved, while it was read") from error
        if newest.version == table.version:
            raise StorageError(
                error.message,
                hint=f"a clean-up removed it; make the column that it held anew (--overwrite, overwrite=True), "
                f"or restore an earlier version: {hints.log(table.uri)}",
            ) from error
        raise ConcurrentChangeError(
            f"version {table.version} of {where} was cleaned away while it was read", hint=hints.AGAIN
        ) from error
