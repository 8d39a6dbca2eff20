"""The section of a table: what it holds, what was refused of it, and what made its columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clipdata.lance_io.refused import read_refused
from clipdata.lance_io.table import Table
from clipdata.lineage import Lineage
from clipdata.plurals import counted
from clipdata.progress import Progress
from clipdata.reporting.picture_records import Gallery, PictureRow
from clipdata.reporting.rendering import cut
from clipdata.reporting.row_columns import RowColumns, captioned, name_of
from clipdata.reporting.table_records import Column, Common, MadeColumn, RefusedPictures, Sides, TableSection
from clipdata.reporting.thumbnails import Thumbnails
from clipdata.schema import is_text
from clipdata.storage import redact
from clipdata.summary import ColumnStats, TableStats, stats

MOST_COLUMNS = 100
_MOST_REASONS, _MOST_EXAMPLES, _MOST_SIDES = 30, 3, 30


def table_section(
    table: Table,
    *,
    where: str | None,
    progress: Progress | None,
    num_pictures: int = 0,
    shown: RowColumns = RowColumns(),  # noqa: B008 - frozen
) -> TableSection:
    """Tell what a table holds.

    Args:
        table: at its version.
        where: SQL condition of the rows to look at.
        progress: watches the scan.
        num_pictures: rows to show, drawn from all of them; 0 shows none.
        shown: columns to show of them.

    Raises:
        SchemaError: the condition is not valid for the table.
    """
    found = stats(table, where=where, progress=progress)
    return TableSection(
        uri=found.table,
        version=table.version,
        where=where,
        num_rows=found.num_rows,
        num_bytes=found.num_bytes,
        columns=tuple(map(_column, found.columns[:MOST_COLUMNS])),
        num_columns_left_out=max(0, len(found.columns) - MOST_COLUMNS),
        made=made_columns(table, found.stale)[:MOST_COLUMNS],
        refused=_refused(table),
        splits=_sides(found),
        gallery=_gallery(table, where, num_pictures, shown) if num_pictures else None,
    )


def made_columns(table: Table, stale: Sequence[str]) -> tuple[MadeColumn, ...]:
    """What made each column that a step made, in the order of the table."""
    lineages = [(name, table.lineage(name)) for name in table.schema.names]
    return tuple(
        MadeColumn(
            column=name,
            step=cut(redact(lineage.describe())),
            model_name=lineage.model_name,
            model=lineage.model,
            trained_on=_trainings(lineage),
            table_version=lineage.table_version,
            made_at=lineage.made_at,
            stale=name in stale,
        )
        for name, lineage in lineages
        if lineage is not None
    )


def _trainings(lineage: Lineage) -> tuple[str, ...] | None:
    if lineage.trained_on is None:
        return None
    return tuple(_training(record) for record in lineage.trained_on[:10])


def _training(record: Mapping[str, Any]) -> str:
    rows, where = record.get("num_rows"), record.get("where")
    told = counted(rows, "row") if isinstance(rows, int) else "rows"
    return cut(
        f"{told} of {redact(str(record.get('table')))}, version {record.get('version')}"
        + (f", where {where}" if where else "")
    )


def _column(found: ColumnStats) -> Column:
    numbers = found.numbers or found.lengths
    return Column(
        name=found.name,
        type=cut(found.type, 80),
        nulls=found.nulls,
        num_bytes=found.num_bytes,
        distinct=found.distinct,
        at_least=found.at_least,
        empty=found.empty,
        common=tuple(Common(cut(value, 60), count) for value, count in found.common[:3]),
        numbers=numbers,
        numbers_of="values" if found.numbers else "length" if found.lengths else None,
        earliest=found.earliest,
        latest=found.latest,
    )


def _refused(table: Table) -> tuple[RefusedPictures, ...]:
    reasons = list(read_refused(table, limit=0).reasons.items())[:_MOST_REASONS]
    found = []
    for reason, num in reasons:
        quoted = reason.replace("'", "''")
        listed = read_refused(table, where=f"reason = '{quoted}'", limit=_MOST_EXAMPLES).rejects if reason else ()
        examples = tuple((cut(redact(one["path"]), 120), cut(redact(one["detail"] or ""), 160)) for one in listed)
        found.append(RefusedPictures(reason, num, examples))
    return tuple(found)


def _sides(found: TableStats) -> tuple[Sides, ...]:
    return tuple(
        Sides(split.column, dict(sorted(split.sides.items(), key=lambda side: -side[1])[:_MOST_SIDES]))
        for split in found.splits
    )


def _gallery(table: Table, where: str | None, num_pictures: int, shown: RowColumns) -> Gallery | None:
    """Rows drawn from all, the same ones every time."""
    places = table.offsets(where)
    if not len(places):
        return None
    drawn = np.sort(np.random.default_rng(0).choice(len(places), min(num_pictures, len(places)), replace=False))
    offsets = places[drawn].astype(np.int64)
    schema = table.schema
    name, caption = name_of(schema, table.key), shown.text_of(schema, table.key)
    facts = [one for one in ("label", "class_name", "split") if one in schema.names and one != caption]
    facts = [one for one in facts if is_text(schema.field(one).type)]
    columns = [one for one in dict.fromkeys([name, caption, *facts]) if one]
    rows = table.take(offsets, columns).to_pylist() if columns else [{}] * len(offsets)
    pictures = Thumbnails(table, shown.image).of(offsets.tolist())
    return Gallery(
        "A few rows",
        f"{len(offsets)} of {len(places):,}, drawn by chance",
        tuple(
            PictureRow(
                name=cut(str(row[name]) if name else f"row {offset}", 200),
                picture=pictures[offset],
                caption=text,
                facts={fact: cut(row[fact], 200) for fact in facts if row[fact]},
                caption_chars=chars,
            )
            for offset, row in zip(offsets.tolist(), rows, strict=True)
            for text, chars in [captioned(row[caption], schema.field(caption).type) if caption else (None, None)]
        ),
    )
