"""Keys of tables that declare none: which column identifies their rows. It reads that column, and nothing else."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from clipdata.lance_io.table import Table
from clipdata.schema import is_text
from ingest.updating.digests import digest_bytes

USUAL_KEYS = ("image_id", "path", "filename", "file_name", "id", "key", "uid", "sample_id", "url")
_SCANNED_ROWS = 65_536


def usual_key(table: Table, where: str | None = None) -> str | None:
    """The first column that often identifies rows and does so here: a value in every row, another one in each.

    Args:
        where: SQL condition on the rows.
    """
    return next((name for name in USUAL_KEYS if name in table.schema.names and _is_key(table, name, where)), None)


def _is_key(table: Table, column: str, where: str | None) -> bool:
    kind = table.schema.field(column).type
    if not (is_text(kind) or pa.types.is_integer(kind)):
        return False
    short = [np.empty(0, np.uint64)]  # 8 bytes a row
    for batch in table.scan([column], where=where, batch_rows=_SCANNED_ROWS):
        values = batch.column(0).to_pylist()
        if any(value is None or value == "" for value in values):
            return False
        short.append(np.frombuffer(b"".join(digest_bytes(str(value))[:8] for value in values), np.uint64))
    digests = np.concatenate(short)
    return len(np.unique(digests)) == len(digests)
