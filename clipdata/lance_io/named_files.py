"""Which files the versions of a table name: its data, and the records of deletes and of selected rows.

Versions are read newest first, many at once, and no more of them than it takes to have met every file that is asked
about: what an old version alone names costs the way to it, and only what none names costs them all.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing

from clipdata.errors import NotFoundError
from clipdata.lance_io.deleted_notes import records_of
from clipdata.lance_io.faults import translated
from clipdata.lance_io.selected_rows import selections_of
from clipdata.lance_io.table import Table
from clipdata.lance_io.version_numbers import version_numbers
from clipdata.prefetch import map_ordered

_AT_ONCE = 16


def unnamed_by_versions(table: Table, names: Collection[str]) -> set[str]:
    """Those of some file names that no version names, as of now.

    Args:
        names: without folders.
    """
    left = set(names)
    numbers = version_numbers(table.uri, table.storage) if left else []
    newest = table.latest()
    with closing(map_ordered(lambda number: named_at(newest, number), numbers, num_threads=_AT_ONCE)) as found:
        for named in found:
            left -= named
            if not left:
                break
    return left


def named_at(table: Table, version: int) -> set[str]:
    """Names of the files of one version; none of one that another clean-up has removed meanwhile."""
    named: set[str] = set()
    try:
        with translated(table.uri, "reading the versions of"):
            opened = table.dataset.checkout_version(version)
            metadata = opened.metadata or {}
            for fragment in opened.get_fragments():
                named |= {file.path.rpartition("/")[2] for file in fragment.metadata.files}
    except NotFoundError:
        return set()
    named |= {f"{record}.arrow" for record in records_of(table, metadata)}
    return named | {f"{one.record}.arrow" for one in selections_of(metadata).values()}
