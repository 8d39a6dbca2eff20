"""Tagging: a tag made, moved or deleted as it was when it was looked at, whoever else is at it at the same moment.

On a disk one process at a time compares and writes. In a bucket nothing is written on a condition: there each looks
again once it has written, so that who wrote first is told what stands there now. It knows no names of tags.
"""

from __future__ import annotations

from clipdata import hints
from clipdata.errors import ConcurrentChangeError
from clipdata.lance_io.faults import translated, with_retries
from clipdata.lance_io.table import Table
from clipdata.lance_io.tag_files import move_tag, settle_tag
from clipdata.lance_io.tag_lock import alone_with_tags
from clipdata.storage import redact


def set_tag(table: Table, name: str, version: int, before: int | None) -> bool:
    """Let a tag name a version, if it is still what it was.

    Args:
        before: version that it named when it was looked at; None where there was none.

    Returns:
        Whether it was written here; False where another writer let it name the same version meanwhile.

    Raises:
        ConcurrentChangeError: it names another version by now, or none; it says which.
    """
    written = False

    def attempt() -> None:
        nonlocal written
        found = _named(table, name)
        if found == version:
            return
        if found != before:
            raise _changed(table, name, before, found, f"it was not let name version {version}")
        written = True
        _write(table, name, version, before)
        if (found := _named(table, name)) != version:
            raise _changed(table, name, before, found, f"version {version}, which it was let name, was written over")

    with translated(table.uri, "tagging"), alone_with_tags(table.uri):
        with_retries(attempt)
        settle_tag(table, name)
    return written


def delete_tag(table: Table, name: str, before: int) -> None:
    """Remove a tag, if it still names what it did; one that is gone stays gone.

    Raises:
        ConcurrentChangeError: it names another version by now.
    """

    def attempt() -> None:
        found = _named(table, name)
        if found == before:
            table.own_dataset().tags.delete(name)
        elif found is not None:
            raise _changed(table, name, before, found, "it was not deleted")

    with translated(table.uri, "removing a tag of"), alone_with_tags(table.uri):
        with_retries(attempt)
        settle_tag(table, name)


def _named(table: Table, name: str) -> int | None:
    found = table.dataset.tags.list().get(name)
    return None if found is None else int(found["version"])


def _write(table: Table, name: str, version: int, before: int | None) -> None:
    if before is not None:
        move_tag(table, name, version)
        return
    try:
        table.own_dataset().tags.create(name, version)
    except (OSError, ValueError):  # of two that make one tag at once, Lance refuses the second
        found = _named(table, name)
        if found is None:
            raise
        if found != version:
            raise _changed(table, name, before, found, f"it was not let name version {version}") from None


def _changed(table: Table, name: str, before: int | None, found: int | None, outcome: str) -> ConcurrentChangeError:
    was = "was not there" if before is None else f"named version {before}"
    now = "is gone now" if found is None else f"names version {found} now"
    return ConcurrentChangeError(
        f"tag {name!r} of {redact(table.uri)} {was} a moment ago and {now}, as another process let it; {outcome}",
        hint=f"look at it, and type the same again if it is still meant: {hints.tags(table.uri)}",
    )
