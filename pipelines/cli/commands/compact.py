"""`clipdata compact`: small fragments become large ones."""

from __future__ import annotations

from typing import Annotated

import typer

from clipdata.hints import typed
from pipelines.cli.json_output import FLAG, TEXT, WHOLE, maybe, record
from pipelines.cli.options import DryRun, StorageOptions, TableArgument
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb

_LAYOUT = record(num_fragments=WHOLE, num_files=WHOLE, num_bytes=WHOLE, num_rows=WHOLE, num_deleted=WHOLE)
COMPACTED = record(
    table=TEXT,
    before=_LAYOUT,
    after=_LAYOUT,
    rows_rewritten=WHOLE,
    bytes_rewritten=WHOLE,
    version=maybe(WHOLE),
    dry_run=FLAG,
)
_ROWS = 16_384


@verb(
    "compact", found=COMPACTED, examples=["clipdata compact contest.lance --dry-run", "clipdata compact contest.lance"]
)
def compact(
    terminal: Terminal,
    table: TableArgument,
    *,
    rows_per_fragment: Annotated[int, typer.Option(min=1, help="Fragments of fewer rows are merged.")] = _ROWS,
    dry_run: DryRun = False,
    store: StorageOptions,
) -> None:
    """Merge small fragments, and leave deleted rows out of the files; again, it changes nothing."""
    import clipdata as cd

    done = cd.compact(
        table, rows_per_fragment=rows_per_fragment, dry_run=dry_run, storage=store.storage, progress=terminal
    )
    terminal.result(str(done), done.to_dict())
    if done.rows_rewritten and not dry_run:
        terminal.hint(f"clipdata clean {typed(table)} --dry-run")
