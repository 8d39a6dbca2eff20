"""Split check: what the sides of a split share, and whether classes lie on them alike.

It reads small columns, decodes no picture, and knows no model.
"""

from __future__ import annotations

from clipdata.split_check.measurement import check_split
from clipdata.split_check.records import ClassShare, Evidence, Example, Side, SplitCheck
from clipdata.split_check.sharing import rows_that_share

__all__ = ["ClassShare", "Evidence", "Example", "Side", "SplitCheck", "check_split", "rows_that_share"]
