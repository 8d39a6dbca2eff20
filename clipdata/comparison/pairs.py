"""Reading both sides of a comparison into arrays: streamed, paired by key where they lie in two tables.

Keeps a few numbers a row and never the score lists, keys or cluster values themselves, so that ten million rows fit in
memory. Does no statistics.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata.answers import SmallArray, judge, no_and_yes, pick, places
from clipdata.comparison.clusters import cluster_codes
from clipdata.comparison.codes import GroupCodes, alike, as_keys
from clipdata.comparison.leaks import count_trained
from clipdata.comparison.records import Coverage, Trained
from clipdata.comparison.request import Request
from clipdata.comparison.score_rows import ScoreCollector, ScoreRows
from clipdata.comparison.seen_rows import SeenRows, find_seen
from clipdata.errors import SchemaError, UsageError
from clipdata.statistics import FloatArray, IntArray, dense_codes
from clipdata.storage import redact

BATCH_ROWS = 65_536
_LARGEST = 1e300


@dataclass(frozen=True)
class Pairs:
    """The compared rows, N of them, in table order.

    Args:
        before_N: value before.
        after_N: value after.
        offset_N: offset of the row in the table.
        partner_N: offset of its partner in the other table, or None where both sides lie in one.
        cluster_N: equal codes are resampled together.
        group_N: index into `group_values`, or None.
        group_values: values of the `by` column.
        right_before_N: 1 right, 0 wrong, NaN not known; or None.
        right_after_N: the same after.
        choices_N: number of choices.
        num_tied: rows whose right choice shares the top score on either side.
        coverage: which rows both sides know.
        trained: how many were trained on, or None.
        seen: what the models' own records say of it.
        scores: what was kept of the lists of the rows that both sides judge, if that was asked for.
    """

    before_N: FloatArray
    after_N: FloatArray
    offset_N: IntArray
    cluster_N: IntArray
    coverage: Coverage
    partner_N: IntArray | None = None
    group_N: IntArray | None = None
    group_values: tuple[str | None, ...] = ()
    right_before_N: SmallArray | None = None
    right_after_N: SmallArray | None = None
    choices_N: SmallArray | None = None
    num_tied: int = 0
    trained: Trained | None = None
    seen: SeenRows | None = None
    scores: ScoreRows | None = None


@dataclass
class _Columns:
    """What is kept of each selected row while streaming."""

    before: list[FloatArray] = field(default_factory=list)
    after: list[FloatArray] = field(default_factory=list)
    cluster: list[IntArray] = field(default_factory=list)
    group: list[IntArray] = field(default_factory=list)
    right_before: list[SmallArray] = field(default_factory=list)
    right_after: list[SmallArray] = field(default_factory=list)
    choices: list[SmallArray] = field(default_factory=list)
    tied: list[np.ndarray] = field(default_factory=list)


def read(request: Request) -> Pairs:
    """Read the rows that a comparison is about.

    Raises:
        UsageError: no row has a value on both sides; or a key stands twice in the other table.
        SchemaError: a place of the right choice is not whole; or values are too large to be added up.
    """
    partner = _Partner.open(request)
    columns, groups, collector, start = _Columns(), GroupCodes(), _collector(request), 0
    for batch in request.table.scan(request.columns(), where=request.where, batch_rows=BATCH_ROWS):
        _keep(request, batch, partner.rows(batch, start), start, columns, groups, collector)
        start += batch.num_rows
    before_N, after_N = _joined(columns.before), _joined(columns.after)
    has_before, has_after = ~np.isnan(before_N), ~np.isnan(after_N)
    both = has_before & has_after
    coverage = Coverage(
        num_rows=start,
        num_both=int(both.sum()),
        num_only_before=int((has_before & ~has_after).sum()),
        num_only_after=int((has_after & ~has_before).sum()),
        num_neither=int((~has_before & ~has_after).sum()),
        num_without_partner=partner.num_without,
        num_not_in_table=partner.num_not_in_table,
    )
    if not coverage.num_both:
        raise _nothing_to_compare(request, coverage)
    kept = slice(None) if both.all() else both  # a slice copies nothing
    for column, values_N in ((request.before, before_N), (request.after, after_N)):
        _require_summable(column, values_N[kept])
    offset_N = request.table.offsets(request.where)[kept]
    cluster_N = _joined(columns.cluster, np.int64)[kept]
    seen = find_seen(request, kept)
    return Pairs(
        before_N=before_N[kept],
        after_N=after_N[kept],
        offset_N=offset_N,
        cluster_N=dense_codes(cluster_N),
        coverage=coverage,
        partner_N=partner.offsets(both),
        group_N=_joined(columns.group, np.int64)[kept] if request.by else None,
        group_values=groups.values(),
        right_before_N=_joined(columns.right_before, np.float32)[kept] if request.judged else None,
        right_after_N=_joined(columns.right_after, np.float32)[kept] if request.judged else None,
        choices_N=_joined(columns.choices, np.float32)[kept] if request.judged else None,
        num_tied=int(_joined(columns.tied, np.bool_)[kept].sum()) if request.judged else 0,
        trained=count_trained(request, offset_N, cluster_N, seen),
        seen=seen,
        scores=collector.rows() if collector is not None else None,
    )


def _collector(request: Request) -> ScoreCollector | None:
    """What keeps more of the score lists than right and wrong, where that is asked for."""
    if not (request.judged and (request.ranks or request.calibration)):
        return None
    names = (request.scores_before or "", request.scores_after or "")
    return ScoreCollector(names, ranks=request.ranks, calibration=request.calibration, of_label=request.of_label)


def _keep(
    request: Request,
    batch: pa.RecordBatch,
    partner: pa.RecordBatch,
    start: int,
    columns: _Columns,
    groups: GroupCodes,
    collector: ScoreCollector | None,
) -> None:
    name = request.label_index
    label = places(batch.column(name), name) if name else None
    columns.before.append(pick(partner.column(request.before), label))
    columns.after.append(pick(batch.column(request.after), label))
    columns.cluster.append(cluster_codes(request, batch, start))
    if request.by:
        columns.group.append(groups.encode(batch.column(request.by)))
    if request.scores_before and request.scores_after and label is not None:
        lists = partner.column(request.scores_before), batch.column(request.scores_after)
        if request.of_label:
            lists = no_and_yes(lists[0]), no_and_yes(lists[1])
        before, after = judge(lists[0], label), judge(lists[1], label)
        columns.right_before.append(before.right_N)
        columns.right_after.append(after.right_N)
        columns.choices.append(after.choices_N)
        columns.tied.append(before.tied_N | after.tied_N)
        if collector is not None:
            values_N = columns.before[-1] + columns.after[-1] + before.right_N + after.right_N
            collector.add(*lists, label, ~np.isnan(values_N))


@dataclass(frozen=True)
class _Partner:
    """The before side of each row: the row itself, or the row of the other table with the same key."""

    columns: pa.Table | None = None
    position_N: pa.Array | None = None
    num_without: int | None = None
    num_not_in_table: int | None = None

    @classmethod
    def open(cls, request: Request) -> _Partner:
        if request.table_before is None:
            return cls()
        key = request.key
        assert key is not None
        names = list(dict.fromkeys(name for name in (request.before, request.scores_before) if name))
        other = request.table_before.to_table(list(dict.fromkeys([key, *names])))
        kind = _key_type(request, key)
        keys = as_keys(_single(other.column(key)), kind)
        _refuse_duplicates(keys, key, redact(request.table_before.uri))
        selected = as_keys(_single(request.table.to_table([key], where=request.where).column(key)), kind)
        position_N = pc.index_in(selected, value_set=keys, skip_nulls=True)  # a null is nobody's key
        own = selected if request.where is None else as_keys(_single(request.table.to_table([key]).column(key)), kind)
        missing = pc.sum(pc.invert(pc.is_in(keys, value_set=own, skip_nulls=True))).as_py() or 0
        return cls(other.select(names), position_N, position_N.null_count, missing)

    def offsets(self, kept_N: np.ndarray) -> IntArray | None:
        """Offsets in the other table of the rows that are kept, each of which has a partner."""
        if self.position_N is None:
            return None
        return np.asarray(self.position_N.filter(pa.array(kept_N)).to_numpy(zero_copy_only=False), np.int64)

    def rows(self, batch: pa.RecordBatch, start: int) -> pa.RecordBatch:
        if self.columns is None or self.position_N is None:
            return batch
        taken = self.columns.take(self.position_N.slice(start, batch.num_rows))
        return pa.RecordBatch.from_arrays([_single(column) for column in taken.columns], names=taken.column_names)


def _single(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    return pa.concat_arrays(combined.chunks) if isinstance(combined, pa.ChunkedArray) else combined


def _key_type(request: Request, key: str) -> pa.DataType:
    assert request.table_before is not None
    one, other = (table.schema.field(key).type for table in (request.table, request.table_before))
    kind = alike(one, other)
    assert kind is not None, "keys of two kinds were refused when the request was resolved"
    return kind


def _refuse_duplicates(keys: pa.Array, key: str, uri: str) -> None:
    if pc.count_distinct(keys).as_py() == len(keys) - keys.null_count:
        return
    counts = keys.value_counts()
    twice = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
    listed = ", ".join(repr(value) for value in twice.slice(0, 3).to_pylist())
    raise UsageError(
        f"compare: {len(twice)} value(s) of {key!r} stand more than once in {uri}, such as {listed}; expected one each",
        hint="name a column with one row a value: on=…",
    )


def _joined(parts: list[Any], dtype: Any = np.float64) -> Any:
    joined = np.concatenate(parts) if parts else np.zeros(0, dtype)
    parts.clear()
    return joined


def _require_summable(column: str, values_N: FloatArray) -> None:
    largest = max(float(values_N.max()), -float(values_N.min()))
    if largest > _LARGEST:
        raise SchemaError(
            f"compare: {column!r} holds {largest:.4g} (or less than the negative of it); expected numbers up to "
            f"{_LARGEST:g}, whose sums can be held",
            hint="is it a mark for no value? leave those rows out with a condition: where=…",
        )


def _nothing_to_compare(request: Request, coverage: Coverage) -> UsageError:
    selected = f" where {request.where}" if request.where else ""
    found = (
        f"of {coverage.num_rows:,} row(s){selected}, {coverage.num_only_before:,} have only {request.before!r}, "
        f"{coverage.num_only_after:,} only {request.after!r}, {coverage.num_neither:,} neither"
    )
    hint = "fill the empty column with map first"
    if coverage.num_rows and coverage.num_without_partner == coverage.num_rows:
        found += f"; none of them has a row with the same {request.key!r} in the other table"
        hint = "name a column that holds the same values in both tables: on=…"
    if not coverage.num_rows:
        hint = "the where clause selects no row" if request.where else "the table is empty: take rows in first"
    return UsageError(f"compare: nothing to compare: {found}; expected rows with both", hint=hint)
