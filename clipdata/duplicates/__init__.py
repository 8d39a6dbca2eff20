"""Duplicates: which values lie near each other, and which of them make one cluster.

    hamming.py   pairs of 64-bit hashes that differ in few bits, all of them
    cosine.py    pairs of vectors of a high cosine, nearly all of them
    stars.py     from pairs to clusters around a centre, which no chain lets run away
    semantic.py  which vectors add something to those before them

It knows numpy and nothing else: no table, no picture, no step.
"""

from __future__ import annotations

from clipdata.duplicates.cosine import CosineSearch
from clipdata.duplicates.hamming import HammingSearch
from clipdata.duplicates.stars import Stars, star_clusters

__all__ = ["CosineSearch", "HammingSearch", "Stars", "star_clusters"]
