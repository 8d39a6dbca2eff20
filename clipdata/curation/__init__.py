"""Curation: which rows of a table a list of filters keeps, and the proof that they are worth training on.

    selection.py   curate(): the filters, what each keeps, and the condition that stands for all of them
    arms.py        which rows each side of a proof trains on
    proof.py       what was found, as a value and as text
    proving.py     prove(): the same recipe on all rows and on those that are kept, judged on the same held-out ones

A curated set is a condition on a version of a table, never a copy.
"""

from __future__ import annotations

from clipdata.curation.proof import Proof
from clipdata.curation.proving import prove
from clipdata.curation.selection import Curated, curate

__all__ = ["Curated", "Proof", "curate", "prove"]
