"""Summary: what a table holds, in one scan and bounded memory."""

from clipdata.summary.records import ColumnStats, Distribution, Split, TableStats
from clipdata.summary.scanning import stats

__all__ = ["ColumnStats", "Distribution", "Split", "TableStats", "stats"]
