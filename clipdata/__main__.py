"""`clipdata` and `python -m clipdata`: the command line, unless a file of somebody's own hides it.

The command line is found by its name alone, for the library knows nothing of who calls it.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import TextIO

from clipdata.errors import UsageError
from clipdata.own_packages import require_own


def entry() -> None:
    """Console script."""
    try:
        require_own("pipelines")
    except UsageError as error:
        if "--json" in sys.argv:
            fields = {"name": error.name, "code": error.exit_code, "message": error.message, "hint": error.hint}
            _write(sys.stdout, json.dumps({"schema_version": 1, "error": fields}))
        _write(sys.stderr, f"error: {error}")
        sys.exit(error.exit_code)
    sys.exit(importlib.import_module("pipelines.cli.app").main())


def _write(stream: TextIO | None, line: str) -> None:
    """Write a line, unless the stream is closed, as by `2>&-`; the exit code still tells."""
    if stream is not None:
        stream.write(f"{line}\n")


if __name__ == "__main__":
    entry()
