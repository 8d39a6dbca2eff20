"""How many rows a clump and a window of a stream's order have, by what a row of the columns read weighs.

A window is held in memory whole, so it is bounded by bytes; a clump is what one request reads, so a window has few of
them. Where rows are heavy the two meet: a group of 128 MiB holds few clumps of the tens of megabytes that few requests
take, and a batch mixes rows of fewer places of the table.

The numbers are part of an order and of a stream's state, so this is a pure function. It knows nothing of tables.
"""

from __future__ import annotations

import math

from clipdata.errors import ConfigError

WINDOW_BYTES = 128 * 2**20
MOST_WINDOW_ROWS = 8192
LEAST_WINDOW_ROWS = 128
CLUMP_BYTES = 32 * 2**20  # beyond which a request is no cheaper a byte
# A thousand rows, and three batches of 64 that are decoded ahead of them, begin this many requests for a column of
# pictures, the next window included, of which as much is read as of this one is handed out. What is left of thirty
# is for light columns and the ends of files.
ROWS, REQUESTS = 1216, 21


def chosen_sizes(clump_rows: int | None, window_rows: int | None, row_bytes: float) -> tuple[int, int]:
    """Rows of a clump and of a window, where some may be given.

    Args:
        clump_rows, window_rows: None for what suits the rows.
        row_bytes: mean stored bytes of a row of the columns that are read.

    Returns:
        clump_rows, window_rows.
    """
    if clump_rows is not None and window_rows is not None:
        return clump_rows, window_rows
    clump, window = sizes_for(row_bytes)
    if window_rows is not None:
        return max(min(clump, window_rows), 1), window_rows
    if clump_rows is not None:
        return clump_rows, max(window // max(clump_rows, 1), 1) * clump_rows
    return clump, window


def sizes_for(row_bytes: float) -> tuple[int, int]:
    """Rows of a clump and of a window for a table's mean stored bytes a row of the columns that are read.

    A row of 2 KB gives (448, 8064), of 60 KB (165, 2145), of 400 KB (74, 296).

    Args:
        row_bytes: at least 0.

    Returns:
        clump_rows, window_rows.

    Raises:
        ConfigError: `row_bytes` is no number of bytes.
    """
    if not (math.isfinite(row_bytes) and row_bytes >= 0):
        raise ConfigError([f"row_bytes is {row_bytes}; expected 0 or more"], what="stream windows")
    most_rows = int(WINDOW_BYTES / max(row_bytes, 1.0))
    most_rows = min(max(most_rows, LEAST_WINDOW_ROWS), MOST_WINDOW_ROWS)
    clump_rows = max(min(-(-(ROWS + most_rows) // REQUESTS), int(CLUMP_BYTES / max(row_bytes, 1.0))), 1)
    return clump_rows, most_rows // clump_rows * clump_rows  # a clump in two windows would be read twice
