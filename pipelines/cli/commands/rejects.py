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
    from collections import Counter

    from clipdata.errors import NotFoundError
    from ingest.updating.rejects import rejects_uri

    opened = store.open(table)
    try:
        found = store.open(rejects_uri(opened.uri)).to_table(where=where).to_pylist()
    except NotFoundError:
        found = []
    found.sort(key=lambda record: (record["reason"], record["path"]))
    listed_now = found[:limit]
    reasons = dict(Counter(record["reason"] for record in found))
    lines = [[record["reason"], record["path"], record["detail"] or ""] for record in listed_now]
    header = ["reason", "path", "detail"]
    text = terminal.table(lines, header, full=layout.full, vertical=layout.vertical) if lines else "nothing was refused"
    if len(lines) < len(found):
        text += f"\n… and {len(found) - len(lines):,} more"
    data = {"table": opened.uri, "num_rejects": len(found), "reasons": reasons, "rejects": listed_now}
    terminal.result(text, data)
