"""`clipdata rejects`: what was refused, and why."""

from __future__ import annotations

from pipelines.cli.options import ReadOptions, TableArgument
from pipelines.cli.terminal import Terminal, columns
from pipelines.cli.verbs import verb


@verb("rejects", examples=["clipdata rejects images.lance"])
def rejects(terminal: Terminal, table: TableArgument, *, store: ReadOptions) -> None:
    """List what ingest and merge refused, with the reasons."""
    from clipdata.errors import NotFoundError
    from ingest.updating.rejects import rejects_uri

    opened = store.open(table)
    try:
        found = store.open(rejects_uri(opened.uri)).to_table().to_pylist()
    except NotFoundError:
        found = []
    found.sort(key=lambda record: (record["reason"], record["path"]))
    lines = [[record["reason"], record["path"], record["detail"] or ""] for record in found]
    text = columns(lines, header=["reason", "path", "detail"]) if found else "nothing was refused"
    terminal.result(text, {"table": opened.uri, "rejects": found})
