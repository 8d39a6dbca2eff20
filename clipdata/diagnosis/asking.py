"""`doctor`: the machine, and a place if one is named."""

from __future__ import annotations

import os

from clipdata.diagnosis.machine import machine
from clipdata.diagnosis.records import Diagnosis, Finding
from clipdata.diagnosis.store import store
from clipdata.errors import ClipdataError
from clipdata.storage import Storage, absolute, is_remote, redact


def doctor(
    uri: str | os.PathLike[str] | None = None, *, write: bool = True, storage: Storage | None = None
) -> Diagnosis:
    """Look at this machine, and at a place: which credential is used, how fast it answers, whether commits are safe.

    Args:
        uri: of a table, or of a folder or prefix where one may come to be; None looks at the machine alone.
        write: also write an object of a few bytes there, twice, and remove it: the only way to tell whether two writers
            can commit at once.
        storage: how to reach the place.

    Raises:
        UsageError: the scheme of the place needs a package that is not installed, or is unknown.
    """
    location = absolute(uri) if uri is not None else None
    here = location if location is not None and not is_remote(location) else "."
    findings = list(machine(here))
    fault: ClipdataError | None = None
    if location is not None:
        for found in store(location, storage or Storage(), write=write):
            if isinstance(found, Finding):
                findings.append(found)
            else:
                fault = fault or found
    return Diagnosis(redact(location) if location is not None else None, tuple(findings), fault)
