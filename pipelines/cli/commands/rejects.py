"""`clipdata rejects`: what was refused, and why."""

from __future__ import annotations

from pipelines.cli.json_output import TEXT, WHOLE, counts, listed, maybe, record
from pipelines.cli.options import Limit, ReadOptions, TableArgument, TableLayout, Where
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb

_REJECT = record(path=TEXT, reason=TEXT, detail=maybe(TEXT), etag=maybe(TEXT), refused_at=maybe(TEXT))
REFUSED = record(table=TEXT, num_rejects=WHOLE, reasons=counts(), rejects=listed(_REJECT))


@verb(
    "rejects",
    found=REFUSED,
    examples=["clipdata rejects images.lance", "clipdata rejects images.lance --where \"reason = 'truncated'\" --full"],
)
def rejects(
    terminal: Terminal,
    table: TableArgument,
    *,
    where: Where = None,
    limit: Limit = None,
    layout: TableLayout,
    store: ReadOptions,
) -> None:
    """List what ingest and merge refused, with the reasons."""
    from clipdata.lance_io.refused import read_refused

    opened = store.open(table)
    found = read_refused(opened, where=where, limit=limit)
    listed_now = [dict(one) for one in found.rejects]
    lines = [[record["reason"], record["path"], record["detail"] or ""] for record in listed_now]
    header = ["reason", "path", "detail"]
    text = terminal.table(lines, header, full=layout.full, vertical=layout.vertical) if lines else "nothing was refused"
    if len(lines) < found.num_rejects:
        text += f"\n… and {found.num_rejects - len(lines):,} more"
    reasons = dict(found.reasons)
    data = {"table": opened.uri, "num_rejects": found.num_rejects, "reasons": reasons, "rejects": listed_now}
    terminal.result(text, data)
