"""Metadata rows without an image, as the rejects of a merged table: exactly those of now, and none that was mended."""

from __future__ import annotations

import pyarrow as pa

from clipdata.lance_io.table import Table
from ingest.updating.rejects import Rejects
from ingest.updating.source import Reject

REASON = "no_image"
_SCOPE = "merge"


def settle_unmatched(table: Table, names: pa.Array, *, on: str) -> None:
    """Make the rejects of a merged table those of this merge: new ones are added, mended ones removed.

    Args:
        names: keys of the metadata rows without an image, large_string, one for each row; null for no key.
        on: what they were joined on.
    """
    rejects = Rejects(table.uri, table.storage)
    counted = names.value_counts()
    for name, count in zip(counted.field("values"), counted.field("counts"), strict=True):
        many = "1 metadata row names" if count.as_py() == 1 else f"{count.as_py():,} metadata rows name"
        named = name.as_py()
        detail = f"{many} no {on}" if named is None else f"{many} {on} {named!r}"
        rejects.add(Reject(f"metadata:{named or ''}", "", REASON, detail), _SCOPE)
    rejects.settle(lambda _, scope: scope != _SCOPE)
