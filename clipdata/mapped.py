"""What a map did, as a person, a script and a notebook read it. Knows no table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from clipdata.notebook import html_facts
from clipdata.printable import printable


@dataclass(frozen=True)
class Mapped:
    """What a map did.

    Args:
        column: filled.
        computed: rows computed in this run, and committed.
        failed: those of them that stayed null, by reason.
        kept: other rows that have a value: it was there, or an earlier, interrupted run or another writer computed it.
        waiting: rows that cannot be computed yet, because an input of theirs is null.
        version: of the table that holds the result.
        seconds: wall time.
        notes: facts the step counted (`step.notes()`), such as captions cut to the context length.
    """

    column: str
    computed: int
    failed: Mapping[str, int]
    kept: int
    waiting: int
    version: int
    seconds: float
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def num_failed(self) -> int:
        """Rows that stayed null."""
        return sum(self.failed.values())

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {**asdict(self), "failed": dict(self.failed), "notes": dict(self.notes)}

    def _repr_html_(self) -> str:
        facts = {"computed": self.computed, "kept": self.kept, "waiting": self.waiting, "version": self.version}
        reasons = {f"no value: {reason}": count for reason, count in self.failed.items()}
        return html_facts({**facts, **reasons, **self.notes}, title=f"map {self.column}")

    def __str__(self) -> str:
        return "\n".join(map(printable, self._lines()))

    def _lines(self) -> list[str]:
        if not self.computed and not self.failed:
            waiting = f", {self.waiting:,} wait for an input" if self.waiting else ""
            kept = f"{self.kept:,} rows have their value{waiting}"
            return [f"{self.column}: nothing to compute, {kept} (version {self.version})"]
        rate = self.computed / self.seconds if self.seconds else 0.0
        text = f"{self.column}: {self.computed:,} rows computed, {self.kept:,} kept, {rate:,.0f} rows/s"
        lines = [f"{text} (version {self.version})"]
        lines += [f"  {self.waiting:,} rows wait for an input that is null"] if self.waiting else []
        lines += [f"  no value for {count:,} rows: {reason}" for reason, count in self.failed.items()]
        return lines + [f"  {name}: {value}" for name, value in self.notes.items()]
