"""What is asked of a comparison, with every default resolved against the tables' columns and lineage. Reads no row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from clipdata.answers import is_number
from clipdata.comparison.codes import alike, is_nameable
from clipdata.comparison.records import Side
from clipdata.errors import SchemaError, UsageError
from clipdata.schema import is_list, is_text
from clipdata.storage import redact

if TYPE_CHECKING:
    from clipdata.lance_io.table import Table


@dataclass(frozen=True)
class Request:
    """Columns and clauses of one comparison, all of which exist.

    Args:
        table: table of the after side, of the clauses, clusters and groups.
        table_before: table of the before side when it is another one (or another version).
        key: column that pairs two tables.
        before: column of values.
        after: column of values.
        where: clause that selects rows of `table`.
        by: column of groups.
        cluster: columns whose first non-null value names the cluster; empty when rows are resampled.
        scores_before: column of score lists.
        scores_after: column of score lists.
        label_index: column with the index of the right choice.
        trained_where: clause that selects the training rows; a hint, where the models have no record.
        trained_where_given: whether the caller named it.
    """

    table: Table
    before: str
    after: str
    table_before: Table | None = None
    key: str | None = None
    where: str | None = None
    by: str | None = None
    cluster: tuple[str, ...] = ()
    scores_before: str | None = None
    scores_after: str | None = None
    label_index: str | None = None
    trained_where: str | None = None
    trained_where_given: bool = False

    @property
    def judged(self) -> bool:
        """Whether right and wrong answers can be told."""
        return bool(self.scores_before and self.scores_after and self.label_index)

    def columns(self) -> list[str]:
        """Columns to read of `table`."""
        names = [self.after, *self.cluster, self.by, self.label_index, self.scores_after]
        if self.table_before is None:
            names += [self.before, self.scores_before]
        return list(dict.fromkeys(name for name in names if name))

    def sides(self) -> tuple[Side, Side]:
        """Who is compared with whom."""
        other = self.table_before or self.table
        return _side(other, self.before, self.scores_before), _side(self.table, self.after, self.scores_after)


def resolve(
    table: Table,
    before: str,
    after: str,
    *,
    table_before: Table | None,
    on: str | None,
    where: str | None,
    by: str | None,
    cluster: str | None,
    scores_before: str | None,
    scores_after: str | None,
    label_index: str,
    trained_where: str | None,
) -> Request:
    """Check the columns and fill in what was not said.

    Raises:
        SchemaError: a column does not exist, or holds no numbers.
        UsageError: both sides are the same column; or two tables have no key to pair them by.
    """
    other = table_before or table
    other.require([name for name in (before, scores_before) if name], verb="compare")
    table.require([name for name in (after, scores_after, by, cluster) if name], verb="compare")
    if table_before is None and before == after:
        raise UsageError(
            f"compare: {before!r} is compared with itself",
            hint="name another column, or the table of the other side: table_before=…",
        )
    for purpose, name in (("by", by), ("cluster", cluster)):
        _require_nameable(table, name, purpose)
    scores_before = scores_before or _scores(other, before)
    scores_after = scores_after or _scores(table, after)
    known_label = label_index if label_index in table.schema.names else _label_index(table, after)
    for holder, column in ((other, before), (table, after)):
        _check_values(holder, column, known_label)
    for holder, scores in ((other, scores_before), (table, scores_after)):
        if scores and not is_list(holder.schema.field(scores).type):
            raise SchemaError(f"compare: {scores!r} holds {holder.schema.field(scores).type}, expected lists of scores")
    lists = any(is_list(h.schema.field(c).type) for h, c in ((other, before), (table, after)))
    judged = scores_before and scores_after and known_label
    return Request(
        table=table,
        before=before,
        after=after,
        table_before=table_before,
        key=_pairing_key(table, table_before, on) if table_before else table.key,
        where=where,
        by=by,
        cluster=(cluster,) if cluster else tuple(n for n in ("sha256", "path") if n in table.schema.names),
        scores_before=scores_before if judged else None,
        scores_after=scores_after if judged else None,
        label_index=known_label if judged or lists else None,
        trained_where=trained_where if trained_where is not None else _train_split(table),
        trained_where_given=trained_where is not None,
    )


def _require_nameable(table: Table, column: str | None, purpose: str) -> None:
    kind = table.schema.field(column).type if column else None
    if kind is not None and not is_nameable(kind):
        raise SchemaError(
            f"compare: {purpose}={column!r} holds {kind}; expected one text, number, date or truth value a row",
            hint=f"map a column of such values, and name it: {purpose}=…",
        )


def _check_values(table: Table, column: str, label_index: str | None) -> None:
    kind = table.schema.field(column).type
    if is_number(kind) or (is_list(kind) and is_number(kind.value_type) and label_index):
        return
    expected = "numbers, or lists of numbers beside a column with the right index (label_index=…)"
    raise SchemaError(f"compare: column {column!r} holds {kind}; expected {expected}")


def _scores(table: Table, column: str) -> str | None:
    """The score lists behind a column: itself, or the list among the inputs that its lineage names."""
    if is_list(table.schema.field(column).type):
        return column
    lineage = table.lineage(column)
    return _first_input(table, lineage.inputs if lineage else (), lists=True)


def _label_index(table: Table, column: str) -> str | None:
    lineage = table.lineage(column)
    return _first_input(table, lineage.inputs if lineage else (), lists=False)


def _first_input(table: Table, inputs: tuple[str, ...], *, lists: bool) -> str | None:
    for name in inputs:
        if name not in table.schema.names:
            continue
        kind = table.schema.field(name).type
        if lists and is_list(kind) and is_number(kind.value_type):
            return name
        if not lists and pa.types.is_integer(kind):
            return name
    return None


def _pairing_key(table: Table, other: Table, on: str | None) -> str:
    key = on or table.key or other.key
    if key is None:
        raise UsageError("compare: neither table has a key column to pair their rows by", hint="name one: on=…")
    for side in (table, other):
        side.require([key], verb="compare")
    one, two = table.schema.field(key).type, other.schema.field(key).type
    if alike(one, two) is None:
        raise SchemaError(
            f"compare: {key!r} holds {one} in {redact(table.uri)} and {two} in {redact(other.uri)}; "
            "expected texts on both sides, or whole numbers on both",
            hint="name a column that holds the same values in both tables: on=…",
        )
    return key


def _train_split(table: Table) -> str | None:
    if "split" in table.schema.names and is_text(table.schema.field("split").type):
        return "split = 'train'"
    return None


def _side(table: Table, column: str, scores: str | None) -> Side:
    lineage = table.lineage(column)
    origin = table.lineage(scores) if scores else None
    model = (lineage.model if lineage else None) or (origin.model if origin else None)
    names = [record.model_name for record in (lineage, origin) if record and record.model == model]
    made_by = origin or lineage
    return Side(
        column=column,
        uri=redact(table.uri),
        version=table.version,
        made_by=made_by.describe() if made_by else None,
        model=model,
        scores=scores,
        model_name=next((name for name in names if name), None),
    )
