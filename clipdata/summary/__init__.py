"""Summary: what a table holds, in one scan and bounded memory.

records.py    what was found, as a value, and the lines and small plots of it
sketches.py   numbers and values of any count, kept exactly as long as they fit
gathering.py  what is kept of a column while the rows go by
scanning.py   `stats`: the scan, and what is known without one
"""

from clipdata.summary.records import ColumnStats, Distribution, Split, TableStats
from clipdata.summary.scanning import stats

__all__ = ["ColumnStats", "Distribution", "Split", "TableStats", "stats"]
