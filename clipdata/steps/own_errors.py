"""What somebody's own code raised, told with the line that it stands in. It knows tracebacks, and no step."""

from __future__ import annotations

import os
import site
import sysconfig
import traceback
from pathlib import Path

_OURS = str(Path(__file__).parents[1]) + os.sep
_INSTALLED = tuple(
    {
        *(sysconfig.get_path(name) + os.sep for name in ("purelib", "platlib", "stdlib", "platstdlib")),
        *(path + os.sep for path in site.getsitepackages()),
    }
)


def told(error: BaseException) -> str:
    """An error in one line: its kind, its words, and the innermost line of code that no package holds."""
    return f"{type(error).__name__}: {error}{place_of(error)}"


def place_of(error: BaseException) -> str:
    """` (FILE, line N)`, or nothing where only this library's and installed packages' code was at work."""
    places = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    own = [place for place in places if not place[0].startswith((_OURS, "<frozen", *_INSTALLED))]
    return f" ({os.path.basename(own[-1][0])}, line {own[-1][1]})" if own else ""
