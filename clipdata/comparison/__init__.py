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
from clipdata.comparison.several import Comparisons, Pair, columns_of_models, compare_columns, several_schema

__all__ = [
    "Answers",
    "Change",
    "Comparison",
    "Comparisons",
    "Coverage",
    "Group",
    "Margin",
    "Pair",
    "Row",
    "SeedComparison",
    "Side",
    "Trained",
    "columns_of_models",
    "compare",
    "compare_columns",
    "compare_seeds",
    "json_schema",
    "several_schema",
]
