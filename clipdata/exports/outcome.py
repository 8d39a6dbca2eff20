"""What an export wrote, as a value with a text view. Knows no format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from clipdata.errors import TooManyRejectsError
from clipdata.printable import printable
from clipdata.storage import redact


@dataclass(frozen=True)
class Exported:
    """What an export wrote, or with `dry_run` would write.

    Args:
        out: file or folder.
        format: of it.
        version: of the table that was read.
        num_rows: rows that are written.
        num_bytes: of all files; about, in a dry run.
        num_files: files there are now.
        num_new_files: of these, written by this call.
        refused: rows left out because their picture cannot be had, by reason.
        columns: that are written.
        left_out: columns that are not, because the format cannot hold them or nobody wants them in it.
        notes: facts about the rows that are written, for whoever reads the files.
        pictures_from: other tables that the rows refer to for their pictures, and of which these were read.
        dry_run: nothing was written.
    """

    out: str
    format: str
    version: int
    num_rows: int
    num_bytes: int
    num_files: int
    num_new_files: int
    refused: Mapping[str, int] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)
    pictures_from: tuple[str, ...] = ()
    dry_run: bool = False

    @property
    def num_refused(self) -> int:
        """Rows left out because their picture cannot be had."""
        return sum(self.refused.values())

    def hold(self, *, max_rejects: int | float | None = None) -> Exported:
        """Hold the export to a bound on the rows left out; returns itself when it is met.

        Args:
            max_rejects: most rows left out: a whole number, or a share, from 0.0 to 1.0, of those selected. None bears
                all, unless nothing is left to write.

        Raises:
            TooManyRejectsError: more were left out, or no row was selected. What was written stays.
        """
        reasons = "".join(f"; {count:,} × {reason}" for reason, count in self.refused.items())
        num_selected = self.num_rows + self.num_refused
        if not self.num_rows:
            raise TooManyRejectsError(
                f"nothing was written: of {num_selected:,} rows that meet the condition none can be{reasons}"
            )
        most = max_rejects * num_selected if isinstance(max_rejects, float) else max_rejects
        if most is not None and self.num_refused > most:
            raise TooManyRejectsError(
                f"{self.num_refused:,} of {num_selected:,} rows are left out, more than the {max_rejects:,} allowed"
                + reasons
            )
        return self

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        lists = {name: list(getattr(self, name)) for name in ("columns", "left_out", "pictures_from")}
        return {**asdict(self), **lists, "refused": dict(self.refused), "notes": dict(self.notes)}

    def __str__(self) -> str:
        about = "about " if self.dry_run else ""
        files = f"{self.num_files:,} file{'s' if self.num_files != 1 else ''}"
        if self.dry_run:
            files += "; nothing was written"
        elif self.num_new_files != self.num_files:
            files += f", {self.num_new_files:,} of them written now"
        lines = [
            f"{redact(self.out)}: {_rows(self.num_rows)} as {self.format}, {about}{self.num_bytes:,} bytes in {files}"
        ]
        lines += [f"  {_rows(count)} left out: {reason}" for reason, count in self.refused.items()]
        lines += [
            f"  {name}: {value:,}" if isinstance(value, int) else f"  {name}: {value}"
            for name, value in self.notes.items()
        ]
        lines += [f"  columns left out: {', '.join(self.left_out)}"] if self.left_out else []
        lines += [f"  pictures read from {', '.join(self.pictures_from)}"] if self.pictures_from else []
        return "\n".join(map(printable, lines))


def _rows(num: int) -> str:
    return f"{num:,} row{'s' if num != 1 else ''}"
