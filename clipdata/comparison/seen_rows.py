"""Seen rows: which of the compared rows, and of their pictures, the models behind both columns were trained on.

The models say it themselves: a training records its rows, the lineage of every column that the tuned model makes names
that record, and the digests of the rows lie beside the table. Nothing is concluded from the name of a column. Where a
record cannot be found, or does not tell of a row, that is said, and never taken for "none".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from clipdata.comparison.provenance import Provenance
from clipdata.comparison.records import Seen, SeenStatus
from clipdata.comparison.request import Request
from clipdata.errors import ClipdataError
from clipdata.lance_io.state import StateFolder
from clipdata.lance_io.table import Table, open_table
from clipdata.plurals import counted
from clipdata.storage import redact
from clipdata.trained_rows import (
    FOLDER,
    TrainedRows,
    digests_or_0,
    kinds_used,
    picture_columns,
    picture_kinds,
    picture_texts,
    tells_pictures,
)

BATCH_ROWS = 65_536
Mask = np.ndarray  # bool [N], one entry a compared row


@dataclass(frozen=True)
class SeenRows:
    """What both models have seen of the compared rows, N of them.

    Args:
        before: of the model behind the baseline.
        after: of the other one.
        row_N: rows that either was trained on.
        picture_N: rows that show a picture that either was trained on, those rows included.
        untold_N: rows of which nothing tells whether either was trained on them.
        untold_picture_N: rows of which nothing tells whether either was trained on their picture.
    """

    before: Seen
    after: Seen
    row_N: Mask
    picture_N: Mask
    untold_N: Mask
    untold_picture_N: Mask

    @property
    def has_trainings(self) -> bool:
        """Whether a record of either model was found."""
        return bool(self.before.trainings or self.after.trainings)

    @property
    def recorded(self) -> bool:
        """Whether the models say themselves what they were trained on: a training, or both that there was none."""
        return self.has_trainings or self.before.status == self.after.status == "none"


def find_seen(request: Request, kept_S: Mask | slice) -> SeenRows:
    """Look up the records of both models and find their rows among those compared.

    Args:
        kept_S: of the rows that the request selects, those that are compared.
    """
    sides = (
        _Side.of(request.table_before or request.table, request.before, request.scores_before, request.origin_before),
        _Side.of(request.table, request.after, request.scores_after, request.origin_after),
    )
    rows = _ComparedRows.read(request, [training for side in sides for training in side.trainings], kept_S)
    found = [_seen(side, rows, _homes(request)) for side in sides]
    (before, marks_before), (after, marks_after) = found
    either = [one | other for one, other in zip(marks_before, marks_after, strict=True)]
    row_N, picture_N, untold_N, untold_picture_N = either
    if "unknown" in (before.status, after.status) and (before.trainings or after.trainings):
        untold_N, untold_picture_N = np.ones_like(row_N), np.ones_like(row_N)  # one record tells nothing of the other
    return SeenRows(before, after, row_N, picture_N, untold_N & ~row_N, untold_picture_N & ~picture_N)


@dataclass(frozen=True)
class _Side:
    """What is recorded of the model behind one column.

    Args:
        shows_own_pictures: whether the column was made of the pictures that the table's picture columns speak of.
    """

    status: SeenStatus
    trainings: tuple[TrainedRows, ...] = ()
    shows_own_pictures: bool = True

    @classmethod
    def of(cls, table: Table, column: str, scores: str | None, origin: Provenance) -> _Side:
        lineages = [table.lineage(name) for name in dict.fromkeys([column, scores]) if name]
        told = [lineage.trained_on for lineage in lineages if lineage is not None]
        named = {str(record["digest"]): record for records in told for record in records or ()}
        found = [_load(table, record) for record in named.values()]
        known = tuple(rows for rows in found if rows is not None)
        status: SeenStatus = "recorded" if known else "none"
        # Without a name of a model: a function, scores that came with the data, or an input that is gone.
        if origin.lineage is None or not (known or origin.models):
            status = "unknown"
        if None in told or len(known) < len(found):
            status = "lost"
        return cls(status, known, tells_pictures(table.schema, origin.images))


def _load(table: Table, record: Mapping[str, Any]) -> TrainedRows | None:
    """The digests of a training: those kept beside the table, or made anew of the rows that the record names."""
    return _kept_beside(table, record) or _made_anew(table, record)


def _kept_beside(table: Table, record: Mapping[str, Any]) -> TrainedRows | None:
    try:
        data = StateFolder(table, FOLDER).read_bytes(f"{record['digest']}.arrow")
        return TrainedRows.from_bytes(data) if data is not None else None
    except ClipdataError:  # unreadable or changed, which is as good as gone
        return None


def _made_anew(table: Table, record: Mapping[str, Any]) -> TrainedRows | None:
    try:
        source = open_table(str(record["table"]), version=int(record["version"]), storage=table.storage)
        anew = _of_rows(source, record)
    except ClipdataError:
        return None
    # Another table may stand there by now, or the training refused some of the rows.
    return anew if anew.digest == record["digest"] else None


def _of_rows(table: Table, record: Mapping[str, Any]) -> TrainedRows:
    """The record of the rows that pass the filter of a training."""
    images, kinds, start = record.get("images", ()), set[str](), np.empty(0, np.uint64)
    names = picture_columns(table.schema, images)
    columns = [*([table.key] if table.key else []), *names]
    if not columns:
        nothing = np.zeros(table.count_rows(record["where"]), np.uint64)
        keys, pictures = [nothing], [nothing]
    else:
        keys, pictures = [start], [start]
        for batch in table.scan(columns, where=record["where"], batch_rows=BATCH_ROWS):
            shown = {name: batch.column(name) for name in names}
            kinds |= kinds_used(shown)
            keys.append(digests_or_0(batch.column(table.key) if table.key else None, batch.num_rows))
            pictures.append(digests_or_0(picture_texts(shown) if shown else None, batch.num_rows))
    return TrainedRows.of(
        np.concatenate(keys),
        np.concatenate(pictures),
        pictures_by=kinds,
        images=tuple(images),
        **{name: record[name] for name in ("table", "version", "where")},
    )


def _homes(request: Request) -> frozenset[str]:
    """Locations of the tables in which a row has the key that it has in `request.table`."""
    table, other = request.table, request.table_before
    shared = other is not None and request.key == table.key == other.key
    return frozenset(redact(home.uri) for home in (table, *([other] if other is not None and shared else [])))


@dataclass(frozen=True)
class _ComparedRows:
    """Digests of the compared rows, N of them; 0 where there is none."""

    key_N: np.ndarray
    picture_by_N: Mapping[str, np.ndarray]

    @classmethod
    def read(cls, request: Request, trainings: list[TrainedRows], kept_S: Mask | slice) -> _ComparedRows:
        table = request.table
        kinds = sorted({kind for training in trainings for kind in training.pictures_by})
        names = picture_columns(table.schema) if kinds else ()
        columns = [*([table.key] if table.key else []), *names]
        if not trainings or not columns:
            nothing = np.zeros(table.count_rows(request.where), np.uint64)[kept_S]
            return cls(nothing, dict.fromkeys(kinds, nothing))
        keys: list[np.ndarray] = []
        pictures: dict[str, list[np.ndarray]] = {kind: [] for kind in kinds}
        for batch in table.scan(columns, where=request.where, batch_rows=BATCH_ROWS):
            keys.append(digests_or_0(batch.column(table.key) if table.key else None, batch.num_rows))
            told = picture_kinds({name: batch.column(name) for name in names})
            for kind in kinds:
                pictures[kind].append(digests_or_0(told.get(kind), batch.num_rows))
        joined = {kind: np.concatenate(parts)[kept_S] for kind, parts in pictures.items()}
        return cls(np.concatenate(keys)[kept_S], joined)


Marks = tuple[Mask, Mask, Mask, Mask]  # trained on, its picture trained on, not told, its picture not told


def _seen(side: _Side, rows: _ComparedRows, homes: frozenset[str]) -> tuple[Seen, Marks]:
    """What one model has seen, counted and row by row."""
    row_N, picture_N, untold_N, untold_picture_N = (np.zeros(len(rows.key_N), np.bool_) for _ in range(4))
    for training in side.trainings:
        seen_N, shown_N, told_N, told_picture_N = _marks(training, rows, homes, side.shows_own_pictures)
        row_N |= seen_N
        picture_N |= shown_N
        untold_N |= ~told_N
        untold_picture_N |= ~told_picture_N
    if side.status == "lost":
        untold_N, untold_picture_N = ~row_N, ~picture_N
    untold_N, untold_picture_N = untold_N & ~row_N, untold_picture_N & ~picture_N
    marks = (row_N, picture_N, untold_N, untold_picture_N)
    if not side.trainings:
        return Seen(side.status), marks
    status: SeenStatus = side.status
    if status == "recorded" and (untold_N.any() or untold_picture_N.any()):
        status = "untold"
    described = tuple(_describe(training) for training in side.trainings)
    return Seen(status, described, *(int(mark_N.sum()) for mark_N in marks)), marks


def _marks(training: TrainedRows, rows: _ComparedRows, homes: frozenset[str], own_pictures: bool) -> Marks:
    """Rows that a training read, rows whose picture it read, and of which rows either is told."""
    known_key_N = rows.key_N != 0
    among_keys_N = known_key_N & np.isin(rows.key_N, training.keys)
    shown_N, told_picture_N = np.zeros((2, len(rows.key_N)), np.bool_)
    if own_pictures and training.pictures_by:
        digest_by_N = [rows.picture_by_N[kind] for kind in training.pictures_by]
        shown_N = np.logical_or.reduce([(d_N != 0) & np.isin(d_N, training.pictures) for d_N in digest_by_N])
        if not training.num_without_picture:
            told_picture_N = np.logical_and.reduce([d_N != 0 for d_N in digest_by_N])
    other_picture_N = told_picture_N & ~shown_N  # so it is none of the rows either, as far as they lie elsewhere
    if training.table in homes:
        row_N = among_keys_N
        told_N = other_picture_N | (known_key_N & (training.num_without_key == 0))
    else:  # the same key in another table may name something else
        row_N = among_keys_N & ~other_picture_N
        told_N = other_picture_N
    return row_N, shown_N | row_N, told_N | row_N, told_picture_N | shown_N | row_N


def _describe(rows: TrainedRows) -> str:
    where = f" where {rows.where}" if rows.where else ""
    return f"{counted(rows.num_rows, 'row')} of {rows.table} version {rows.version}{where}"
