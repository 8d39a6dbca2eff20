"""Filters: named SQL conditions that say which rows are kept, where each comes from, and what it keeps.

A filter's condition is a text that every `where=` and `--where` takes; nothing is copied or deleted by one. The package
knows tables, and nothing of how a column was made.
"""

from clipdata.filters.counting import funnel
from clipdata.filters.reading import read_filters
from clipdata.filters.recipes import (
    RECIPES,
    datacomp_basic,
    datacomp_clip_score,
    laion_2b_en,
    laion_400m,
    laion_aesthetics,
    metaclip,
)
from clipdata.filters.records import Filter, Funnel, Kept, all_of
from clipdata.filters.thresholds import at_least, at_most, top_share

__all__ = [
    "RECIPES",
    "Filter",
    "Funnel",
    "Kept",
    "all_of",
    "at_least",
    "at_most",
    "datacomp_basic",
    "datacomp_clip_score",
    "funnel",
    "laion_2b_en",
    "laion_400m",
    "laion_aesthetics",
    "metaclip",
    "read_filters",
    "top_share",
]
