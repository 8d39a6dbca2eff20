"""Outcome: what an ingest did, or would do, as a value with text and JSON views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from clipdata.errors import UsageError
from clipdata.lance_io.rows import Written
from clipdata.lance_io.table import Table
from clipdata.plurals import counted
from clipdata.printable import printable
from clipdata.storage import redact


@dataclass(frozen=True)
class Ingested:
    """What an ingest did.

    Args:
        opened: the table at the version that holds the rows; None where a dry run found no table.
        where: its location.
        items: what the source lists, and `listed`, `unchanged` and `read` count: "rows", or "files" of many rows.
        listed: items the source listed.
        unchanged: items skipped because their content is known.
        read: items read, because they are new or changed (or were asked for again).
        read_bytes: of those, as far as the listing says.
        written: rows inserted, updated and deleted.
        num_rows: rows that could be used among those read.
        refused: rows refused in this run, by reason.
        examples: key of the first of each reason.
        refused_before: refusals of earlier runs that stand, of what did not change and was not read again.
        num_vanished: rows or files in the table that the source no longer lists (their rows stay).
        vanished: keys of the first hundred of them.
        notes: what else the source counted.
        dry_run: nothing was read or written; `read` says what would be.
        seconds: wall time.
    """

    opened: Table | None
    where: str
    items: Literal["rows", "files"]
    listed: int
    unchanged: int
    read: int
    read_bytes: int
    written: Written
    num_rows: int
    refused: Mapping[str, int]
    examples: Mapping[str, str]
    refused_before: int
    num_vanished: int
    vanished: Sequence[str]
    notes: Mapping[str, Any]
    dry_run: bool
    seconds: float

    @property
    def table(self) -> Table:
        """The table, at the version that holds the rows.

        Raises:
            UsageError: a dry run made none.
        """
        if self.opened is None:
            raise UsageError(f"there is no table at {redact(self.where)} yet: a dry run makes none")
        return self.opened

    @property
    def num_refused(self) -> int:
        """Rows refused in this run."""
        return sum(self.refused.values())

    @property
    def usable(self) -> bool:
        """Whether anything of what was listed is in the table; True when nothing was refused."""
        return self.dry_run or bool(self.num_rows or self.unchanged) or not (self.num_refused or self.refused_before)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "table": redact(self.where),
            "version": self.opened.version if self.opened else None,
            "rows": self.opened.num_rows if self.opened else 0,
            "items": self.items,
            "listed": self.listed,
            "unchanged": self.unchanged,
            "read": self.read,
            "read_bytes": self.read_bytes,
            **asdict(self.written),
            "refused": dict(self.refused),
            "examples": dict(self.examples),
            "refused_before": self.refused_before,
            "num_vanished": self.num_vanished,
            "vanished": list(self.vanished),
            "notes": dict(self.notes),
            "dry_run": self.dry_run,
            "seconds": self.seconds,
        }

    def __str__(self) -> str:
        lines = [self._plan() if self.dry_run else self._done()]
        if self.written.deleted:
            lines.append(f"  removed with their changed file: {self.written.deleted:,}")
        for reason, count in sorted(self.refused.items()):
            lines.append(f"  refused {count:,}: {reason} ({printable(redact(self.examples[reason]))})")
        if self.refused_before:
            lines.append(f"  refused before and unchanged: {self.refused_before:,} (--retry-rejects tries them again)")
        if self.num_vanished:
            examples = ", ".join(self.vanished[:3]) + (" …" if self.num_vanished > 3 else "")
            lines.append(f"  no longer at the source, rows kept: {self.num_vanished:,} ({examples})")
        lines += [f"  {name}: {value}" for name, value in self.notes.items()]
        return "\n".join(lines)

    def _done(self) -> str:
        there = f"{redact(self.where)}: {counted(self.table.num_rows, 'row')} (version {self.table.version})"
        written = f"{self.written.inserted:,} new, {self.written.updated:,} replaced"
        if self.items == "rows":
            return f"{there}; {written}, {self.unchanged:,} unchanged"
        return f"{there}; rows: {written}; files: {self.listed:,} listed, {self.unchanged:,} unchanged"

    def _plan(self) -> str:
        there = counted(self.opened.num_rows, "row") if self.opened else "no table yet"
        size = f" ({self.read_bytes / 2**20:,.1f} MiB)" if self.read_bytes else ""
        listed = f"{self.listed:,} {self.items} listed, {self.unchanged:,} unchanged, {self.read:,} to read"
        return f"{redact(self.where)}: {there}; dry run: {listed}{size}; nothing was written"
