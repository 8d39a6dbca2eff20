"""Checking: whether all that a table is made of is there and can be read, and what mends it where it is not.

    records.py    what was found, a problem a line, and what was done about it
    finding.py    the problems of a table
    repairing.py  what each of them is mended by
    asking.py     `check`

Nothing is written or moved unless a repair is asked for.
"""

from clipdata.checking.asking import check
from clipdata.checking.records import Checkup, Problem

__all__ = ["Checkup", "Problem", "check"]
