"""Diagnosis: what of this machine and of a place decides whether work there goes well.

    records.py    what was found, a finding a line
    machine.py    versions, extras, cores, memory, GPU
    store.py      a place: which credential is used, how fast it answers, whether commits there are safe
    asking.py     `doctor`

A credential is told by where it came from, never by its value.
"""

from clipdata.diagnosis.asking import doctor
from clipdata.diagnosis.records import Diagnosis, Finding

__all__ = ["Diagnosis", "Finding", "doctor"]
