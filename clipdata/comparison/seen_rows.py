"""Seen rows: which of the compared rows, and of their pictures, the models behind both columns were trained on.

The models say it themselves: a training records its rows, the lineage of every column that the tuned model makes names
that record, and the digests of the rows lie beside the table. Nothing is concluded from the name of a column. Where a
record cannot be found, that is said, and never taken for "none".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipdata.comparison.records import Seen, SeenStatus
from clipdata.comparison.request import Request
from clipdata.errors import ClipdataError
from clipdata.lance_io.state import StateFolder
from clipdata.lance_io.table import Table, open_table
from clipdata.trained_rows import FOLDER, TrainedRows, digests, picture_columns, picture_texts

BATCH_ROWS = 65_536
Mask = np.ndarray  # bool [N], one entry a compared row


@dataclass(frozen=True)
class SeenRows:
    """What both models have seen of the compared rows, N of them.

    Args:
        before: of the model behind the baseline.
        after: of the other one.
        row_N: rows that either was trained on; None where neither has a record.
        picture_N: rows that show a picture that either was trained on; None where nothing tells pictures apart.
    """

    before: Seen
    after: Seen
    row_N: Mask | None = None
    picture_N: Mask | None = None


def find_seen(request: Request, kept_S: Mask | slice) -> SeenRows:
    """Look up the records of both models and find their rows among those compared.

    Args:
        kept_S: of the rows that the request selects, those that are compared.
    """
    sides = [
        _Side.of(request.table_before or request.table, request.before, request.scores_before),
        _Side.of(request.table, request.after, request.scores_after),
    ]
    known = {rows.digest: rows for side in sides for rows in side.trainings}
    if not known:
        return SeenRows(Seen(sides[0].status), Seen(sides[1].status))
    keys_S, pictures_S = _digests_of(request)
    counted, rows_N, pictures_N = [], [], []
    for side in sides:
        if not side.trainings:
            counted.append(Seen(side.status))
            continue
        row_N = _among(keys_S, [rows.keys for rows in side.trainings])[kept_S]
        picture_N = _among(pictures_S, [rows.pictures for rows in side.trainings])[kept_S]
        rows_N.append(row_N)
        pictures_N.append(picture_N | row_N)
        described = tuple(_describe(rows) for rows in side.trainings)
        counted.append(Seen(side.status, described, int(row_N.sum()), int(pictures_N[-1].sum())))
    return SeenRows(counted[0], counted[1], np.logical_or.reduce(rows_N), np.logical_or.reduce(pictures_N))


@dataclass(frozen=True)
class _Side:
    """What is recorded of the model behind one column."""

    status: SeenStatus
    trainings: tuple[TrainedRows, ...] = ()

    @classmethod
    def of(cls, table: Table, column: str, scores: str | None) -> _Side:
        origins = [table.lineage(name) for name in dict.fromkeys([column, scores]) if name]
        records: dict[str, Mapping[str, Any]] = {}
        for origin in origins:
            if origin is None or origin.trained_on is None:
                return cls("unknown" if origin is None else "lost")
            records |= {str(record["digest"]): record for record in origin.trained_on}
        found = [_load(table, record) for record in records.values()]
        known = tuple(rows for rows in found if rows is not None)
        if len(known) < len(found):
            return cls("lost", known)
        return cls("recorded", known) if known else cls("none")


def _load(table: Table, record: Mapping[str, Any]) -> TrainedRows | None:
    """The digests of a training: those kept beside the table, or made anew of the rows that the record names."""
    try:
        data = StateFolder(table, FOLDER).read_bytes(f"{record['digest']}.arrow")
        if data is not None:
            return TrainedRows.from_bytes(data)
    except ClipdataError:
        pass  # unreadable or changed: the table of the training may still be there
    try:
        source = open_table(str(record["table"]), version=int(record["version"]), storage=table.storage)
        return _of_rows(source, record)
    except ClipdataError:
        return None


def _of_rows(table: Table, record: Mapping[str, Any]) -> TrainedRows:
    """The rows that pass the filter of a training; more than it used, when it refused some."""
    keys: list[np.ndarray] = []
    pictures: list[np.ndarray] = []
    columns = [*([table.key] if table.key else []), *picture_columns(table.schema)]
    for batch in table.scan(columns, where=record["where"], batch_rows=BATCH_ROWS):
        key_B, picture_B = _batch_digests(batch, table.key)
        keys.append(key_B[key_B != 0])
        pictures.append(picture_B[picture_B != 0])
    distinct = [np.unique(np.concatenate([np.empty(0, np.uint64), *found])) for found in (keys, pictures)]
    described = {name: record[name] for name in ("table", "version", "where", "num_rows")}
    return TrainedRows(**described, keys=distinct[0], pictures=distinct[1])


def _digests_of(request: Request) -> tuple[np.ndarray, np.ndarray]:
    """Digests of keys and pictures of all rows that a request selects, in its order; 0 where there is none."""
    table = request.table
    columns = [*([table.key] if table.key else []), *picture_columns(table.schema)]
    if not columns:
        empty = np.zeros(table.count_rows(request.where), np.uint64)
        return empty, empty
    found = [
        _batch_digests(batch, table.key) for batch in table.scan(columns, where=request.where, batch_rows=BATCH_ROWS)
    ]
    keys, pictures = zip(*found, strict=True) if found else ((), ())
    start = np.empty(0, np.uint64)
    return np.concatenate([start, *keys]), np.concatenate([start, *pictures])


def _batch_digests(batch: pa.RecordBatch, key: str | None) -> tuple[np.ndarray, np.ndarray]:
    names = picture_columns(batch.schema)
    texts = picture_texts({name: batch.column(name) for name in names}) if names else None
    return _or_zero(batch.column(key) if key else None, batch.num_rows), _or_zero(texts, batch.num_rows)


def _or_zero(values: pa.Array | None, num_rows: int) -> np.ndarray:
    """Digests of values, 0 for a null; no text has the digest 0 in practice."""
    found = np.zeros(num_rows, np.uint64)
    if values is not None:
        present = values.is_valid().to_numpy(zero_copy_only=False)
        found[present] = digests(pc.drop_null(values))
    return found


def _among(digest_S: np.ndarray, sets: list[np.ndarray]) -> Mask:
    return np.isin(digest_S, np.concatenate([np.empty(0, np.uint64), *sets])) & (digest_S != 0)


def _describe(rows: TrainedRows) -> str:
    where = f" where {rows.where}" if rows.where else ""
    return f"{rows.num_rows:,} rows of {rows.table} version {rows.version}{where}"
