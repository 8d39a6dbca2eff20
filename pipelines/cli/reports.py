"""What verbs of one kind print at their end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.cli.terminal import Terminal

if TYPE_CHECKING:
    from ingest import Ingested


def report_ingest(terminal: Terminal, done: Ingested) -> None:
    """Print what an ingest did."""
    terminal.result(str(done), done.to_dict())
