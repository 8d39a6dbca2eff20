"""Split check: what the sides of a split share, and whether classes lie on them alike.

    records.py      what was found, as a value, as text and as JSON
    evidence.py     which columns tell that two rows show or say the same
    sharing.py      which values lie on several sides
    measurement.py  check_split()

It reads small columns, decodes no picture, and knows no model.
"""

from __future__ import annotations

from clipdata.split_check.measurement import check_split
from clipdata.split_check.records import ClassShare, Evidence, Example, Side, SplitCheck
from clipdata.split_check.sharing import rows_that_share

__all__ = ["ClassShare", "Evidence", "Example", "Side", "SplitCheck", "check_split", "rows_that_share"]
