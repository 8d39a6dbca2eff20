"""Decisions: a column of texts in which a person says of rows what is to become of them, by the rows' own names.

A write makes the whole column anew. So the viewers of one machine write one after the other, and what another machine
wrote between a write's beginning and its end is looked for, and stands. It knows tables and their versions, and neither
pages nor when it is time to write.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import pyarrow as pa

from clipdata.cache_folder import cache_folder
from clipdata.column_names import check_column_name, quoted
from clipdata.errors import ConcurrentChangeError, LineageMismatchError, TransientError, UsageError
from clipdata.folder_lock import alone_in
from clipdata.lance_io.history import log
from clipdata.lance_io.table import Table
from clipdata.lineage import Lineage
from clipdata.mapping import map_column
from clipdata.step_protocol import LABEL, BaseStep

UNDECIDED = ""
_MOST_TRIES, _MID_WRITE_S, _OTHERS_S, _LOOK_S = 6, 6.0, 60.0, 0.05


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


def check_decided(table: Table, column: str) -> bool:
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


def decided_in(table: Table, key: str, column: str) -> dict[Any, str]:
    """What was decided of the rows of a version, by their keys; undecided rows are left out."""
    if not check_decided(table, column):
        return {}
    rows = table.to_table([key, column], where=f"{quoted(column)} <> ''")
    return dict(zip(rows.column(0).to_pylist(), rows.column(1).to_pylist(), strict=True))


def newest_of(table: Table, column: str) -> Table:
    """The newest version, but none in which another viewer is amid making the column anew, if that ends soon."""
    give_up = time.monotonic() + _MID_WRITE_S
    while _is_mid_write(newest := table.latest(), column) and time.monotonic() < give_up:
        time.sleep(_LOOK_S)
    return newest


def _is_mid_write(newest: Table, column: str) -> bool:
    if column not in newest.schema.names or not check_decided(newest, column):
        return False
    made = Lineage.of(newest.schema.field(column))
    num_decided = int(made.parameters.get("rows", 0)) if made is not None else 0
    return bool(newest.count_nulls(column)) and newest.count_rows(f"{quoted(column)} <> ''") < num_decided


def write_decisions(
    table: Table, key: str, column: str, values_at: Callable[[Table], Mapping[Any, str]]
) -> tuple[int | None, dict[Any, str]]:
    """Write decisions as one version; what stands there of other rows stays.

    Args:
        values_at: key → decision, as it is to be written to a version, asked anew for each that is tried; an empty
            decision takes one back.

    Returns:
        The version, or None where there was nothing to write; and the decisions that others wrote while this one was
        on its way, which stand.

    Raises:
        ConcurrentChangeError: others keep writing in between.
    """
    with _alone(table):
        return _written(table, key, column, values_at)


@contextmanager
def _alone(table: Table) -> Iterator[None]:
    """Keep other viewers of this machine and person from writing while the block runs; wait for one that does."""
    folder = cache_folder() / "deciding" / hashlib.sha256(table.uri.encode()).hexdigest()[:16]
    give_up = time.monotonic() + _OTHERS_S
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(alone_in(folder, "clipdata view --edit"))
                break
            except TransientError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(_LOOK_S)
        yield


def _written(
    table: Table, key: str, column: str, values_at: Callable[[Table], Mapping[Any, str]]
) -> tuple[int | None, dict[Any, str]]:
    theirs: dict[Any, str] = {}
    for _ in range(_MOST_TRIES):
        newest = newest_of(table, column)
        values = {name: said for name, said in values_at(newest).items() if name not in theirs}
        if not values and not theirs:
            return None, {}
        begun, before = newest.version, decided_in(newest, key, column)
        decided = {name: said for name, said in {**before, **theirs, **values}.items() if said}
        try:
            map_column(newest, Decisions(key, decided), column, overwrite=column in newest.schema.names)
        except (ConcurrentChangeError, LineageMismatchError):
            time.sleep(_LOOK_S)
            continue
        meanwhile = _written_between(newest, key, column, begun, before)
        if not meanwhile:
            return newest.version, theirs
        theirs |= meanwhile
    raise ConcurrentChangeError(
        f"others keep writing column {column!r} at the same time", hint="the next decision, or the end, tries again"
    )


def _written_between(written: Table, key: str, column: str, begun: int, before: Mapping[Any, str]) -> dict[Any, str]:
    """What others decided after a version and before the one that was just written over them."""
    if written.version - begun < 2:
        return {}
    ours = written.version
    found: dict[Any, str] = {}
    for entry in log(written):
        said = entry.properties
        if not begun < entry.version < ours or said is None or said.verb != "map":
            continue
        if said.parameters.get("column") == column:
            now = decided_in(written.pinned(entry.version), key, column)
            names = before.keys() | now.keys()
            found |= {name: now.get(name, UNDECIDED) for name in names if now.get(name) != before.get(name)}
    return found
