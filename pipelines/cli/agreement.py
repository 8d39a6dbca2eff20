"""Agreement: nothing that is there goes before somebody said yes. It knows the terminal, and no verb."""

from __future__ import annotations

import sys

import typer

from clipdata.errors import UsageError
from pipelines.cli.terminal import Terminal


def agree(terminal: Terminal, planned: str, question: str, *, yes: bool) -> None:
    """Ask before something is removed or replaced, unless `--yes` was typed.

    Args:
        planned: what would be done; shown before the question.
        question: such as "Remove them?".
        yes: nobody has to be asked.

    Raises:
        UsageError: nobody can be asked, because no terminal is there.
    """
    if yes:
        return
    terminal.say(planned)
    if not sys.stdin.isatty():
        raise UsageError("nothing was changed: nobody can be asked here", hint="type it again with --yes")
    typer.confirm(question, abort=True, err=True)
