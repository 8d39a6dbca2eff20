"""What was measured of a table: rates, errors of fidelities, and the verdict, as values, text and JSON.

It knows numbers and words, and nothing of how they were found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from clipdata.plurals import counted
from clipdata.printable import printable
from clipdata.shown_values import shown_bytes
from clipdata.stream.evenness import Mixing


@dataclass(frozen=True)
class Rate:
    """How fast one part of the way to a model is, by itself.

    Args:
        part: "read", "decode", "stream" or "model".
        name: for people, such as "decode, fast".
        rows_s: rows (of "decode": pictures, on one core) a second of the clock.
        bytes_s: bytes a second, as they were read.
        num_rows: that were measured.
        seconds: it took.
        note: what else is known.
    """

    part: str
    name: str
    rows_s: float
    num_rows: int
    seconds: float
    bytes_s: float | None = None
    note: str = ""


@dataclass(frozen=True)
class LevelError:
    """How far the pixels of a fidelity are from what open_clip's own transform gives, in levels of 0 to 255.

    Args:
        fidelity: "fast", "scaled".
        mean: of the absolute differences.
        p99: 99th percentile of them.
        largest: of them.
        num_pictures: that were compared.
    """

    fidelity: str
    mean: float
    p99: float
    largest: int
    num_pictures: int

    def __str__(self) -> str:
        return (
            f"{self.fidelity} pixels are off open_clip's own by {self.mean:.2f} levels in the mean, 99 % within "
            f"{self.p99:.0f}, all within {self.largest}"
        )


@dataclass(frozen=True)
class Verdict:
    """What limits, and what changes it.

    Args:
        limit: "model", "decode", "read" or "workers".
        text: a sentence for people.
        command: what to type, where something helps.
    """

    limit: str
    text: str
    command: str | None = None


@dataclass(frozen=True)
class Bench:
    """What was measured.

    Args:
        table, version, where, num_rows: which rows.
        column: that was streamed.
        row_bytes: mean bytes of a row of it.
        batch_size: rows of a batch.
        num_cores: of this process.
        model, device: of the model that was measured, if one was.
        rates: in the order in which rows pass.
        errors: of fidelities that are not exact.
        refused: pictures of the sample that cannot be used, by reason.
        mixing: how well batches are mixed on a column, where that was asked for.
        verdict: what limits.
        seconds: that all of it took.
    """

    table: str
    version: int
    where: str | None
    num_rows: int
    column: str
    row_bytes: float
    batch_size: int
    num_cores: int
    model: str | None
    device: str | None
    rates: Sequence[Rate]
    errors: Sequence[LevelError]
    refused: Mapping[str, int]
    mixing: Mixing | None
    verdict: Verdict
    seconds: float
    header: Sequence[str] = field(default=("", "rows/s", "MB/s", ""), repr=False)

    def lines(self) -> list[list[str]]:
        """A row of text for each rate, under `header`."""
        return [[one.name, shown_rate(one.rows_s), _megabytes(one.bytes_s), one.note] for one in self.rates]

    @property
    def title(self) -> str:
        """Which rows were measured, and on what."""
        where = f" where {self.where}" if self.where else ""
        rows = f"{counted(self.num_rows, 'row')}, {self.column} of {shown_bytes(self.row_bytes)} a row"
        return f"{self.table}, version {self.version}{where}: {rows}; batches of {self.batch_size}, " + _cores(
            self.num_cores
        )

    def remarks(self) -> list[str]:
        """What stands below the rates."""
        said = []
        if self.refused:
            listed = ", ".join(f"{count:,} {reason}" for reason, count in self.refused.items())
            said.append(f"of the pictures looked at, these cannot be used: {listed}")
        said += [str(error) for error in self.errors]
        said += [str(self.mixing)] if self.mixing is not None else []
        return [*said, self.verdict.text]

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "table": self.table,
            "version": self.version,
            "where": self.where,
            "num_rows": self.num_rows,
            "column": self.column,
            "row_bytes": self.row_bytes,
            "batch_size": self.batch_size,
            "num_cores": self.num_cores,
            "model": self.model,
            "device": self.device,
            "rates": [asdict(one) for one in self.rates],
            "errors": [asdict(one) for one in self.errors],
            "refused": dict(self.refused),
            "mixing": None if self.mixing is None else {**asdict(self.mixing), "share": self.mixing.share},
            "verdict": asdict(self.verdict),
            "seconds": self.seconds,
        }

    def __str__(self) -> str:
        lines = self.lines()
        widths = [max(len(line[place]) for line in [list(self.header), *lines]) for place in range(3)]
        rows = [
            f"  {name:<{widths[0]}}  {rows:>{widths[1]}}  {size:>{widths[2]}}  {said}".rstrip()
            for name, rows, size, said in [list(self.header), *lines]
        ]
        typed = [f"  {self.verdict.command}"] if self.verdict.command else []
        return "\n".join(printable(line) for line in [self.title, *rows, *self.remarks(), *typed])


def shown_rate(rows_s: float) -> str:
    """A rate for people."""
    return f"{rows_s:,.0f}" if rows_s >= 10 else f"{rows_s:.2g}"


def _megabytes(bytes_s: float | None) -> str:
    return "" if bytes_s is None else f"{bytes_s / 1e6:,.0f}" if bytes_s >= 1e7 else f"{bytes_s / 1e6:.2g}"


def _cores(num_cores: int) -> str:
    return f"{num_cores} core" + ("s" if num_cores > 1 else "")
