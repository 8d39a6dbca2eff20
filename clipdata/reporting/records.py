"""What a report holds: frozen records of which JSON and the page are views.

Everything that the page shows is here, already computed, and bounded: a report of any table is a file of a few MB. This
module knows nothing of tables, runs or pages.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from clipdata.comparison.records import Compared
from clipdata.reporting.picture_records import Gallery
from clipdata.reporting.run_records import RunSection
from clipdata.reporting.table_records import TableSection

SCHEMA_VERSION = 1
Leak = Literal["none", "seen", "unknown"]


@dataclass(frozen=True)
class Spread:
    """How the values of both sides are distributed, over bins that they share, and how the changes are.

    Args:
        edges: of the bins; one more than there are counts.
        before, after: rows in each bin.
        change_edges, change_counts: the same of after - before.
    """

    edges: tuple[float, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    change_edges: tuple[float, ...]
    change_counts: tuple[int, ...]


@dataclass(frozen=True)
class ComparisonSection:
    """Before and after.

    Args:
        compared: every figure; groups beyond the largest few dozen are left out of a report.
        leak: whether compared rows, or their pictures, were trained on; "unknown" where records are lacking.
        leakage: the same in words.
        coverage: which rows are compared, in words.
        spread: distributions.
        galleries: rows to look at.
        not_calibrated: why there is no reliability curve; None where there is one.
    """

    compared: Compared
    leak: Leak
    leakage: str
    coverage: str
    spread: Spread
    galleries: tuple[Gallery, ...]
    not_calibrated: str | None = None


@dataclass(frozen=True)
class Note:
    """Lines that whoever asked for the report gave to it, as they stand.

    Args:
        title: over them.
        text: the lines.
    """

    title: str
    text: str


@dataclass(frozen=True)
class Reported:
    """A report: its sections, those that there are, and what makes it again.

    Args:
        title: of the page.
        made_at: ISO time, UTC.
        made_by: version of this library.
        command: to type.
        python: the same.
        comparison, run, table: the sections.
        notes: what the caller adds to them.
    """

    title: str
    made_at: str
    made_by: str
    command: str
    python: str
    comparison: ComparisonSection | None = None
    run: RunSection | None = None
    table: TableSection | None = None
    notes: tuple[Note, ...] = ()

    def to_dict(self, *, thumbnails: bool = False) -> dict[str, Any]:
        """The fields of this record and of those inside it by name; figures that do not exist are None.

        Args:
            thumbnails: with the pictures themselves, which are most of a report's bytes.
        """
        record = dataclasses.asdict(self, dict_factory=_with_thumbnails if thumbnails else _without_thumbnails)
        return {"schema_version": SCHEMA_VERSION, **record}


def _with_thumbnails(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(fields)


def _without_thumbnails(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: None if name == "thumbnail" else value for name, value in fields}
