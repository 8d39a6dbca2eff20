"""Edits: what a page asks to be written, held to what can be; a tag and rows deleted, by the library's own verbs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from clipdata.errors import SchemaError, UsageError
from clipdata.lance_io.deleting import delete
from clipdata.lance_io.naming_column import USUAL
from clipdata.lance_io.tags import tag
from clipdata.plurals import counted
from clipdata.viewer.decisions import check_decided
from clipdata.viewer.finding import is_one_of, positions_of_keys
from clipdata.viewer.sources.lance_table import LanceTable

MOST_DELETED = 100_000
_MOST_LETTERS = 200


def tag_version(source: LanceTable, name: str) -> dict[str, Any]:
    """Name the version that is looked at."""
    return tag(source.table.pinned(), name).to_dict()


def checked_keys(source: LanceTable, positions: np.ndarray, column: str, value: str) -> tuple[str, list[Any]]:
    """Keys of rows that a decision is about, held to what can be written, and the column that holds them.

    Args:
        positions: of the rows at the version that is looked at, uint32 [K].
        column: of decisions; made where it is not there.
        value: an empty one takes decisions back.

    Raises:
        UsageError: the rows have no key, or the column is one that was made otherwise.
    """
    key = key_of(source)
    if not len(positions):
        raise UsageError("no row is chosen; nothing was written")
    if len(value) > _MOST_LETTERS:
        raise UsageError(f"the decision has {counted(len(value), 'letter')}; expected at most {_MOST_LETTERS}")
    check_decided(source.table.latest(), column)
    keys: list[Any] = source.take(positions.astype(np.int64), [key]).column(0).to_pylist()
    return key, keys


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
    key = key_of(source)
    if confirmed != len(positions):
        raise UsageError(
            f"{counted(len(positions), 'row is', 'rows are')} chosen, and {confirmed:,} were confirmed; nothing was "
            "deleted"
        )
    if not 0 < len(positions) <= MOST_DELETED:
        raise UsageError(f"{len(positions):,} rows are chosen; expected 1 to {MOST_DELETED:,}", hint="clipdata delete")
    names = source.take(positions.astype(np.int64), [key]).column(0).to_pylist()
    return delete(source.table.latest(), is_one_of(key, names)).to_dict()


def key_of(source: LanceTable) -> str:
    """The column that tells the rows of what is looked at apart.

    Raises:
        SchemaError: there is none.
    """
    key = source.naming
    if key is None:
        raise SchemaError(
            f"{source.location} declares no key, and none of {', '.join(USUAL)} tells its rows apart: nothing says "
            "which are meant",
            hint="take it in as a table with a key: clipdata ingest lance --help",
        )
    return key


def chosen_positions(given: Sequence[int], num_rows: int) -> np.ndarray:
    """Positions that a page sent, each once, uint32 [K].

    Raises:
        UsageError: there is no such row.
    """
    if any(not 0 <= one < num_rows for one in given):
        raise UsageError(f"a chosen row is not there; there are {num_rows:,}")
    return np.array(sorted(set(given)), np.uint32)
