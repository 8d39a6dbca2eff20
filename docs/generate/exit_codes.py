"""The page of exit codes and errors: what each code means, and which error of the library ends a command with it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

from clipdata import errors
from clipdata.errors import ClipdataError
from docs.generate.markdown import code, first_line, plain, table
from pipelines.cli.app import INTERRUPTED, TERMINATED

PATH = "reference/exit-codes.md"
NAV = {"Exit codes": PATH}

CODES = {
    0: "done",
    1: "failed, for a reason that has no code of its own",
    2: "what was typed, or a config, is wrong; nothing was done",
    3: "a table, file, folder, version or model that was named is not there",
    4: "the store says that the caller may not do this",
    5: "time may mend it: type the same command again",
    6: "it is finished, and more rows were refused than allowed, or none is usable",
    7: "a gate failed: a comparison missed its bound, a column is stale, sides of a split leak",
    INTERRUPTED: "interrupted (Ctrl-C); the same command goes on where it stopped",
    TERMINATED: "terminated (SIGTERM), after a checkpoint where it is a training; the same command goes on",
}


def pages(missing: list[str]) -> Mapping[str, str]:
    """The one page."""
    kinds = {n: k for n, k in inspect.getmembers(errors, inspect.isclass) if issubclass(k, ClipdataError)}
    for name, kind in kinds.items():
        if not first_line(kind) or (kind.__doc__ == ClipdataError.__doc__ and kind is not ClipdataError):
            missing.append(f"error {name}: no description")
        if kind.exit_code not in CODES:
            missing.append(f"exit code {kind.exit_code} of {name}: no description")
    rows = [
        (code(name), code(kind.name), str(kind.exit_code), plain(first_line(kind)))
        for name, kind in sorted(kinds.items(), key=lambda pair: (pair[1].exit_code, pair[0]))
    ]
    text = f"""# Exit codes and errors

{table(("exit code", "means"), [(str(number), plain(told)) for number, told in CODES.items()])}
With `--json` a command that ends otherwise than with 0 prints one object all the same, with `error.name`,
`error.message` and
`error.hint` in it. In Python the same faults are exceptions, all of them a `clipdata.ClipdataError`, with a `hint`
that says what to type or change:

{table(("error", "name in JSON", "exit code", "means"), rows)}"""
    return {PATH: text}
