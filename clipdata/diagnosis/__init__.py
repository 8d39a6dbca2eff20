"""Diagnosis: what of this machine and of a place decides whether work there goes well.

A credential is told by where it came from, never by its value.
"""

from clipdata.diagnosis.asking import doctor
from clipdata.diagnosis.records import Diagnosis, Finding

__all__ = ["Diagnosis", "Finding", "doctor"]
