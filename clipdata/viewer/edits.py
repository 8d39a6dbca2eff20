"""Edits: a tag, a decision in a column of their own, rows deleted; each by the library's own verb, one version each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from clipdata.column_names import check_column_name, quoted
from clipdata.errors import SchemaError, UsageError
from clipdata.lance_io.deleting import delete
from clipdata.lance_io.naming_column import USUAL
from clipdata.lance_io.table import Table
from clipdata.lance_io.tags import tag
from clipdata.lineage import Lineage
from clipdata.mapping import map_column
from clipdata.step_protocol import LABEL, BaseStep
from clipdata.viewer.finding import is_one_of, positions_of_keys
from clipdata.viewer.sources.lance_table import LanceTable

MOST_DELETED = 100_000
_MOST_LETTERS = 200
UNDECIDED = ""


class Decisions(BaseStep):
    """What a person decided of each row, by its key; an empty text where nothing was decided.

    Args:
        key: column that tells rows apart.
        decided_of: key → decision.
    """

    name = "Decisions"
    version = "1"
    returns = pa.string()

    def __init__(self, key: str, decided_of: Mapping[Any, str]) -> None:
        self.reads: tuple[str, ...] = (key,)
        self.takes = {key: LABEL}
        self._decided_of = dict(decided_of)
        text = json.dumps(sorted((str(name), said) for name, said in decided_of.items()), ensure_ascii=False)
        self.decided = hashlib.sha256(text.encode()).hexdigest()
        self.parameters = {"rows": len(decided_of), "decisions": self.decided}

    def compute(self, batch: pa.RecordBatch, prepared: None) -> pa.Array:
        """The decision of each row, string [B]."""
        keys = batch.column(0).to_pylist()
        return pa.array([self._decided_of.get(key, UNDECIDED) for key in keys], pa.string())


def tag_version(source: LanceTable, name: str) -> dict[str, Any]:
    """Name the version that is looked at."""
    return tag(source.table.pinned(), name).to_dict()


def checked_keys(source: LanceTable, positions: np.ndarray, column: str, value: str) -> list[Any]:
    """Keys of rows that a decision is about, held to what can be written.

    Args:
        positions: of the rows at the version that is looked at, uint32 [K].
        column: of decisions; made where it is not there.
        value: an empty one takes decisions back.

    Raises:
        UsageError: the rows have no key, or the column is one that was made otherwise.
    """
    key = _key(source)
    if not len(positions):
        raise UsageError("no row is chosen; nothing was written")
    if len(value) > _MOST_LETTERS:
        raise UsageError(f"the decision has {len(value):,} letters; expected at most {_MOST_LETTERS}")
    _check_decided(source.table.latest(), column)
    keys: list[Any] = source.take(positions.astype(np.int64), [key]).column(0).to_pylist()
    return keys


def write_decisions(source: LanceTable, column: str, values: Mapping[Any, str]) -> int:
    """Write decisions by the keys of rows as one version; what stands there of other rows stays.

    Returns:
        The version.
    """
    key, newest = _key(source), source.table.latest()
    decided: dict[Any, str] = {}
    if is_there := _check_decided(newest, column):
        rows = newest.to_table([key, column], where=f"{quoted(column)} <> ''")
        decided = dict(zip(rows.column(0).to_pylist(), rows.column(1).to_pylist(), strict=True))
    decided.update(values)
    step = Decisions(key, {name: said for name, said in decided.items() if said})
    map_column(newest, step, column, overwrite=is_there)
    return newest.version


def _check_decided(table: Table, column: str) -> bool:
    """Whether a table has a column of decisions.

    Raises:
        UsageError: the column holds something else, or cannot be made.
    """
    if column not in table.schema.names:
        check_column_name(column, table.schema)
        return False
    made = Lineage.of(table.schema.field(column))
    if made is None or made.step != Decisions.name:
        raise UsageError(f"column {column!r} holds no decisions of this page", hint="choose another name")
    return True


def places_at(source: LanceTable, positions: np.ndarray, to: LanceTable) -> list[int]:
    """Where rows of one version stand at another one; those that are gone are left out, and all where no key tells."""
    key = source.naming
    if key is None or key != to.naming:
        return []
    keys = source.take(positions.astype(np.int64), [key]).column(0).to_pylist()
    found: list[int] = positions_of_keys(to, key, keys).tolist()
    return found


def delete_rows(source: LanceTable, positions: np.ndarray, confirmed: int) -> dict[str, Any]:
    """Delete rows by their keys.

    Args:
        positions: of the rows at the version that is looked at, uint32 [K].
        confirmed: how many rows the person said yes to.

    Raises:
        UsageError: the number is another one, or too high; or the rows have no key.
    """
    key = _key(source)
    if confirmed != len(positions):
        raise UsageError(f"{len(positions):,} rows are chosen, and {confirmed:,} were confirmed; nothing was deleted")
    if not 0 < len(positions) <= MOST_DELETED:
        raise UsageError(f"{len(positions):,} rows are chosen; expected 1 to {MOST_DELETED:,}", hint="clipdata delete")
    names = source.take(positions.astype(np.int64), [key]).column(0).to_pylist()
    return delete(source.table.latest(), is_one_of(key, names)).to_dict()


def _key(source: LanceTable) -> str:
    key = source.naming
    if key is None:
        raise SchemaError(
            f"{source.location} declares no key, and none of {', '.join(USUAL)} tells its rows apart: nothing says "
            "which are meant",
            hint="take it in as a table with a key: clipdata ingest lance --help",
        )
    return key


def chosen_positions(given: Any, num_rows: int) -> np.ndarray:
    """Positions that a page sent, uint32 [K].

    Raises:
        UsageError: they are no positions of rows.
    """
    is_list = isinstance(given, Sequence) and not isinstance(given, str)
    if not is_list or not all(isinstance(one, int) and not isinstance(one, bool) for one in given):
        raise UsageError("rows are chosen by a list of their positions")
    if any(not 0 <= one < num_rows for one in given):
        raise UsageError(f"a chosen row is not there; there are {num_rows:,}")
    return np.array(sorted(set(given)), np.uint32)
