"""What a report holds: frozen records of which JSON and the page are views.

Everything that the page shows is here, already computed, and bounded: a report of any table is a file of a few MB. This
module knows nothing of tables, runs or pages.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from clipdata.comparison.records import Compared, Row
from clipdata.summary.records import Distribution

SCHEMA_VERSION = 1
Leak = Literal["none", "seen", "unknown"]


@dataclass(frozen=True)
class Picture:
    """A row's picture, small.

    Args:
        width, height: in pixels, of what is shown; None where nothing is.
        refused: why nothing is shown; None where something is.
        thumbnail: WebP as a data URI. JSON leaves it out unless it is asked for.
    """

    width: int | None = None
    height: int | None = None
    refused: str | None = None
    thumbnail: str | None = None


@dataclass(frozen=True)
class Choice:
    """One of the texts that a model chose between.

    Args:
        text: of it.
        before, after: its score; None where it is not known.
        is_right: whether it is the right one.
    """

    text: str
    before: float | None
    after: float | None
    is_right: bool


@dataclass(frozen=True)
class PictureRow:
    """A row with its picture.

    Args:
        name: what tells it from others.
        picture: of it.
        caption: the text that belongs to it; None where it has choices, or no text.
        choices: texts to choose from, in their order; the right one among them.
        num_choices_left_out: choices that are not listed.
        row: its figures, in a comparison.
        facts: further columns, as text.
    """

    name: str
    picture: Picture
    caption: str | None = None
    choices: tuple[Choice, ...] = ()
    num_choices_left_out: int = 0
    row: Row | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Gallery:
    """Rows of one kind.

    Args:
        title: of the kind.
        about: how they were chosen.
        rows: at most as many as were asked for.
    """

    title: str
    about: str
    rows: tuple[PictureRow, ...]


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
class Curve:
    """A line of a chart.

    Args:
        name: of it.
        points: (step, value).
        faint: the same before it was smoothed.
        dots: whether each point is a measurement by itself.
    """

    name: str
    points: tuple[tuple[float, float], ...]
    faint: tuple[tuple[float, float], ...] = ()
    dots: bool = False


@dataclass(frozen=True)
class Chart:
    """Curves of a run over its steps.

    Args:
        title: of the chart.
        x_label: what is counted.
        as_percent: whether values are shares.
        curves: that it shows.
        best: (step, value) of the best report, and the same in words.
    """

    title: str
    x_label: str
    as_percent: bool
    curves: tuple[Curve, ...]
    best: tuple[float, float, str] | None = None


@dataclass(frozen=True)
class RunFigure:
    """What was measured on held-out rows: a name, and the value before training and of the exported model."""

    name: str
    before: float | None
    after: float | None


@dataclass(frozen=True)
class RunSection:
    """A training.

    Args:
        path: of its folder.
        finished: whether the model is exported.
        encoder: what it began with.
        figures: of held-out rows, the chief one first.
        charts: losses and figures by step.
        data, training, changed: facts by name; `changed` are fields of the config that are not the default.
        canary: what the training cost elsewhere, in words; None where nobody looked.
        canary_verdict: of that.
        mixture: how the weights were mixed; None where they were not.
        warnings: told during the training.
    """

    path: str
    finished: bool
    encoder: str
    figures: tuple[RunFigure, ...]
    charts: tuple[Chart, ...]
    data: Mapping[str, str]
    training: Mapping[str, str]
    changed: Mapping[str, str]
    canary: str | None = None
    canary_verdict: str | None = None
    mixture: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Common:
    """A value, as text, and how many rows have it."""

    value: str
    count: int


@dataclass(frozen=True)
class Column:
    """A column of the table; see `clipdata.summary.ColumnStats`.

    Args:
        numbers: distribution of its numbers, or of the lengths of its texts and lists.
        numbers_of: which of these: "values", "length", or None.
    """

    name: str
    type: str
    nulls: int | None
    num_bytes: int | None
    distinct: int | None
    at_least: int
    empty: int
    common: tuple[Common, ...]
    numbers: Distribution | None
    numbers_of: str | None


@dataclass(frozen=True)
class MadeColumn:
    """What made a column.

    Args:
        column: its name.
        step: that made it, with inputs and parameters.
        model_name: what people call the model behind it.
        model: its identity.
        trained_on: rows that the model was fine-tuned on, a line a training; None where nobody recorded it.
        table_version: that was read when the column was first filled.
        made_at: ISO time, UTC.
        stale: whether its step would make something else now.
    """

    column: str
    step: str
    model_name: str | None
    model: str | None
    trained_on: tuple[str, ...] | None
    table_version: int | None
    made_at: str | None
    stale: bool


@dataclass(frozen=True)
class RefusedPictures:
    """Pictures and rows that were refused for one reason.

    Args:
        reason: a short name.
        num: how many.
        examples: (path, detail) of the first.
    """

    reason: str
    num: int
    examples: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Sides:
    """The sides of a split: the column, and rows by side; "" for rows without one."""

    column: str
    rows: Mapping[str, int]


@dataclass(frozen=True)
class TableSection:
    """A table.

    Args:
        uri: its location, secrets masked.
        version: of it.
        where: condition of the rows that were looked at.
        num_rows: of them.
        num_bytes: on the disk; None where nobody knows.
        columns: the first hundred.
        num_columns_left_out: the others.
        made: what made its columns.
        refused: by reason.
        splits: columns that say on which side a row is.
        gallery: a few rows, where nothing else is shown of it.
    """

    uri: str
    version: int
    where: str | None
    num_rows: int
    num_bytes: int | None
    columns: tuple[Column, ...]
    num_columns_left_out: int
    made: tuple[MadeColumn, ...]
    refused: tuple[RefusedPictures, ...]
    splits: tuple[Sides, ...]
    gallery: Gallery | None = None


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
    """

    title: str
    made_at: str
    made_by: str
    command: str
    python: str
    comparison: ComparisonSection | None = None
    run: RunSection | None = None
    table: TableSection | None = None

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
