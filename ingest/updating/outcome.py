"""Outcome: what an ingest did, as a value with text and JSON views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from clipdata.lance_io.rows import Written
from clipdata.lance_io.table import Table
from clipdata.storage import redact


@dataclass(frozen=True)
class Ingested:
    """What an ingest did.

    Args:
        table: at the version that holds the rows.
        listed: items the source listed.
        unchanged: items skipped because their etag is known.
        read: items read, because they are new or changed (or were asked for again).
        written: rows inserted, updated and deleted.
        refused: rows refused in this run, by reason.
        refused_before: items skipped because they were refused unchanged before.
        vanished: keys in the table that the source no longer lists (their rows stay).
        notes: what else the source counted.
        seconds: wall time.
    """

    table: Table
    listed: int
    unchanged: int
    read: int
    written: Written
    refused: Mapping[str, int]
    refused_before: int
    vanished: Sequence[str]
    notes: Mapping[str, Any]
    seconds: float

    @property
    def num_refused(self) -> int:
        """Rows refused in this run."""
        return sum(self.refused.values())

    @property
    def usable(self) -> bool:
        """Whether something came of it: False where items were listed and refused, and the table holds none of them."""
        return bool(self.table.num_rows) or not self.listed or not (self.refused or self.refused_before)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "table": self.table.uri,
            "version": self.table.version,
            "rows": self.table.num_rows,
            "listed": self.listed,
            "unchanged": self.unchanged,
            "read": self.read,
            **asdict(self.written),
            "refused": dict(self.refused),
            "refused_before": self.refused_before,
            "vanished": list(self.vanished),
            "notes": dict(self.notes),
            "seconds": self.seconds,
        }

    def __str__(self) -> str:
        rows_ = self.table.num_rows
        lines = [
            f"{redact(self.table.uri)}: {rows_:,} rows (version {self.table.version}); "
            f"{self.written.inserted:,} new, {self.written.updated:,} replaced, {self.unchanged:,} unchanged"
        ]
        if self.written.deleted:
            lines.append(f"  removed with their changed file: {self.written.deleted:,}")
        lines += [f"  refused {count:,}: {reason}" for reason, count in sorted(self.refused.items())]
        if self.refused_before:
            lines.append(f"  refused before and unchanged: {self.refused_before:,} (--retry-rejects tries them again)")
        if self.vanished:
            examples = ", ".join(self.vanished[:3])
            lines.append(f"  no longer at the source, rows kept: {len(self.vanished):,} ({examples} …)")
        lines += [f"  {name}: {value}" for name, value in self.notes.items()]
        return "\n".join(lines)
