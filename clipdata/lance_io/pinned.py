"""Reading a pinned version while others write, and while its store fails: what is gone for good, and what comes back.

It knows tables and errors, and nothing of what is read.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from clipdata import hints, retries
from clipdata.answering import limited
from clipdata.errors import ConcurrentChangeError, NotFoundError, StorageError
from clipdata.lance_io.faults import is_transient, translated
from clipdata.lance_io.table import Table, open_table
from clipdata.storage import is_remote, redact

T = TypeVar("T")
SILENT_S = 300.0  # a store that takes requests and answers none keeps Lance waiting for half an hour
PATIENCE = retries.Policy(attempts=8, base_delay_s=1.0, cap_s=15.0, give_up_s=120.0, again=is_transient)
"""With a store that fails; Lance's own second tries take about ten seconds of each."""


def read_patiently(table: Table, read: Callable[[], T], *, patience: retries.Policy | None = None) -> T:
    """Read rows of a pinned version, again for some minutes while the store is down, which is said once.

    Args:
        table: of a store; a table on this machine is read once.
        read: gives the same every time.

    Raises:
        TransientError: the store fails all the time, or is silent.
        CredentialsError: the store refuses access, be it since a moment ago.
        ConcurrentChangeError: a clean-up removed the version.
    """
    where = redact(table.uri)

    def attempt() -> T:
        with readable(table, hint=f"name a version before a stream reads it, and no clean-up removes it: "
                      f"{hints.tag(table.uri)}"):  # fmt: skip
            return limited(read, f"reading {where}", SILENT_S) if is_remote(table.uri) else read()

    def again(error: Exception) -> bool:
        worth = is_remote(table.uri) and is_transient(error)
        if worth:
            warnings.warn(f"{where}: the store fails, and is asked again for up to two minutes", stacklevel=2)
        return worth

    return retries.call(replace(patience or PATIENCE, again=again), attempt)


@contextmanager
def readable(table: Table, *, hint: str = hints.AGAIN) -> Iterator[None]:
    """Translate errors of reading a pinned version, and tell one that was cleaned away from one that never was.

    Args:
        hint: what to do when it was cleaned away.

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
            f"version {table.version} of {where} was cleaned away while it was read", hint=hint
        ) from error
