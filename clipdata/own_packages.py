"""The packages that are installed beside this one, and files of somebody's own that hide them.

Python takes the first `ingest` or `pipelines` on its path; where that is a file or folder of the person's own, whatever
needs ours would end in an error that names neither. This module looks for them, and imports none.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from clipdata.errors import UsageError

ROOT = Path(__file__).resolve().parents[1]


def require_own(name: str) -> None:
    """Check that a package installed beside this one is what Python finds under its name.

    Raises:
        UsageError: something else is found first, or nothing.
    """
    spec = importlib.util.find_spec(name)
    found = Path(spec.origin) if spec is not None and spec.origin else None
    if found is not None and found.resolve().parent == ROOT / name:
        return
    if found is None:
        raise UsageError(f"clipdata's own package {name!r} is not installed", hint="install clipdata anew")
    place = found.parent if found.name == "__init__.py" else found
    raise UsageError(
        f"{place} hides clipdata's own package {name!r}: Python finds it first",
        hint=f"give it another name, or run clipdata in another folder and without {place.parent} in PYTHONPATH",
    )
