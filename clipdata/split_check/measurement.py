"""check_split(): the request, and the figures. It knows tables, and not how figures are shown."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from clipdata.errors import SchemaError, UsageError
from clipdata.hints import typed
from clipdata.lance_io.table import AnyTable, Table, as_table
from clipdata.plurals import counted
from clipdata.printable import shell_word
from clipdata.schema import is_list, is_of
from clipdata.split_check.class_shares import ClassShares, class_shares
from clipdata.split_check.evidence import CAPTIONS, evidence_columns, kind_of, require_evidence
from clipdata.split_check.records import Evidence, Example, Side, SplitCheck
from clipdata.split_check.sharing import BATCH_ROWS, Sharing, sides_of
from clipdata.statistics import wilson_interval
from clipdata.step_protocol import require_names
from clipdata.storage import redact

TRAINED = ("train", "training")
MAX_SIDES = 50
_EXAMPLES, _ROWS_OF_EXAMPLE = 3, 2


def check_split(
    table: AnyTable,
    column: str = "split",
    *,
    by: str | Sequence[str] | None = None,
    classes: str | None = None,
    trained: str | None = None,
    where: str | None = None,
) -> SplitCheck:
    """Say what the sides of a split share, and how classes lie on them.

    Two rows share evidence when they have an equal value in a column of it: the picture's bytes or pixels, its cluster
    of near duplicates, a caption (each entry of a list counts; capitals and blanks make no difference). Whole columns
    are read, of pictures none. About 20 bytes are held for each value of one column, and 10 for each row.

    Args:
        table: its version is checked; or the location of one.
        column: that says which side a row is of.
        by: columns that are evidence; by default `sha256`, captions, and what the steps of digests and duplicates
            made. Captions of few kinds, as names of classes, count only when they are named.
        classes: column of classes, whose share of every side is told.
        trained: the side that is trained on; by default "train", or else the largest.
        where: SQL condition of the rows to look at.

    Raises:
        UsageError: there is a single side or none, or no side of that name.
        SchemaError: the table lacks a column, or one has another type.
    """
    require_names("check_split", column=column, classes=classes)
    opened = as_table(table)
    named = [by] if isinstance(by, str) else list(by) if by is not None else None
    columns = list(named if named is not None else evidence_columns(opened.schema, column))
    for name in columns:
        require_names("check_split", by=name)
    opened.require([*columns, *([classes] if classes else [])], verb="check-split")
    opened.require([column], verb="check-split", hint=_naming_sides(opened, column, columns))
    _require_sides_column(opened, column)
    require_evidence(opened.schema, columns)
    names, side_N = sides_of(_column(opened, column, where))
    trained_side = _trained(names, trained, column, opened)
    evidence, marks = [], _Marks(len(side_N))
    num_with_side = int((side_N >= 0).sum())
    for name in columns:
        sharing = Sharing.read(opened, name, side_N, len(names), where)
        kind = kind_of(opened.schema.field(name))
        few_kinds = named is None and kind == CAPTIONS and sharing.are_of_few_kinds
        evidence.append(_evidence(opened, name, kind, sharing, names, trained_side, num_with_side, few_kinds, where))
        if not few_kinds:
            marks.add(sharing, trained_side)
    told = class_shares(_column(opened, classes, where), names, side_N, trained_side) if classes else ClassShares()
    return SplitCheck(
        table=redact(opened.uri),
        version=opened.version,
        column=column,
        where=where,
        trained=names[trained_side],
        sides=_sides(names, side_N, marks),
        num_without_side=int((side_N < 0).sum()),
        evidence=evidence,
        class_column=classes,
        classes=told.most_frequent,
        num_classes=told.num,
        classes_untrained=told.num_untrained,
        classes_unmeasured=told.num_unmeasured,
    )


class _Marks:
    """Which of N rows share evidence of any kind: with another side, and with the side that is trained on."""

    def __init__(self, num_rows: int) -> None:
        self.shared_N, self.trained_N = np.zeros(num_rows, bool), np.zeros(num_rows, bool)

    def add(self, sharing: Sharing, trained_side: int) -> None:
        self.shared_N |= sharing.rows_with_shared(len(self.shared_N))
        self.trained_N |= sharing.rows_with_values_of(trained_side, len(self.shared_N))


def _naming_sides(table: Table, column: str, evidence: Sequence[str]) -> str:
    """How to name the column of sides, or to make one that keeps together what shares evidence."""
    near = difflib.get_close_matches(column, table.schema.names, n=1)
    by = shell_word(",".join(evidence or ["COLUMN"]))
    return (
        f"--column {shell_word((near or ['COLUMN'])[0])} names the column that says which side a row is of; or make "
        f"one: clipdata map {typed(table.uri)} leak-proof-split {shell_word(column)} -p by={by}"
    )


def _require_sides_column(table: Table, column: str) -> None:
    kind = table.schema.field(column).type
    if column == table.key or not (is_of("label", kind) or pa.types.is_boolean(kind)):
        holds = "the key" if column == table.key else kind
        raise SchemaError(
            f"check-split: column {column!r} holds {holds}; expected the names of sides, such as train and test",
            hint="--column names the column that says which side a row is of",
        )


def _trained(names: Sequence[str], trained: str | None, column: str, table: Table) -> int:
    if len(names) < 2 or len(names) > MAX_SIDES:
        found = counted(len(names), "value") if names else "no value"
        listed = f" ({', '.join(map(repr, names[:3]))}, …)" if len(names) > 3 else f" {names}" if names else ""
        raise UsageError(
            f"check-split: column {column!r} of {redact(table.uri)} has {found}{listed}; "
            f"expected 2 to {MAX_SIDES} sides",
            hint="--column names the column that says which side a row is of",
        )
    if trained is not None and trained not in names:
        raise UsageError(
            f"check-split: no row is of the side {trained!r}; {column!r} has {', '.join(map(repr, names))}"
        )
    wanted = [trained] if trained is not None else [name for name in TRAINED if name in names]
    return names.index(wanted[0]) if wanted else 0


def _column(table: Table, column: str, where: str | None) -> pa.ChunkedArray:
    parts = []
    for batch in table.scan([column], where=where, batch_rows=BATCH_ROWS):
        parts.append(batch.column(0).cast(pa.string()).dictionary_encode())
    return pa.chunked_array(parts, type=pa.dictionary(pa.int32(), pa.string())).unify_dictionaries()


def _sides(names: Sequence[str], side_N: np.ndarray, marks: _Marks) -> list[Side]:
    rows_S = np.bincount(side_N[side_N >= 0], minlength=len(names))
    shared_S = np.bincount(side_N[marks.shared_N], minlength=len(names))
    trained_S = np.bincount(side_N[marks.trained_N], minlength=len(names))
    total = int(rows_S.sum())
    found = []
    for side, name in enumerate(names):
        rows = int(rows_S[side])
        low, high = wilson_interval(rows / 2, rows)
        found.append(
            Side(
                name=name,
                num_rows=rows,
                share=rows / total,
                share_interval=wilson_interval(rows, total),
                resolution=(high - low) / 2,
                rows_shared=int(shared_S[side]),
                rows_of_trained=int(trained_S[side]),
            )
        )
    return found


def _evidence(
    table: Table,
    column: str,
    kind: str,
    sharing: Sharing,
    names: Sequence[str],
    trained_side: int,
    num_with_side: int,
    few_kinds: bool,
    where: str | None,
) -> Evidence:
    num_rows = int(sharing.row_P.max(initial=-1)) + 1
    shared_N = sharing.rows_with_shared(num_rows)
    side_N = np.full(num_rows, -1, np.int64)
    side_N[sharing.row_P] = sharing.side_P
    by_side = np.bincount(side_N[shared_N], minlength=len(names)).tolist()
    return Evidence(
        column=column,
        kind=kind,
        num_values=len(sharing.rows_VS),
        num_shared=int(sharing.shared_V.sum()),
        rows_by_side=dict(zip(names, by_side, strict=True)),
        rows_of_trained=int(sharing.rows_with_values_of(trained_side, num_rows).sum()),
        rows_without=num_with_side - len(np.unique(sharing.row_P)),
        few_kinds=few_kinds,
        examples=[] if few_kinds else _examples(table, column, sharing, names, where),
    )


def _examples(table: Table, column: str, sharing: Sharing, names: Sequence[str], where: str | None) -> list[Example]:
    """A few shared values, with rows of each side: those whose rows come first."""
    shared_P = np.flatnonzero(sharing.shared_V[sharing.of_value_P])
    _, first = np.unique(sharing.of_value_P[shared_P], return_index=True)
    chosen = sharing.of_value_P[shared_P[np.sort(first)[:_EXAMPLES]]].tolist()
    if not chosen:
        return []
    offset_N = table.offsets(where)
    found = []
    for value in chosen:
        places = np.flatnonzero(sharing.of_value_P == value)
        rows: dict[str, list[str]] = {}
        picked: list[int] = []
        for side in np.unique(sharing.side_P[places]).tolist():
            of_side = sharing.row_P[places[sharing.side_P[places] == side]][:_ROWS_OF_EXAMPLE]
            picked += of_side.tolist()
            rows[names[side]] = _keys(table, offset_N[of_side])
        held = table.take(offset_N[picked[:2]], [column]).column(0).to_pylist()
        found.append(Example(_shared_value(held, column, table), rows))
    return found


def _shared_value(held: Sequence[Any], column: str, table: Table) -> str:
    """A value that two rows have in common; of lists, an entry that both hold."""
    if not is_list(table.schema.field(column).type):
        return str(held[0])
    both = {" ".join(str(one).split()).casefold() for one in held[-1] or ()}
    return next((str(one) for one in held[0] or () if " ".join(str(one).split()).casefold() in both), str(held[0]))


def _keys(table: Table, offsets: np.ndarray) -> list[str]:
    if table.key is None:
        return [f"row {offset}" for offset in offsets.tolist()]
    return [str(key) for key in table.take(offsets, [table.key]).column(0).to_pylist()]
