"""Curation: which rows of a table a list of filters keeps, and the proof that they are worth training on.

A curated set is a condition on a version of a table, never a copy.
"""

from __future__ import annotations

from clipdata.curation.proof import Proof
from clipdata.curation.proving import prove
from clipdata.curation.selection import Curated, curate

__all__ = ["Curated", "Proof", "curate", "prove"]
