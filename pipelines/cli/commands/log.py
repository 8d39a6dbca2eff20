"""`clipdata log`: how a table came to be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from clipdata.storage import redact
from pipelines.cli.json_output import OBJECT, TEXT, WHOLE, counts, listed, record
from pipelines.cli.options import Limit, ReadOptions, TableArgument, TableLayout
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb

if TYPE_CHECKING:
    from clipdata.lance_io.history import Version

_VERSION = record(
    ("verb", "parameters", "touched"),
    version=WHOLE,
    commits=listed(WHOLE),
    when=TEXT,
    operation=TEXT,
    rows=WHOLE,
    verb=TEXT,
    parameters=OBJECT,
    touched=counts(),
    tags=listed(TEXT),
)
LOGGED = record(table=TEXT, versions=listed(_VERSION))
# What Lance calls the commits that a verb makes on its way, in words.
_OPERATIONS = {
    "Overwrite": "table made",
    "Update": "rows written",
    "Merge": "column added",
    "Insert": "rows added",
    "Append": "rows added",
    "Delete": "rows deleted",
    "DataReplacement": "column filled",
    "UpdateConfig": "metadata written",
    "Project": "column dropped",
    "Rewrite": "fragments merged",
    "ReserveFragments": "fragments reserved",
    "Restore": "version restored",
    "CreateIndex": "index made",
}


@verb("log", found=LOGGED, examples=["clipdata log contest.lance", "clipdata log contest.lance --all"])
def log(
    terminal: Terminal,
    table: TableArgument,
    *,
    every: Annotated[bool, typer.Option("--all", help="Every commit, also those that a verb made on its way.")] = False,
    limit: Limit = None,
    layout: TableLayout,
    store: ReadOptions,
) -> None:
    """List what made the versions of a table: when, which verb, with which parameters, how many rows."""
    import clipdata as cd

    entries = cd.log(table, all=every, storage=store.storage)
    entries = entries[-limit:] if limit is not None else entries
    header = ["version", "when (UTC)", "verb", "rows", "touched", "parameters"]
    text = terminal.table([_cells(entry) for entry in entries], header, full=layout.full, vertical=layout.vertical)
    terminal.result(text, {"table": redact(table), "versions": [entry.to_dict() for entry in entries]})


def _cells(entry: Version) -> list[str]:
    """An entry as a person reads it."""
    known, num_commits = entry.properties, len(entry.commits)
    what = known.verb if known else f"({_OPERATIONS.get(entry.operation, entry.operation)})"
    touched = ", ".join(f"{count:,} {what}" for what, count in known.rows.items() if count) if known else ""
    tags = "".join(f"[{tag}] " for tag in entry.tags)
    parameters = known.parameters.items() if known else ()
    said = ", ".join(f"{key}={value}" for key, value in parameters if value not in (None, "", {}, []))
    versions = f"{entry.commits[0]}-{entry.version}" if num_commits > 1 else str(entry.version)
    when = entry.when.strftime("%Y-%m-%d %H:%M")
    return [versions, when, what, f"{entry.num_rows:,}", touched, f"{tags}{said}"]
