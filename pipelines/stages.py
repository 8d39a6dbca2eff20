"""What whole pipelines share: checks between one stage and the next. It knows tables, and no particular pipeline."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from clipdata.errors import UsageError

if TYPE_CHECKING:
    from clipdata.lance_io.table import Table


def require_both_splits(table: Table, what: str, needed: str | None = None) -> None:
    """Check that there are rows to train on and rows to measure, before the work that needs them.

    Args:
        table: with a column `split`.
        what: the split, in words.
        needed: column without which a row is of no use.

    Raises:
        UsageError: one of the two is empty.
    """
    found = table.to_table(["split"], where=f"{needed} IS NOT NULL" if needed else None)
    counts = Counter(found.column("split").to_pylist())
    if counts.get("train") and counts.get("test"):
        return
    listed = ", ".join(f"{rows:,} {split!r}" for split, rows in counts.most_common(5)) or "no row"
    raise UsageError(
        f"{what} gives {listed}; expected rows 'train' to train on and rows 'test' to compare on",
        hint="call them train and test, or leave the column out: then pictures are held out by --test-share",
    )


def first_value(table: Table, column: str) -> Any:
    """The value in the first row, as an example; None where there is no row."""
    found = next(table.scan([column], limit=1), None)
    return found.column(0)[0].as_py() if found is not None and found.num_rows else None
