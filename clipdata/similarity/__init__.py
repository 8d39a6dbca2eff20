"""Likeness of pictures and texts: for each of them which of the others a model finds nearest.

    records.py   what was found, as a value and as text
    ranking.py   from features to ranked matches
    pictures.py  from places of picture files to features, and why a picture has none
    request.py   similar()

It reads picture files and a model, and no table.
"""

from __future__ import annotations

from clipdata.similarity.records import Match, Ranking, Similarity
from clipdata.similarity.request import similar

__all__ = ["Match", "Ranking", "Similarity", "similar"]
