"""Duplicates: which values lie near each other, and which of them make one cluster.

It knows numpy and nothing else: no table, no picture, no step.
"""

from __future__ import annotations

from clipdata.duplicates.cosine import CosineSearch
from clipdata.duplicates.hamming import HammingSearch
from clipdata.duplicates.stars import Stars, star_clusters

__all__ = ["CosineSearch", "HammingSearch", "Stars", "star_clusters"]
