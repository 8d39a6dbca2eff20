"""Before and after: two columns over the same rows, with the interval, the answers and the rows that moved.

`compare` reads; `Comparison` is the value it returns; text, JSON and HTML are views of that value. Nothing here writes.
"""

from __future__ import annotations

from clipdata.comparison.changes import Change, Margin
from clipdata.comparison.jsonschema import json_schema
from clipdata.comparison.measurement import compare
from clipdata.comparison.records import Answers, Coverage, Group, Row, Side, Trained
from clipdata.comparison.result import Comparison
from clipdata.comparison.seeds import SeedComparison, compare_seeds

__all__ = [
    "Answers",
    "Change",
    "Comparison",
    "Coverage",
    "Group",
    "Margin",
    "Row",
    "SeedComparison",
    "Side",
    "Trained",
    "compare",
    "compare_seeds",
    "json_schema",
]
