"""`clipdata log`: how a table came to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

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
    commits=WHOLE,
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
    "Append": "rows added",
    "Delete": "rows deleted",
    "DataReplacement": "column filled",
    "UpdateConfig": "metadata written",
    "Project": "column dropped",
}


@dataclass(frozen=True)
class Line:
    """One line of a log: what a verb did, or commits that belong to none.

    Args:
        entry: the newest of the commits.
        commits: how many there are.
        tags: of all of them.
    """

    entry: Version
    commits: int
    tags: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {**self.entry.to_dict(), "commits": self.commits, "tags": list(self.tags)}

    def cells(self) -> list[str]:
        """As a person reads it."""
        entry, known = self.entry, self.entry.properties
        what = known.verb if known else _OPERATIONS.get(entry.operation, entry.operation)
        if not known:
            what = f"({what})" if self.commits == 1 else f"({what}, {self.commits:,} commits)"
        touched = ", ".join(f"{count:,} {what}" for what, count in known.rows.items() if count) if known else ""
        tags = "".join(f"[{tag}] " for tag in self.tags)
        parameters = known.parameters.items() if known else ()
        said = ", ".join(f"{key}={value}" for key, value in parameters if value not in (None, "", {}, []))
        when = entry.when.strftime("%Y-%m-%d %H:%M")
        return [str(entry.version), when, what, f"{entry.num_rows:,}", touched, f"{tags}{said}"]


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

    entries = cd.log(table, storage=store.storage)
    lines = [Line(entry, 1, entry.tags) for entry in entries] if every else folded(entries)
    lines = lines[-limit:] if limit is not None else lines
    header = ["version", "when (UTC)", "verb", "rows", "touched", "parameters"]
    cells = [line.cells() for line in lines]
    text = terminal.table(cells, header, full=layout.full, vertical=layout.vertical)
    terminal.result(text, {"table": redact(table), "versions": [line.to_dict() for line in lines]})


def folded(entries: Sequence[Version]) -> list[Line]:
    """One line for each verb, and for commits in a row of one kind that no verb closed.

    A verb says in its last commit which version was the newest before it began; what came between and says nothing of
    itself was made on its way, and so was the table, when it is the first verb of all.
    """
    lines: list[Line] = []
    gathered: list[Version] = []  # commits that say nothing of themselves, since the last one that does
    for entry in entries:
        if entry.properties is None:
            gathered.append(entry)
            continue
        since = entry.properties.first_version
        own = [one for one in gathered if since is not None and (one.version > since or one is entries[0])]
        others = [one for one in gathered if one not in own]
        lines += [*_runs(others), _line([*own, entry])]
        gathered = []
    return lines + _runs(gathered)


def _runs(entries: Sequence[Version]) -> list[Line]:
    runs: list[list[Version]] = []
    for entry in entries:
        if runs and runs[-1][-1].operation == entry.operation:
            runs[-1].append(entry)
        else:
            runs.append([entry])
    return [_line(run) for run in runs]


def _line(entries: Sequence[Version]) -> Line:
    return Line(entries[-1], len(entries), tuple(tag for entry in entries for tag in entry.tags))
