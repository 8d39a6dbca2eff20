"""`clipdata check`: whether all that a table is made of is there and can be read, and what mends it."""

from __future__ import annotations

from typing import Annotated

import typer

from clipdata.hints import check as check_command
from pipelines.cli.json_output import FLAG, TEXT, WHOLE, listed, maybe, record
from pipelines.cli.options import StorageOptions, TableArgument, Yes, require_yes
from pipelines.cli.terminal import Terminal
from pipelines.cli.verbs import verb

_PROBLEM = record(
    what=TEXT,
    name=TEXT,
    fault=TEXT,
    remedy=TEXT,
    mending=TEXT,
    version=maybe(WHOLE),
    fragment=maybe(WHOLE),
    columns=listed(TEXT),
    num_rows=WHOLE,
    keys=listed(TEXT),
    beside=TEXT,
)
CHECKED = record(
    table=TEXT,
    version=maybe(WHOLE),
    num_versions=WHOLE,
    num_files=WHOLE,
    num_read=WHOLE,
    num_bytes=WHOLE,
    num_pictures=WHOLE,
    sound=FLAG,
    problems=listed(_PROBLEM),
    repaired=listed(TEXT),
    left=listed(_PROBLEM),
)


@verb("check", found=CHECKED, examples=["clipdata check contest.lance", "clipdata check contest.lance --repair --yes"])
def check(
    terminal: Terminal,
    table: TableArgument,
    *,
    sample: Annotated[
        int | None, typer.Option("--sample", min=0, help="Read so many files only; of the others look at the size.")
    ] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended, once you agreed to it.")] = False,
    yes: Yes = False,
    store: StorageOptions,
) -> None:
    """Find files of a table that are missing, damaged or cannot be read, and say what mends them.

    Every data file of the newest version is read, and each picture held against its digest. The exit code is not 0
    where something is wrong. A repair moves damaged manifests beside the table, writes damaged tags again or moves
    them there too where nothing says what they named, empties what a step can make again,
    reads pictures again from where they came from, and removes rows that cannot be read.
    """
    import clipdata as cd

    found = cd.check(table, sample=sample, storage=store.storage, progress=terminal)
    if repair and found.repairable:
        require_yes(terminal, str(found), "Mend this?", yes=yes)
        found = cd.check(table, sample=sample, repair=True, storage=store.storage, progress=terminal)
    terminal.result(str(found), found.to_dict())
    if found.next:
        terminal.hint(found.next[0])
    elif found.repairable:
        terminal.hint(f"{check_command(table)} --repair")
    found.hold()
