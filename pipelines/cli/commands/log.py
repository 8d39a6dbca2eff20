"""`clipdata log`: how a table came to be."""

from __future__ import annotations

from typing import Any

from pipelines.cli.options import ReadOptions, TableArgument
from pipelines.cli.terminal import Terminal, columns
from pipelines.cli.verbs import verb

# What Lance calls the commits that a verb makes on its way, in words.
_OPERATIONS = {
    "Overwrite": "  table made",
    "Update": "  rows written",
    "Merge": "  column added",
    "Append": "  rows added",
    "Delete": "  rows deleted",
    "DataReplacement": "  column filled",
    "UpdateConfig": "  metadata written",
    "Project": "  column dropped",
}


@verb("log", examples=["clipdata log contest.lance"])
def log(terminal: Terminal, table: TableArgument, *, store: ReadOptions) -> None:
    """List the versions of a table: when, which verb, with which parameters, how many rows."""
    import clipdata as cd

    entries = cd.log(table, storage=store.storage)
    lines = [
        [
            str(entry.version),
            entry.when.strftime("%Y-%m-%d %H:%M:%S"),
            entry.properties.verb if entry.properties else _OPERATIONS.get(entry.operation, f"({entry.operation})"),
            f"{entry.num_rows:,}",
            ", ".join(f"{count:,} {what}" for what, count in entry.properties.rows.items() if count)
            if entry.properties
            else "",
            _parameters(entry.properties.parameters) if entry.properties else "",
            " ".join(f"[{tag}]" for tag in entry.tags),
        ]
        for entry in entries
    ]
    header = ["version", "when (UTC)", "verb", "rows", "touched", "parameters", "tags"]
    data = {"table": table, "versions": [entry.to_dict() for entry in entries]}
    terminal.result(columns(lines, header=header), data)


def _parameters(parameters: Any) -> str:
    return ", ".join(f"{key}={value}" for key, value in parameters.items() if value not in (None, "", {}, []))
