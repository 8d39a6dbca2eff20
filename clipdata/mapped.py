"""What a map did, as a person, a script and a notebook read it. Knows no table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from clipdata.errors import TooManyRejectsError
from clipdata.notebook import html_facts
from clipdata.plurals import counted
from clipdata.printable import printable


@dataclass(frozen=True)
class Mapped:
    """What a map did, or with `dry_run` would do.

    Args:
        column: filled.
        computed: rows computed in this run, and committed.
        failed: those of them that stayed null, by reason.
        kept: other rows that have a value: it was there, or an earlier, interrupted run or another writer computed it.
        waiting: rows that cannot be computed yet, because an input of theirs is null.
        version: of the table that holds the result.
        seconds: wall time.
        notes: facts the step counted (`step.notes()`), such as captions cut to the context length.
        failed_before: rows that stay null since an earlier run, in which the step failed on them.
        pending: rows that are left to the next run, whether beyond the limit or outside the condition; in a dry run
            those that are to be computed, whatever the limit.
        dry_run: nothing was written.
        read_bytes: column → bytes of it that were read; of a dry run about how many would be, judged by a handful of
            rows.
        row_s: seconds of the step for a row, reading aside; None where no row was computed.
        estimate_s: about how many seconds computing would take, reading aside, judged by the same rows, and so too many
            where a step gains by large batches, too few where it remembers these rows; None where no row can be
            computed.
    """

    column: str
    computed: int
    failed: Mapping[str, int]
    kept: int
    waiting: int
    version: int
    seconds: float
    notes: Mapping[str, Any] = field(default_factory=dict)
    failed_before: int = 0
    pending: int = 0
    dry_run: bool = False
    read_bytes: Mapping[str, int] = field(default_factory=dict)
    row_s: float | None = None
    estimate_s: float | None = None

    @property
    def num_failed(self) -> int:
        """Rows that stayed null."""
        return sum(self.failed.values())

    @property
    def num_filled(self) -> int:
        """Rows of the table that have a value."""
        return self.kept + self.computed - self.num_failed

    def hold(self, *, max_failed: int | float | None = None) -> Mapped:
        """Hold the map to a bound on its failures; returns itself when it is met, as a dry run always does.

        Args:
            max_failed: most rows without a value because the step failed, in this run or before: a whole number, or a
                share, from 0.0 to 1.0, of the rows that were tried. None bears all, unless no row has a value.

        Raises:
            TooManyRejectsError: more rows failed. What was computed is committed all the same.
        """
        if self.dry_run:
            return self
        num_failed = self.num_failed + self.failed_before
        num_tried = self.num_filled + num_failed
        if max_failed is None:
            found_none = bool(num_failed or (self.waiting and not self.pending))
            broken, bound = found_none and not self.num_filled, "no row of the table has a value"
        else:
            most = max_failed * num_tried if isinstance(max_failed, float) else max_failed
            broken, bound = num_failed > most, f"more than the {max_failed:,} allowed"
        if broken:
            reasons = "".join(f"; {count:,} × {reason}" for reason, count in self.failed.items())
            raise TooManyRejectsError(
                f"{self.column}: {num_failed:,} of {num_tried:,} rows failed, {bound}{reasons}",
                hint=self._why(),
            )
        return self

    def _why(self) -> str:
        if self.waiting and not self.num_failed and not self.failed_before:
            return "all rows wait for an input that is null: fill that column first"
        again = "" if self.num_failed else "; --retry-failed (retry_failed=True) tries them again"
        return f"the column {self.column}__error says why, row by row{again}"

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            **asdict(self),
            "failed": dict(self.failed),
            "notes": dict(self.notes),
            "read_bytes": dict(self.read_bytes),
        }

    def _repr_html_(self) -> str:
        facts: dict[str, Any] = {"would compute": self.pending} if self.dry_run else {"computed": self.computed}
        facts |= {"kept": self.kept, "waiting": self.waiting, "version": self.version}
        reasons = {f"no value: {reason}": count for reason, count in self.failed.items()}
        return html_facts({**facts, **reasons, **self.notes}, title=f"map {self.column}")

    def __str__(self) -> str:
        return "\n".join(map(printable, self._lines()))

    def _lines(self) -> list[str]:
        if self.dry_run:
            return self._foretold()
        if not self.computed and not self.failed:
            waiting = f", {self.waiting:,} wait for an input" if self.waiting else ""
            left = f", {self.pending:,} are left to the next run" if self.pending else ""
            kept = f"{counted(self.kept, 'row has', 'rows have')} their value{left}{waiting}{self._before}"
            return [f"{self.column}: nothing to compute, {kept} (version {self.version})"]
        rate = self.computed / self.seconds if self.seconds else 0.0
        text = f"{self.column}: {counted(self.computed, 'row')} computed, {self.kept:,} kept, {rate:,.0f} rows/s"
        lines = [f"{text} (version {self.version})"]
        lines += [self._cost] if self.row_s is not None else []
        lines += [f"  {counted(self.pending, 'row is', 'rows are')} left to the next run"] if self.pending else []
        lines += (
            [f"  {counted(self.waiting, 'row waits', 'rows wait')} for an input that is null"] if self.waiting else []
        )
        lines += [f"  no value for {counted(count, 'row')}: {reason}" for reason, count in self.failed.items()]
        return lines + [f"  {name}: {value}" for name, value in self.notes.items()]

    @property
    def _cost(self) -> str:
        read = ", ".join(f"{counted(num_bytes, 'byte')} of {name}" for name, num_bytes in self.read_bytes.items())
        return f"  the step took {1e3 * (self.row_s or 0):.3g} ms a row" + (f", and read {read}" if read else "")

    @property
    def _before(self) -> str:
        return f", on {self.failed_before:,} the step failed before" if self.failed_before else ""

    def _foretold(self) -> list[str]:
        waiting = f", {self.waiting:,} wait for an input that is null" if self.waiting else ""
        kept = f"{self.kept:,} kept{waiting}{self._before}"
        lines = [f"{self.column}: {counted(self.pending, 'row')} to compute, {kept}; nothing was written"]
        if self.estimate_s is not None:
            rates = f"as {self.notes.get('rows tried', 0)} rows were"
            lines.append(f"  about {self.estimate_s:,.3g} s of computing, if all are {rates}")
        lines += [f"  reads about {num_bytes:,} bytes of {name}" for name, num_bytes in self.read_bytes.items()]
        return lines + [f"  {name}: {value}" for name, value in self.notes.items()]
